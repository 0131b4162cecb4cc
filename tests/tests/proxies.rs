//! Requests to providers through a proxy, a real Squid, by both workers. The provider's name is one
//! that only the proxy can resolve.
//!
//! Squid and OpenSSL are those of the system: Debian's packages `squid` and `openssl`. Without them
//! the tests say so and pass, but not in CI (`CI` or `PGAI_TEST_PROXY` is set).

#![allow(clippy::print_stdout, reason = "a test says what it does")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

#[path = "proxies/tls.rs"]
mod tls;

use std::process::Command;
use std::thread;

use tests::process::Process;
use tests::squid::Squid;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

use tls::{Certificates, Front};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// The file of hosts of the proxy. Nobody else knows this name (RFC 6761).
const HOSTS: &str = "127.0.0.1 localhost provider.test\n";

/// A user and a password with characters that a URL must escape, and the two in a URL.
const LOGIN: (&str, &str) = ("worker", "open:sesame@/%");
const LOGIN_IN_URL: &str = "worker:open%3Asesame%40%2F%25";

/// Whether there is a proxy to test with.
fn is_possible() -> bool {
    let has_openssl = Command::new("openssl").arg("version").output().is_ok();
    let is_possible = has_openssl && Squid::program().is_some();
    let is_needed = ["CI", "PGAI_TEST_PROXY"]
        .iter()
        .any(|it| std::env::var_os(it).is_some());
    assert!(
        is_possible || !is_needed,
        "no proxy: apt-get install squid openssl"
    );
    if !is_possible {
        println!("SKIPPED: there is no /usr/sbin/squid, or no openssl");
    }
    is_possible
}

/// Runs a test for both workers at once: most of its time it waits for their retries.
fn on_both(test: impl Fn(&str) + Copy + Send) {
    if is_possible() {
        thread::scope(|scope| {
            for shell in SHELLS {
                scope.spawn(move || test(shell));
            }
        });
    }
}

/// Two rows to embed by Ollama.
fn stage() -> Stage {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog values (1, 'a', 'one'), (2, 'b', 'two')");
    stage
}

/// A row to embed by OpenAI, at this URL.
fn openai(url: &str, key: &str) -> String {
    format!(
        "create table t (id int primary key, body text); insert into t values (1, 'one');
         select ai.create_vectorizer('t', name => 't', loading => ai.loading_column('body'),
           embedding => ai.embedding_openai('m', {DIMENSIONS}, base_url => '{url}', api_key_name => {key}),
           chunking => ai.chunking_none(), destination => ai.destination_table('s'))"
    )
}

/// The stub's host and port.
fn stub_address(stage: &Stage) -> String {
    stage.stub.url().replace("http://", "")
}

/// The stub's URL with another host.
fn url_at(stage: &Stage, host: &str) -> String {
    stage.stub.url().replace("127.0.0.1", host)
}

/// Runs a worker with `--once`, and returns it with its exit code.
fn once(stage: &Stage, shell: &str, environment: &[(&str, &str)]) -> (Process, Option<i32>) {
    let mut worker = stage.worker_with(shell, &["--once"], environment);
    let code = worker.wait(PATIENCE).code();
    (worker, code)
}

