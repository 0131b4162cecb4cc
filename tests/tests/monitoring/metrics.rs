//! `/metrics`: the numbers are those of what happened, and Prometheus takes them.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::site::Site;
use tests::stage::{DIMENSIONS, Stage};
use tests::stub::Behaviour;

use super::{ANY, WORKERS, blog, wait_until};

const BLOG: &str = r#"vectorizer="blog""#;

#[test]
fn the_metrics_count_what_happened() {
    for shell in WORKERS {
        let mut stage = blog();
        let rows = stage.number("select count(*) from blog");
        let worker = stage.worker(shell, ANY);
        let site = Site::of(&worker);
        let rows = f64::from(i32::try_from(rows).unwrap());
        wait_until("all rows are done", || {
            // The vectorizer is not known before it is loaded.
            site.get("metrics").1.contains("pgai_rows_total{")
                && site.metric("pgai_rows_total", &[BLOG]) == rows
        });
        let chunks = stage.number("select count(*) from blog_store");
        let chunks = f64::from(i32::try_from(chunks).unwrap());
        assert_eq!(site.metric("pgai_chunks_embedded_total", &[BLOG]), chunks);
        let requests = site.metric("pgai_requests_total", &[r#"outcome="answered""#]);
        let timed = site.metric(
            "pgai_request_duration_seconds_count",
            &[r#"provider="ollama""#],
        );
        assert_eq!(
            (requests, timed),
            (stage.stub.requests().len() as f64, requests)
        );
        assert!(site.metric("pgai_tokens_total", &[BLOG]) > 0.0);
        // A row whose chunks are the same keeps its vectors; a bad one fails for good in the end.
        stage.stub.refuse_inputs_with("poison");
        stage.run("update blog set body = body; update blog set body = 'poison' where id = 1");
        wait_until("the poison failed", || {
            site.metric("pgai_rows_failed_total", &[BLOG]) >= 1.0
        });
        wait_until("the table says so, too", || {
            site.metric("pgai_failed_rows", &[BLOG]) == 1.0
        });
        wait_until("nothing waits", || {
            site.metric("pgai_queue_rows", &[BLOG]) == 0.0
        });
        assert_eq!(site.metric("pgai_queue_oldest_seconds", &[BLOG]), 0.0);
        assert!(site.metric("pgai_requests_total", &[r#"outcome="refused""#]) >= 1.0);
        assert_eq!(site.metric("pgai_batches_in_flight", &[BLOG]), 0.0);
        assert_eq!(site.metric("pgai_workers_alive", &[]), 1.0);
    }
}

#[test]
fn what_waits_and_what_is_in_flight_is_seen_while_it_is() {
    let mut stage = blog();
    let hold = stage.stub.hold();
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    stage.stub.wait_for_waiting(1, tests::stage::PATIENCE);
    assert!(site.metric("pgai_requests_in_flight", &[]) >= 1.0);
    assert!(site.metric("pgai_batches_in_flight", &[BLOG]) >= 1.0);
    wait_until("rows wait", || {
        site.metric("pgai_queue_rows", &[BLOG]) > 0.0
    });
    hold.release();
    stage.wait_until_done();
    stage.stub.behave(|_| Behaviour::rate_limited("60"));
    stage.run("update blog set body = body || '.'");
    wait_until("the provider is paused", || {
        site.metric("pgai_provider_opens_in_seconds", &[]) > 30.0
    });
    assert!(site.metric("pgai_requests_total", &[r#"outcome="busy""#]) >= 1.0);
}

#[test]
fn documents_are_counted() {
    let mut stage = Stage::new();
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a.txt"), "a duck").unwrap();
    fs::write(place.path().join("b.pdf"), "%PDF-1.4 and nothing else").unwrap();
    stage.run(&format!(
        "create table doc (id int primary key, url text);
         insert into doc values (1, 'a.txt'), (2, 'b.pdf'), (3, 'none.txt');
         select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           loading => ai.loading_uri('url', retries => 0), destination => ai.destination_table(target_table => 'doc_store'))"
    ));
    let directory = place.path().to_str().unwrap();
    let mut arguments = ANY.to_vec();
    arguments.extend(["--documents-dir", directory]);
    let worker = stage.worker("worker", &arguments);
    let site = Site::of(&worker);
    stage.wait_until_done();
    let doc = r#"vectorizer="doc""#;
    wait_until("all are counted", || {
        site.get("metrics")
            .1
            .contains("pgai_documents_parsed_total{")
            && site.metric("pgai_rows_failed_total", &[doc]) == 2.0
    });
    for (name, label, count) in [
        ("pgai_documents_loaded_total", r#"outcome="loaded""#, 2.0),
        ("pgai_documents_loaded_total", r#"outcome="failed""#, 1.0),
        ("pgai_documents_loaded_total", r#"outcome="unchanged""#, 0.0),
        ("pgai_document_bytes_total", doc, 31.0),
        ("pgai_documents_parsed_total", r#"outcome="parsed""#, 1.0),
        ("pgai_documents_parsed_total", r#"outcome="failed""#, 1.0),
    ] {
        assert_eq!(site.metric(name, &[doc, label]), count, "{name} {label}");
    }
    let seconds = site.metric("pgai_document_seconds_total", &[doc, r#"step="parse""#]);
    assert!(seconds > 0.0);
    let documented = fs::read_to_string(deploy("../docs/monitoring.md")).unwrap();
    let served = site.get("metrics").1;
    let lines = served.lines();
    let families = lines.filter_map(|line| line.strip_prefix("# HELP "));
    for name in families.filter_map(|line| line.split(' ').next()) {
        let name = format!("`{name}`");
        assert!(
            documented.contains(&name),
            "docs/monitoring.md lacks {name}"
        );
    }
}

/// A program of Debian's package `prometheus`, if it is installed.
fn program(name: &str) -> Option<Command> {
    let mut command = Command::new(name);
    let is_there = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    let must = ["CI", "PGAI_TEST_PROMETHEUS"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    assert!(is_there || !must, "{name} is not installed");
    command.stdin(Stdio::piped());
    is_there.then_some(command)
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let Some(mut promtool) = program("promtool") else {
        return;
    };
    let stage = blog();
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    stage.wait_until_done();
    wait_until("done", || site.metric("pgai_rows_total", &[BLOG]) > 0.0);
    let text = site.get("metrics").1;
    let child = promtool
        .args(["check", "metrics"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

/// The repository's directory with the files of a tool.
fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name)
}

/// Runs `promtool`, which must find nothing wrong.
#[track_caller]
fn promtool(mut promtool: Command, arguments: &[&str], path: &Path) {
    let output = promtool.args(arguments).arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let rules = deploy("prometheus/alerts.yaml");
    if let Some(check) = program("promtool") {
        promtool(check, &["check", "rules"], &rules);
    }
    if let Some(test) = program("promtool") {
        promtool(
            test,
            &["test", "rules"],
            &deploy("prometheus/alerts.test.yaml"),
        );
    }
}

/// All expressions of the dashboard.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(deploy("grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_dashboard_asks_for_what_prometheus_understands() {
    let Some(check) = program("promtool") else {
        return;
    };
    let rules: Vec<Value> = dashboard()
        .iter()
        .map(|expression| {
            let expression = expression.replace("$__rate_interval", "5m");
            serde_json::json!({ "record": "a:b:c", "expr": expression, "labels": { "number": expression } })
        })
        .collect();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(file.path(), groups.to_string()).unwrap();
    promtool(check, &["check", "rules"], file.path());
}

#[test]
fn the_alerts_and_the_dashboard_know_the_metrics_that_there_are() {
    let mut stage = blog();
    stage.stub.refuse_inputs_with("poison");
    stage.run("insert into blog values (9, 'title', 'poison')");
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    wait_until("a row failed", || {
        site.get("metrics").1.contains("pgai_rows_failed_total{")
            && site.metric("pgai_rows_failed_total", &[]) > 0.0
    });
    let served = site.get("metrics").1;
    let alerts = fs::read_to_string(deploy("prometheus/alerts.yaml")).unwrap();
    let documented = fs::read_to_string(deploy("../docs/monitoring.md")).unwrap();
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut asked = BTreeSet::new();
    let expressions = dashboard();
    for text in expressions.iter().chain([&alerts]) {
        let words = text.split(|letter| !is_part(letter));
        asked.extend(words.filter(|word| word.starts_with("pgai_")));
    }
    assert!(asked.len() > 15, "{asked:?}");
    for name in asked {
        // A word of a description may begin so, too; a metric that is not there yet has no line.
        assert!(
            served.contains(&format!("\n{name}{{"))
                || served.contains(&format!("\n{name} "))
                || name == "pgai_cost_dollars_today",
            "{name}: {served}"
        );
    }
    let families = served
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "));
    for name in families.filter_map(|line| line.split(' ').next()) {
        assert!(
            documented.contains(&format!("`{name}`")),
            "docs/monitoring.md lacks {name}"
        );
    }
}

#[test]
fn a_real_prometheus_collects_the_metrics_with_the_token() {
    let Some(mut prometheus) = program("prometheus") else {
        return;
    };
    let stage = blog();
    let worker = stage.worker_with("worker", ANY, &[("PGAI_HTTP_TOKEN", "s3cret")]);
    let site = Site::of(&worker);
    let directory = tempfile::tempdir().unwrap();
    let target = site.url.trim_start_matches("http://").trim_end_matches('/');
    let configuration = serde_json::json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "rule_files": [deploy("prometheus/alerts.yaml").canonicalize().unwrap()],
        "scrape_configs": [{
            "job_name": "pgai",
            "authorization": { "credentials": "s3cret" },
            "static_configs": [{ "targets": [target] }],
        }],
    });
    let path = directory.path().join("prometheus.yml");
    fs::write(&path, configuration.to_string()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut running = prometheus
        .arg(format!("--config.file={}", path.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let asked = |query: &str| -> Option<String> {
        let url = format!("http://{address}/api/v1/query?query={query}");
        let text = ureq::get(&url)
            .call()
            .ok()?
            .body_mut()
            .read_to_string()
            .ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        Some(value["data"]["result"][0]["value"][1].as_str()?.to_owned())
    };
    wait_until("three rows", || {
        asked("pgai_rows_total").as_deref() == Some("3") || running.try_wait().unwrap().is_some()
    });
    assert_eq!(asked("up").as_deref(), Some("1"));
    assert_eq!(asked("pgai_worker_ready").as_deref(), Some("1"));
    running.kill().unwrap();
    running.wait().unwrap();
}
