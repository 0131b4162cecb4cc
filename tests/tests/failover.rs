//! A database of two servers: the standby takes over, and the worker follows it.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use postgres::{Client, NoTls};
use tests::postgres::{Server, Shutdown};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

/// Waits until a count is as it should be.
#[track_caller]
fn wait_for(client: &mut Client, sql: &str, wanted: i64) {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let found: i64 = client.query_one(sql, &[]).unwrap().get(0);
        if found == wanted {
            return;
        }
        assert!(std::time::Instant::now() < end, "{sql}: {found}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

const STORED: &str = "select count(*) from blog_store";

#[test]
fn a_worker_follows_the_database_to_the_standby_that_takes_over() {
    for shell in ["worker", "worker-blocking"] {
        let primary = Server::start(18);
        let mut stage = Stage::on_server(&primary);
        stage.run(&format!(
            "create table blog (id int primary key, body text);
             select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               destination => ai.destination_table(target_table => 'blog_store'))"
        ));
        let standby = Server::standby(18, &primary);
        // The standby comes first: a worker that writes passes it by.
        let hosts = format!("{},{}", standby.host(), primary.host());
        let url = stage.worker_url.replace(&primary.host(), &hosts);
        let url = format!("{url}?target_session_attrs=read-write");
        let worker = stage.worker_with(shell, &["--poll-interval", "1"], &[("DB_URL", &url)]);
        stage.run("insert into blog select n, 'body ' || n from generate_series(1, 3) n");
        wait_for(&mut stage.sql, STORED, 3);
        let there = stage
            .database
            .url()
            .replace(&primary.host(), &standby.host());
        let mut there = Client::connect(&there, NoTls).unwrap();
        wait_for(&mut there, STORED, 3);

        primary.stop(Shutdown::Immediate);
        worker.wait_for_line("connect to database", PATIENCE);
        there.execute("select pg_promote()", &[]).unwrap();
        worker.wait_for_line("the database answers again", PATIENCE);
        there
            .batch_execute("insert into blog select n, 'body ' || n from generate_series(4, 9) n")
            .unwrap();
        wait_for(&mut there, STORED, 9);
        let troubles = worker.lines();
        let troubles = troubles.iter().filter(|line| line.contains("database"));
        // However many attempts there were.
        assert_eq!(troubles.count(), 2, "{:?}", worker.lines());
    }
}