/// A worker fails with an error that contains the texts, in the table and in its output. Neither
/// contains a password.
#[track_caller]
fn assert_fails(
    stage: &mut Stage,
    shell: &str,
    environment: &[(&str, &str)],
    arguments: &[&str],
    texts: &[&str],
) {
    stage.run("truncate ai._vectorizer_errors");
    let arguments = [&["--once"], arguments].concat();
    let mut worker = stage.worker_with(shell, &arguments, environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1), "{shell}");
    let sql = "select string_agg(details::text || message, ' ') from ai.vectorizer_errors";
    let recorded: Option<String> = stage.sql.query_one(sql, &[]).unwrap().get(0);
    let recorded = recorded.expect("an error is recorded");
    let said = worker.lines().join("\n");
    println!("{shell}: {recorded}");
    for text in texts {
        assert!(recorded.contains(text), "{shell}, {text}: {recorded}");
        assert!(said.contains(text), "{shell}, {text}: {said}");
    }
    for secret in ["sesame", LOGIN_IN_URL] {
        assert!(!recorded.contains(secret), "{recorded}");
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn the_proxy_gets_requests_for_http_and_resolves_the_name() {
    on_both(|shell| {
        let mut stage = stage();
        let squid = Squid::start(HOSTS, None);
        let provider = url_at(&stage, "provider.test");
        let environment = [("OLLAMA_HOST", &*provider)];
        assert_fails(&mut stage, shell, &environment, &[], &["failed to lookup"]);

        for (variable, proxy) in [
            ("HTTP_PROXY", format!("http://{}", squid.address())),
            ("http_proxy", squid.address()),
            ("ALL_PROXY", format!("http://{}/", squid.address())),
        ] {
            stage.run("update blog set body = body || '!'");
            let from = squid.requests().len();
            let environment = [environment[0], (variable, &*proxy)];
            let (_, code) = once(&stage, shell, &environment);
            assert_eq!(code, Some(0), "{shell}, {variable}");
            stage.assert_true();
            let seen = format!("200 POST {provider}/api/embed");
            assert!(squid.requests()[from..].contains(&seen), "{shell}, {seen}");
        }

        // Several requests over one connection.
        stage.run(
            "insert into blog select n, 'c', 'three' from generate_series(3, 8) n;
             update ai.vectorizer set config = jsonb_set(config, '{processing,batch_size}', '1')",
        );
        let from = squid.requests().len();
        let proxy = squid.address();
        let environment = [environment[0], ("HTTP_PROXY", &*proxy)];
        let mut worker = stage.worker_with(shell, &["--once", "--concurrency", "1"], &environment);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        stage.assert_true();
        let requests = squid.requests().split_off(from);
        let is_good = |request: &String| request.starts_with(&format!("200 POST {provider}/"));
        assert!(requests.len() >= 3, "{shell}: {requests:?}");
        assert!(requests.iter().all(is_good), "{shell}: {requests:?}");

        let host = provider.strip_prefix("http://");
        for request in stage.stub.requests() {
            assert_eq!(request.header("host"), host);
        }
    });
}

#[test]
fn some_hosts_are_reached_without_the_proxy() {
    on_both(|shell| {
        let mut stage = stage();
        let squid = Squid::start(HOSTS, None);
        let proxy = format!("http://{}", squid.address());
        // Linux takes this address for that of this machine; the workers do not.
        let provider = url_at(&stage, "0.0.0.0");
        let (_, port) = provider.rsplit_once(':').unwrap();
        let with_port = format!("x.test, 0.0.0.0:{port}");
        for (no_proxy, is_direct) in [
            ("", false),
            ("x.test,0.0.0.0:1", false),
            ("x.test,0.0.0.0", true),
            (&*with_port, true),
            ("0.0.0.0/8", true),
            ("*", true),
        ] {
            stage.run("update blog set body = body || '!'");
            let from = squid.requests().len();
            let environment = [
                ("OLLAMA_HOST", &*provider),
                ("HTTP_PROXY", &*proxy),
                ("NO_PROXY", no_proxy),
            ];
            let (_, code) = once(&stage, shell, &environment);
            assert_eq!(code, Some(0), "{shell}, {no_proxy}");
            stage.assert_true();
            let requests = squid.requests().split_off(from);
            assert_eq!(requests.is_empty(), is_direct, "{shell}, {requests:?}");
        }

        // This machine, too, although the variable names nothing that is there, or no proxy at all.
        for proxy in ["http://127.0.0.1:1", "socks5://nowhere"] {
            stage.run("update blog set body = body || '!'");
            let (_, code) = once(&stage, shell, &[("ALL_PROXY", proxy)]);
            assert_eq!(code, Some(0), "{shell}");
            stage.assert_true();
        }
    });
}

#[test]
fn what_is_wrong_with_a_proxy_is_said_without_its_password() {
    on_both(|shell| {
        let mut stage = stage();
        let squid = Squid::start(HOSTS, Some(LOGIN));
        let provider = url_at(&stage, "provider.test");
        let address = squid.address();
        let (plain, through) = (
            format!("http://{address}"),
            format!("through the proxy {address}: "),
        );
        let wrong = format!("http://worker:sesame2@{address}");
        let down = format!("http://{LOGIN_IN_URL}@127.0.0.1:1");
        let socks = format!("socks5://{LOGIN_IN_URL}@127.0.0.1:1080");
        let nowhere = format!("http://{LOGIN_IN_URL}@proxy.test:3128");
        for (proxy, texts) in [
            (&down, &["through the proxy 127.0.0.1:1: ", "refused"][..]),
            (&nowhere, &["through the proxy proxy.test:3128: "]),
            (&socks, &["HTTP_PROXY names no proxy: SOCKS"]),
            (&plain, &[&through, "requires a user and a password"]),
            (&wrong, &[&through, "does not accept the user"]),
        ] {
            let environment = [("OLLAMA_HOST", &*provider), ("HTTP_PROXY", &**proxy)];
            assert_fails(&mut stage, shell, &environment, &[], texts);
        }
        assert_eq!(stage.stub.requests().len(), 0);

        let right = format!("http://{LOGIN_IN_URL}@{address}");
        let environment = [("OLLAMA_HOST", &*provider), ("HTTP_PROXY", &*right)];
        let (_, code) = once(&stage, shell, &environment);
        assert_eq!(code, Some(0), "{shell}");
        stage.assert_true();
    });
}

#[test]
fn https_is_tunnelled_and_its_authority_is_named_by_a_variable() {
    on_both(|shell| {
        let certificates = Certificates::for_name("provider.test");
        let mut stage = Stage::new();
        let front = Front::start(&certificates, stub_address(&stage));
        stage.stub.require_key("sk-a-key-for-the-provider");
        let host = format!("provider.test:{}", front.port());
        stage.run(&openai(&format!("https://{host}/v1"), "'OPENAI_API_KEY'"));
        let squid = Squid::start(HOSTS, Some(LOGIN));
        let proxy = format!("http://{LOGIN_IN_URL}@{}", squid.address());
        let allow = ["--allow-host", "provider.test"];
        let authority = certificates.file("ca.crt");
        let other = certificates.file("other-ca.crt");
        let fixed = [
            ("OPENAI_API_KEY", "sk-a-key-for-the-provider"),
            ("HTTPS_PROXY", &*proxy),
        ];
        for (variables, text) in [
            // The system's authorities have not signed its certificate.
            (&[][..], "certificate"),
            (&[("SSL_CERT_FILE", &*other)], "certificate"),
            (&[("SSL_CERT_FILE", "/no.pem")], "SSL_CERT_FILE=/no.pem"),
        ] {
            let environment = [&fixed[..], variables].concat();
            assert_fails(&mut stage, shell, &environment, &allow, &[text]);
        }
        let wrong = format!("http://worker:sesame2@{}", squid.address());
        let environment = [fixed[0], ("HTTPS_PROXY", &wrong)];
        let through = format!("through the proxy {}: ", squid.address());
        assert_fails(&mut stage, shell, &environment, &allow, &[&through]);
        assert_eq!(stage.stub.requests().len(), 0);

        let directory = certificates.file("authorities");
        for variables in [
            &[("SSL_CERT_FILE", &*authority)][..],
            &[("SSL_CERT_DIR", &*directory)],
            &[("CURL_CA_BUNDLE", &*authority)],
            &[
                ("REQUESTS_CA_BUNDLE", &*authority),
                ("CURL_CA_BUNDLE", &*other),
            ],
        ] {
            stage.run("update t set body = body || '!'");
            let environment = [&fixed[..], variables].concat();
            let arguments = [&["--once"][..], &allow].concat();
            let mut worker = stage.worker_with(shell, &arguments, &environment);
            let code = worker.wait(PATIENCE).code();
            assert_eq!(code, Some(0), "{shell}, {variables:?}");
            assert_eq!(
                stage.number("select count(*) from s where chunk = (select max(t.body) from t)"),
                1
            );
        }
        let requests = squid.requests();
        assert!(requests.contains(&format!("200 CONNECT {host}")));
        let is_tunnel = |request: &String| request.ends_with(&format!(" CONNECT {host}"));
        assert!(requests.iter().all(is_tunnel), "{requests:?}");
        for request in stage.stub.requests() {
            let key = request.header("authorization");
            assert_eq!(key, Some("Bearer sk-a-key-for-the-provider"));
            assert_eq!(request.header("proxy-authorization"), None);
        }
    });
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    on_both(|shell| {
        let certificates = Certificates::for_name("provider.test");
        let mut stage = stage();
        let provider = Front::start(&certificates, stub_address(&stage));
        let provider = format!("provider.test:{}", provider.port());
        stage.run(&openai(&format!("https://{provider}/v1"), "null"));
        let squid = Squid::start(HOSTS, Some(LOGIN));
        let front = Front::start(&certificates, squid.address());
        let proxy = format!("https://{LOGIN_IN_URL}@localhost:{}", front.port());
        let ollama = url_at(&stage, "provider.test");
        let authority = certificates.file("ca.crt");
        let environment = [
            ("OLLAMA_HOST", &*ollama),
            ("ALL_PROXY", &*proxy),
            ("SSL_CERT_FILE", &*authority),
        ];
        let (_, code) = once(&stage, shell, &environment);
        assert_eq!(code, Some(0), "{shell}");
        stage.assert_true();
        assert_eq!(stage.number("select count(*) from s"), 1);
        let requests = squid.requests();
        for seen in [
            format!("200 POST {ollama}/api/embed"),
            format!("200 CONNECT {provider}"),
        ] {
            assert!(requests.contains(&seen), "{seen}: {requests:?}");
        }
    });
}
