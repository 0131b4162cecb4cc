use std::process::{Command, Stdio};

use super::*;

#[test]
fn every_database_is_new_and_goes_when_dropped() {
    let server = Server::shared();
    let (first, second) = (server.database(), server.database());
    first
        .client()
        .batch_execute("create table t (id int)")
        .unwrap();
    let tables = "select count(*) from pg_tables where tablename = 't'";
    assert_eq!(
        second
            .client()
            .query_one(tables, &[])
            .unwrap()
            .get::<_, i64>(0),
        0
    );

    let extensions = "select count(*) from pg_extension where extname = 'vector'";
    assert_eq!(
        first
            .client()
            .query_one(extensions, &[])
            .unwrap()
            .get::<_, i64>(0),
        0
    );

    // Somebody who is still connected does not keep the database alive.
    let mut connected = first.client();
    let name = first.name().to_owned();
    drop(first);
    assert!(connected.simple_query("select 1").is_err());
    let count = "select count(*) from pg_database where datname = $1";
    assert_eq!(
        server
            .client()
            .query_one(count, &[&name])
            .unwrap()
            .get::<_, i64>(0),
        0
    );
}

#[test]
fn a_database_has_the_wanted_encoding() {
    let database = Server::shared().database_with("encoding 'LATIN1' locale 'C'");
    let row = database
        .client()
        .query_one("show server_encoding", &[])
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "LATIN1");
}

#[test]
fn installing_creates_the_extension_and_the_schema() {
    let database = Server::shared().database();
    database.install();
    let mut client = database.client();
    let distance = "select ('[1,0]'::vector <=> '[0,1]'::vector)";
    assert_eq!(
        client.query_one(distance, &[]).unwrap().get::<_, f64>(0),
        1.0
    );
    assert!(
        client
            .query("select * from ai.vectorizer", &[])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn waiting_sees_what_another_session_commits() {
    let database = Server::shared().database();
    database
        .client()
        .batch_execute("create table t (id int)")
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            database
                .client()
                .batch_execute("insert into t values (1)")
                .unwrap();
        });
        database.wait_until("select count(*) = 1 from t", Duration::from_secs(10));
    });
}

#[test]
fn a_server_of_ones_own_survives_restarts() {
    for major in [16, 18] {
        let server = Server::start_with(major, &[("max_prepared_transactions", "7")]);
        let database = server.database();
        let mut client = database.client();
        let table = "create unlogged table lease (id int); create table item (id int);
            insert into lease values (1); insert into item values (1)";
        client.batch_execute(table).unwrap();
        assert_eq!(show(&mut client, "max_prepared_transactions"), "7");
        assert!(show(&mut client, "server_version").starts_with(&major.to_string()));

        server.restart(Shutdown::Fast);
        assert!(client.simple_query("select 1").is_err());
        assert_eq!(counts(&database), (1, 1));

        server.restart(Shutdown::Immediate);
        assert_eq!(counts(&database), (0, 1));
        assert!(server.log().contains("not properly shut down"));

        server.stop(Shutdown::Fast);
        assert!(Client::connect(database.url(), NoTls).is_err());
        server.resume();
        assert_eq!(counts(&database), (0, 1));

        let directory = server.socket_directory().unwrap().to_owned();
        let url = server.url().to_owned();
        drop(server);
        assert!(Client::connect(&url, NoTls).is_err());
        assert!(!directory.exists());
    }
}

#[test]
fn a_setting_that_postgresql_refuses_is_an_error_with_its_log() {
    let refused = Server::provision(18, &[("max_connections", "many")], true, None);
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("max_connections"), "{error}");
}

/// Runs this test program again as a process that starts a server and is killed.
#[test]
fn a_server_does_not_outlive_a_killed_test() {
    const CHILD: &str = "PGAI_TEST_KILLED_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let server = Server::start(18);
        println_unbuffered(&format!(
            "server {} {}",
            server.url(),
            server.socket_directory().unwrap().display()
        ));
        thread::sleep(Duration::from_secs(60));
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(
            concat!(module_path!(), "::a_server_does_not_outlive_a_killed_test")
                .split_once("::")
                .unwrap()
                .1,
        )
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    let line = std::io::BufRead::lines(output)
        .map(Result::unwrap)
        .find(|line| line.contains("server "));
    let line = line.expect("the child starts a server");
    let mut words = line.split(' ').rev();
    let (directory, url) = (words.next().unwrap(), words.next().unwrap());
    Client::connect(url, NoTls).expect("the child's server runs");
    child.kill().unwrap();
    child.wait().unwrap();

    let began = Instant::now();
    while Path::new(directory).exists() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{directory} is still there"
        );
        thread::sleep(Duration::from_millis(5));
    }
    assert!(Client::connect(url, NoTls).is_err());
}

#[test]
fn a_url_gets_another_database() {
    for (url, expected) in [
        ("postgres://u:p@h:1/a", "postgres://u:p@h:1/b"),
        ("postgresql://h", "postgresql://h/b"),
        (
            "postgres://h/a?sslmode=disable",
            "postgres://h/b?sslmode=disable",
        ),
        (
            "postgres://h?sslmode=disable",
            "postgres://h/b?sslmode=disable",
        ),
        ("postgres:///a?host=/run/pg", "postgres:///b?host=/run/pg"),
    ] {
        assert_eq!(with_database(url, "b").unwrap(), expected);
    }
    assert!(with_database("host=h dbname=a", "b").is_err());
}

fn println_unbuffered(line: &str) {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

fn show(client: &mut Client, setting: &str) -> String {
    client
        .query_one(&format!("show {setting}"), &[])
        .unwrap()
        .get(0)
}

fn counts(database: &Database) -> (i64, i64) {
    let count = "select (select count(*) from lease), (select count(*) from item)";
    let row = database.client().query_one(count, &[]).unwrap();
    (row.get(0), row.get(1))
}
