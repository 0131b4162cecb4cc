//! `/healthz` and `/readyz` through a worker's life.

use tests::postgres::{Server, Shutdown};
use tests::process::Signal;
use tests::site::Site;
use tests::stage::{PATIENCE, Stage};

use super::{ANY, WORKERS, blog, fill, wait_until};

#[test]
fn a_worker_is_ready_when_it_works_and_says_why_it_is_not() {
    let mut stage = blog();
    for shell in WORKERS {
        stage.run("alter schema ai rename to elsewhere");
        let mut worker = stage.worker(shell, ANY);
        let site = Site::of(&worker);
        let mut said = String::new();
        wait_until("not ready without its schema", || {
            let (status, text) = site.get("readyz");
            said = text;
            status == 503 && said.contains("pgai is not installed")
        });
        assert_eq!(
            site.get("healthz"),
            (200, "ok\n".to_owned()),
            "no reason to restart it"
        );
        stage.run("alter schema elsewhere rename to ai");
        wait_until("ready with its schema", || site.get("readyz").0 == 200);
        // A row that is under way keeps a worker that was told to stop.
        let hold = stage.stub.hold();
        stage.run("update blog set body = body || '.'");
        stage.stub.wait_for_waiting(1, PATIENCE);
        worker.signal(Signal::Term);
        wait_until("not ready when it stops", || {
            site.get("readyz") == (503, "the worker is stopping\n".to_owned())
        });
        assert_eq!(site.get("healthz").0, 200);
        hold.release();
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    }
}

#[test]
fn a_provider_that_is_down_makes_no_worker_unready() {
    for shell in WORKERS {
        let mut stage = blog();
        stage.stub.go_down();
        let worker = stage.worker(shell, ANY);
        let site = Site::of(&worker);
        stage.run("update blog set body = body || '.'");
        wait_until("the provider is down", || {
            let accounts = site.json("api/status")["worker"]["accounts"].clone();
            accounts[0]["reason"].is_string()
                && site.metric("pgai_requests_total", &["unreachable"]) > 0.0
        });
        assert_eq!(
            site.get("readyz").0,
            200,
            "another worker would do no better"
        );
    }
}

#[test]
fn a_database_that_is_gone_is_told_of_and_its_return_too() {
    let server = Server::start(18);
    let mut stage = Stage::on_server(&server);
    fill(&mut stage);
    for shell in WORKERS {
        let worker = stage.worker(shell, ANY);
        let site = Site::of(&worker);
        wait_until("ready", || site.get("readyz").0 == 200);
        server.stop(Shutdown::Fast);
        wait_until("not ready without its database", || {
            let (status, _) = site.get("readyz");
            status == 503 && site.metric("pgai_database_up", &[]) == 0.0
        });
        assert_eq!(site.get("healthz").0, 200, "a restart would not help");
        assert!(site.json("api/status")["database_failure"].is_string());
        server.resume();
        wait_until("ready again", || site.get("readyz").0 == 200);
        wait_until("asked again", || {
            site.metric("pgai_database_up", &[]) == 1.0
        });
    }
}
