//! Google Cloud Storage with the token of a service account, and its emulator without one.

use tests::stage::PATIENCE;

use crate::{PAGE, Store, assert_outcomes, assert_unchanged, once, stage_of};

const DUCKS: &str = "# Ducks\n\nA mallard is a duck.";

#[test]
fn objects_are_loaded_with_the_token_of_a_service_account() {
    let store = Store::start(
        "google_server",
        &[
            ("docs", "a.html", PAGE.as_bytes()),
            ("docs", "deep er/ü+%20&?.txt", b"odd"),
            ("open", "b.txt", b"bbb"),
        ],
    );
    let addresses = [
        "gs://docs/a.html",
        "gs://docs/deep er/ü+%20&?.txt",
        "gs://docs/none",
        "gs://denied/a",
    ];
    let url = store.said("/url");
    let place = format!("{url}/storage/v1/");
    let mut stage = stage_of(&addresses, "");
    let environment = [
        ("GOOGLE_APPLICATION_CREDENTIALS", store.said("/account")),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", &place),
    ];
    once(&stage, &[], &environment);
    assert_outcomes(
        &mut stage,
        &[
            Ok(DUCKS),
            Ok("odd"),
            Err("gs://docs: 404: there is no such object"),
            Err("storage.objects.get: reader@acme does not have access"),
        ],
    );
    let mut stage = stage_of(&["gs://open/b.txt", "gs://docs/a.html"], "");
    once(&stage, &[], &[("STORAGE_EMULATOR_HOST", url)]);
    let refused = Err("401: Google does not accept the worker's token");
    assert_outcomes(&mut stage, &[Ok("bbb"), refused]);
}

#[test]
fn unchanged_objects_are_not_loaded_again() {
    let store = Store::start("google_server", &[("open", "b.txt", b"bbb")]);
    let environment = [("STORAGE_EMULATOR_HOST", store.said("/url"))];
    let mut stage = stage_of(&["gs://open/b.txt"], ", refresh => '1 hour'");
    once(&stage, &[], &environment);
    assert_outcomes(&mut stage, &[Ok("bbb")]);
    assert_unchanged(&mut stage, &environment);
    store.process.wait_for_line("unchanged", PATIENCE);
}
