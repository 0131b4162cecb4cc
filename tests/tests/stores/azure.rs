//! Azure's blob storage with a key and with a shared access signature.

use tests::stage::PATIENCE;

use crate::{PAGE, Store, assert_outcomes, assert_unchanged, once, stage_of};

const DUCKS: &str = "# Ducks\n\nA mallard is a duck.";

const BLOBS: [(&str, &str, &[u8]); 2] = [
    ("docs", "a.html", PAGE.as_bytes()),
    ("docs", "deep er/ü+%20&?.txt", b"odd"),
];

#[test]
fn blobs_are_loaded_with_a_key_or_a_signature() {
    assert_loaded(&Store::start("azure_server", &BLOBS));
}

/// Azurite is a package of npm. The variable says where its program `azurite-blob` is.
#[test]
fn azurite_accepts_the_signatures() {
    let Ok(program) = std::env::var("PGAI_TEST_AZURITE") else {
        eprintln!("SKIPPED: PGAI_TEST_AZURITE is not set");
        return;
    };
    assert_loaded(&Store::start_with("azurite_server", &BLOBS, &[&program]));
}

fn assert_loaded(store: &Store) {
    let addresses = [
        "az://docs/a.html",
        "azure://docs/deep er/ü+%20&?.txt",
        "abfss://docs@acme.dfs.core.windows.net/a.html",
        "abfs://docs/none",
        "az://nowhere/a",
        "abfss://docs@other.dfs.core.windows.net/a.html",
    ];
    let (url, key, signature) = (
        store.said("/url"),
        store.said("/key"),
        store.said("/signature"),
    );
    let with_key = format!("AccountName=acme;AccountKey={key};BlobEndpoint={url};");
    let with_signature =
        format!("BlobEndpoint={url};AccountName=acme;SharedAccessSignature={signature}");
    let named = [
        ("AZURE_STORAGE_ACCOUNT", "acme"),
        ("AZURE_STORAGE_BLOB_ENDPOINT", url),
    ];
    for environment in [
        &[("AZURE_STORAGE_CONNECTION_STRING", with_key.as_str())][..],
        &[("AZURE_STORAGE_CONNECTION_STRING", with_signature.as_str())],
        &[named[0], named[1], ("AZURE_STORAGE_KEY", key)],
        &[named[0], named[1], ("AZURE_STORAGE_SAS_TOKEN", signature)],
    ] {
        let mut stage = stage_of(&addresses, "");
        once(&stage, &[], environment);
        assert_outcomes(
            &mut stage,
            &[
                Ok(DUCKS),
                Ok("odd"),
                Ok(DUCKS),
                Err("az://docs: 404 BlobNotFound: there is no such blob"),
                Err("404 ContainerNotFound: there is no such container"),
                Err("the account other of Azure, and this worker has the credentials of acme"),
            ],
        );
    }
    let mut stage = stage_of(&["az://docs/a.html"], "");
    let wrong = [named[0], named[1], ("AZURE_STORAGE_KEY", "d3Jvbmc=")];
    once(&stage, &[], &wrong);
    assert_outcomes(&mut stage, &[Err("az://docs: 403 Auth")]);
}

#[test]
fn blobs_are_loaded_with_tokens_of_entra_id() {
    let store = Store::start("azure_server", &BLOBS);
    let url = store.said("/url");
    let host = url.trim_end_matches("/acme");
    let machine = format!("{host}/metadata/identity/oauth2/token");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "a.token.of-kubernetes\n").unwrap();
    let named = [
        ("AZURE_STORAGE_ACCOUNT", "acme"),
        ("AZURE_STORAGE_BLOB_ENDPOINT", url),
        ("AZURE_AUTHORITY_HOST", host),
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
    ];
    let with = |more| [&named[..], &[more]].concat();
    for environment in [
        with(("AZURE_CLIENT_SECRET", "a+secret/of=it")),
        with(("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())),
        with(("AZURE_MSI_ENDPOINT", &machine)),
    ] {
        let mut stage = stage_of(&["az://docs/a.html", "az://docs/none"], "");
        once(&stage, &[], &environment);
        assert_outcomes(
            &mut stage,
            &[
                Ok(DUCKS),
                Err("az://docs: 404 BlobNotFound: there is no such blob"),
            ],
        );
    }
    let mut stage = stage_of(&["az://docs/a.html"], "");
    once(&stage, &[], &with(("AZURE_CLIENT_SECRET", "wrong")));
    assert_outcomes(&mut stage, &[Err("Invalid client secret provided")]);
}

/// The condition is a part of what is signed.
#[test]
fn unchanged_blobs_are_not_loaded_again() {
    let store = Store::start("azure_server", &BLOBS);
    let (url, key) = (store.said("/url"), store.said("/key"));
    let connection = format!("AccountName=acme;AccountKey={key};BlobEndpoint={url};");
    let environment = [("AZURE_STORAGE_CONNECTION_STRING", connection.as_str())];
    let mut stage = stage_of(&["az://docs/a.html"], ", refresh => '1 hour'");
    once(&stage, &[], &environment);
    assert_outcomes(&mut stage, &[Ok(DUCKS)]);
    assert_unchanged(&mut stage, &environment);
    store.process.wait_for_line("unchanged", PATIENCE);
}
