//! Who may ask what, and what a client that behaves badly can do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tests::process::Process;
use tests::site::Site;
use tests::stage::PATIENCE;

use super::{ANY, WORKERS, blog};

/// What a server says to these bytes.
fn raw(site: &Site, bytes: &str) -> String {
    let address = site.url.trim_start_matches("http://").trim_end_matches('/');
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(bytes.as_bytes()).unwrap();
    let mut said = vec![];
    let _ = connection.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let stage = blog();
    for shell in WORKERS {
        let mut worker = stage.worker(shell, &["--http", "0.0.0.0:0"]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(2));
        worker.wait_for_line("PGAI_HTTP_TOKEN", PATIENCE);

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let variable = ("PGAI_HTTP_TOKEN_FILE", file.path().to_str().unwrap());
        let worker = stage.worker_with(shell, &["--http", "0.0.0.0:0"], &[variable]);
        let mut site = Site::of(&worker);
        site.url = site.url.replace("0.0.0.0", "127.0.0.1");
        for path in ["", "metrics", "api/status", "page.js", "nothing"] {
            assert_eq!(site.get(path).0, 401, "{path}");
            assert_eq!(site.with("authorization", "Bearer wrong").get(path).0, 401);
        }
        assert_eq!(
            site.get("healthz").0,
            200,
            "for probes, which have no token"
        );
        let told = site.with("authorization", "Bearer s3cret");
        for path in ["", "metrics", "api/status", "page.js"] {
            assert_eq!(told.get(path).0, 200, "{path}");
        }
        // As a browser sends it: any user, and the token as the password.
        let browser = site.with("authorization", "Basic YW55Ym9keTpzM2NyZXQ=");
        assert_eq!(browser.get("").0, 200);
    }
}

#[test]
fn a_foreign_page_learns_and_changes_nothing() {
    let stage = blog();
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    let led_here = "GET /api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert!(raw(&site, led_here).starts_with("HTTP/1.1 403"));
    let here = "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let said = raw(&site, here);
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.contains("content-security-policy: default-src 'none'"));
    // Without --http-actions nothing can be changed, whoever asks.
    let intent = site.with("x-pgai-action", "yes");
    for site in [&site, &intent] {
        let (status, said) = site.post("api/retry", r#"{"vectorizer": "blog"}"#);
        assert_eq!(status, 403, "{said}");
    }
    drop(worker);
    let mut arguments = ANY.to_vec();
    arguments.push("--http-actions");
    let worker = stage.worker("worker", &arguments);
    let site = Site::of(&worker);
    let body = r#"{"vectorizer": "blog"}"#;
    assert_eq!(
        site.post("api/retry", body).0,
        403,
        "a plain form's request"
    );
    let intent = site.with("x-pgai-action", "yes");
    let foreign = intent.with("origin", "http://evil.example");
    assert_eq!(foreign.post("api/retry", body).0, 403);
    let (status, said) = intent.post("api/retry", body);
    assert_eq!(status, 200, "{said}");
    worker.wait_for_line(r#"retry of "blog", asked for by 127.0.0.1"#, PATIENCE);
}

#[test]
fn what_is_asked_is_an_argument_and_never_an_option() {
    let stage = blog();
    let mut arguments = ANY.to_vec();
    arguments.push("--http-actions");
    let worker = stage.worker("worker", &arguments);
    let site = Site::of(&worker).with("x-pgai-action", "yes");
    for vectorizer in ["--help", "--db-url=postgres://evil", "x' or true --", ""] {
        let body = serde_json::json!({ "vectorizer": vectorizer }).to_string();
        let (status, said) = site.post("api/retry", &body);
        assert_eq!(status, 502, "{vectorizer}: {said}");
    }
    // The worker's role may not pause; a reason that looks like an option is a reason all the same.
    for reason in ["", "--for=1s", "-x"] {
        let body = serde_json::json!({ "vectorizer": "blog", "reason": reason }).to_string();
        let (status, said) = site.post("api/pause", &body);
        assert!(
            status == 502 && said.contains("only the owner"),
            "{reason}: {said}"
        );
    }
    assert_eq!(site.post("api/retry", "not JSON").0, 502);
    assert_eq!(site.post("api/drop", r#"{"vectorizer": "blog"}"#).0, 404);
    let (status, said) = site.get("api/search?vectorizer=blog&words=--help");
    assert!(status == 200 && said.starts_with('['), "{said}");
    assert_eq!(site.get("api/search?vectorizer=blog").0, 502);
}

#[test]
fn clients_that_say_nothing_or_too_much_keep_nobody_out() {
    let stage = blog();
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    let address = site.url.trim_start_matches("http://").trim_end_matches('/');
    // More than are served at a time: each is cut off after ten seconds.
    let silent: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    assert_eq!(site.get("healthz").0, 200);
    drop(silent);
    let (status, _) = site
        .with("x-pgai-action", "yes")
        .post("api/retry", &"x".repeat(100_000));
    assert_eq!(status, 413);
    for nonsense in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "\u{16}\u{3}\u{1}",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let said = raw(&site, nonsense);
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 400"),
            "{said}"
        );
    }
    assert_eq!(site.get("healthz").0, 200);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let stage = blog();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for shell in WORKERS {
        let mut worker: Process = stage.worker(shell, &["--http", &address]);
        assert_eq!(worker.wait(Duration::from_secs(30)).code(), Some(1));
        worker.wait_for_line(&format!("listening on {address}"), PATIENCE);
    }
}
