//! Documents that change behind an unchanged address: `refresh` of `ai.loading_uri`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tests::stage::{PATIENCE, Stage};

use crate::server::{Answer, Asked, Server};
use crate::{chunks, failures, once, stage_of};

/// The pages of a server: versions and texts, by path. A path that ends in `t` has times for versions, one that ends in
/// `n` none that anybody is told.
type Pages = Arc<Mutex<BTreeMap<&'static str, (&'static str, &'static str)>>>;

const LOADING: &str = "loading => ai.loading_uri('url', retries => 0, refresh => '1 hour')";

fn pages(pages: &Pages) -> Server {
    let pages = Arc::clone(pages);
    Server::start(move |asked: &Asked| -> Answer {
        let pages = pages.lock().unwrap();
        let Some((version, text)) = pages.get(asked.path.as_str()) else {
            return (404, vec![], String::new());
        };
        if *version == "down" {
            return (503, vec![], String::new());
        }
        let (name, condition) = match asked.path.ends_with('t') {
            true => ("last-modified", "if-modified-since"),
            false => ("etag", "if-none-match"),
        };
        if asked.headers.get(condition).map(String::as_str) == Some(version) {
            return (304, vec![], String::new());
        }
        let mut headers = vec![("content-type", "text/plain".to_owned())];
        if !asked.path.ends_with('n') {
            headers.push((name, (*version).to_owned()));
        }
        (200, headers, (*text).to_owned())
    })
}

fn pages_of(all: &[(&'static str, &'static str, &'static str)]) -> Pages {
    let all = all.iter();
    let all = all.map(|(path, version, text)| (*path, (*version, *text)));
    Arc::new(Mutex::new(all.collect()))
}

fn addresses(server: &Server, paths: &[&str]) -> Vec<String> {
    let paths = paths.iter();
    paths.map(|path| format!("{}{path}", server.url)).collect()
}

/// The hour is over for all documents.
fn pass(stage: &mut Stage) {
    stage.run(
        "update ai.vectorizer_document set _counted_from = '-infinity', checked_at = '-infinity'",
    );
}

fn checked(stage: &mut Stage) -> i64 {
    stage.number("select count(*) from ai.vectorizer_document where checked_at > '-infinity'")
}

/// How often each path was asked for, and how often with a condition.
fn counts(server: &Server) -> BTreeMap<String, (usize, usize)> {
    let mut counts = BTreeMap::<_, (usize, usize)>::new();
    for asked in server.take() {
        let count = counts.entry(asked.path).or_default();
        count.0 += 1;
        let is_conditional =
            |name: &&String| matches!(name.as_str(), "if-none-match" | "if-modified-since");
        count.1 += asked.headers.keys().filter(is_conditional).count();
    }
    counts
}

const TIME: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
const LATER: &str = "Wed, 21 Oct 2015 07:28:05 GMT";

#[test]
fn changed_documents_are_loaded_again_and_others_are_not() {
    let pages = pages_of(&[
        ("/a", "\"1\"", "aaa"),
        ("/b", "\"1\"", "bbb"),
        ("/t", TIME, "ttt"),
        ("/n", "", "nnn"),
    ]);
    let server = self::pages(&pages);
    let mut stage = stage_of(&addresses(&server, &["/a", "/b", "/t", "/n"]), LOADING);
    once(&stage, &server.url, &[]);
    let all = |texts: [&str; 4]| {
        let texts = (1..).zip(texts.map(str::to_owned));
        texts.collect::<Vec<_>>()
    };
    assert_eq!(chunks(&mut stage), all(["aaa", "bbb", "ttt", "nnn"]));
    let each = |count| ["/a", "/b", "/n", "/t"].map(|path| (path.to_owned(), count));
    assert_eq!(counts(&server), each((1, 0)).into());
    assert_eq!(checked(&mut stage), 4);
    let embedded = stage.stub.requests().len();

    // Nothing is due.
    once(&stage, &server.url, &[]);
    assert_eq!(server.take().len(), 0);

    // Nothing has changed.
    pass(&mut stage);
    once(&stage, &server.url, &[]);
    let mut wanted = BTreeMap::from(each((1, 1)));
    wanted.insert("/n".to_owned(), (1, 0));
    assert_eq!(counts(&server), wanted);
    assert_eq!(stage.stub.requests().len(), embedded);
    assert_eq!(checked(&mut stage), 4);
    assert_eq!(chunks(&mut stage), all(["aaa", "bbb", "ttt", "nnn"]));

    // Two have, and a third has another version of the same text.
    pages.lock().unwrap().extend([
        ("/a", ("\"2\"", "another")),
        ("/b", ("\"2\"", "bbb")),
        ("/t", (LATER, "later")),
    ]);
    pass(&mut stage);
    once(&stage, &server.url, &[]);
    assert_eq!(chunks(&mut stage), all(["another", "bbb", "later", "nnn"]));
    assert_eq!(
        stage.stub.requests().len() - embedded,
        1,
        "one request for both new texts"
    );
    server.take();
    pass(&mut stage);
    once(&stage, &server.url, &[]);
    assert_eq!(counts(&server), wanted);
    assert_eq!(failures(&mut stage), []);
}

#[test]
fn a_changed_row_is_loaded_whatever_is_known() {
    let pages = pages_of(&[("/a", "\"1\"", "aaa"), ("/b", "\"1\"", "bbb")]);
    let server = self::pages(&pages);
    let formatting =
        format!("{LOADING}, formatting => ai.formatting_python_template('$title: $chunk')");
    let mut stage = stage_of(&addresses(&server, &["/a"]), &formatting);
    once(&stage, &server.url, &[]);
    pass(&mut stage);
    // The same version of the document, and other chunks.
    stage.run("update doc set title = 'b'");
    once(&stage, &server.url, &[]);
    assert_eq!(chunks(&mut stage), [(1, "b: aaa".to_owned())]);
    server.take();
    // Another address, whose document has the same version.
    pass(&mut stage);
    stage.run("update doc set url = replace(url, '/a', '/b')");
    once(&stage, &server.url, &[]);
    assert_eq!(chunks(&mut stage), [(1, "b: bbb".to_owned())]);
    assert_eq!(counts(&server), [("/b".to_owned(), (1, 0))].into());
    // A deleted row leaves nothing.
    stage.run("delete from doc");
    once(&stage, &server.url, &[]);
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_document"),
        0
    );
}

#[test]
fn a_check_that_fails_keeps_the_chunks_and_comes_again() {
    let pages = pages_of(&[("/a", "\"1\"", "aaa")]);
    let server = self::pages(&pages);
    let mut stage = stage_of(&addresses(&server, &["/a", "/new"]), LOADING);
    once(&stage, &server.url, &[]);
    pages.lock().unwrap().insert("/a", ("down", ""));
    pass(&mut stage);
    once(&stage, &server.url, &[]);
    assert_eq!(chunks(&mut stage), [(1, "aaa".to_owned())]);
    let failed = failures(&mut stage);
    let reasons: Vec<_> = failed.iter().map(|(id, _, reason)| (*id, reason)).collect();
    assert!(
        reasons[0].0 == 1 && reasons[0].1.contains("503"),
        "{reasons:?}"
    );
    // Not before the hour is over.
    server.take();
    once(&stage, &server.url, &[]);
    assert_eq!(server.take().len(), 0);
    // What was never there is asked for again, too.
    pages
        .lock()
        .unwrap()
        .extend([("/a", ("\"2\"", "again")), ("/new", ("\"1\"", "new"))]);
    pass(&mut stage);
    once(&stage, &server.url, &[]);
    let both = [(1, "again".to_owned()), (2, "new".to_owned())];
    assert_eq!(chunks(&mut stage), both);
    let failed = "select count(*) from ai._vectorizer_q_failed_1";
    assert_eq!(stage.number(failed), 0);
}

#[test]
fn refresh_changes_at_once() {
    let pages = pages_of(&[("/a", "\"1\"", "aaa"), ("/b", "\"1\"", "bbb")]);
    let server = self::pages(&pages);
    let loading = |more: &str| format!("ai.loading_uri('url', retries => 0{more})");
    let mut stage = stage_of(
        &addresses(&server, &["/a", "/b"]),
        &format!("loading => {}", loading("")),
    );
    once(&stage, &server.url, &[]);
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_document"),
        0
    );
    let alter = |stage: &mut Stage, more: &str| {
        let statement = format!(
            "select ai.alter_vectorizer('doc', loading => {})",
            loading(more)
        );
        let row = stage.sql.query_one(&statement, &[]).unwrap();
        assert_eq!(row.get::<_, String>(0), "done");
    };
    // All are loaded once more, to know their versions.
    server.take();
    let embedded = stage.stub.requests().len();
    alter(&mut stage, ", refresh => '1 hour'");
    once(&stage, &server.url, &[]);
    assert_eq!(server.take().len(), 2);
    assert_eq!(stage.stub.requests().len(), embedded);
    assert_eq!(checked(&mut stage), 2);
    // The interval counts from the last check.
    stage.run("update ai.vectorizer_document set _counted_from = now() - interval '10 minutes'");
    once(&stage, &server.url, &[]);
    assert_eq!(server.take().len(), 0);
    alter(&mut stage, ", refresh => '5 minutes'");
    once(&stage, &server.url, &[]);
    assert_eq!(server.take().len(), 2);
    alter(&mut stage, "");
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_document"),
        0
    );
    once(&stage, &server.url, &[]);
    assert_eq!(server.take().len(), 0);
    alter(&mut stage, ", refresh => '1 day'");
    once(&stage, &server.url, &[]);
    assert_eq!(checked(&mut stage), 2);
    stage.run("select ai.drop_vectorizer('doc', drop_all => true)");
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_document"),
        0
    );
}

#[test]
fn other_chunking_loads_the_documents_again() {
    let pages = pages_of(&[("/a", "\"1\"", "one\n\ntwo")]);
    let server = self::pages(&pages);
    let mut stage = stage_of(&addresses(&server, &["/a"]), LOADING);
    once(&stage, &server.url, &[]);
    pass(&mut stage);
    stage.run(
        "select ai.alter_vectorizer('doc', chunking => ai.chunking_character_text_splitter(4, 0, E'\\n\\n'))",
    );
    once(&stage, &server.url, &[]);
    let both = [(1, "one".to_owned()), (1, "two".to_owned())];
    assert_eq!(chunks(&mut stage), both);
}

/// Two workers that run all the time check each document once.
#[test]
fn workers_share_the_checks() {
    let pages = pages_of(&[("/a", "\"1\"", "aaa"), ("/b", "\"1\"", "bbb")]);
    let server = self::pages(&pages);
    let every = "loading => ai.loading_uri('url', refresh => '20 seconds')";
    let mut stage = stage_of(&addresses(&server, &["/a", "/b"]), every);
    once(&stage, &server.url, &[]);
    pass(&mut stage);
    server.take();
    let pattern = format!("{}/*", server.url);
    let arguments = ["--allow-uri", pattern.as_str(), "--poll-interval", "1s"];
    let workers = [(); 2].map(|()| stage.worker("worker", &arguments));
    let all = "(select bool_and(checked_at > '-infinity') from ai.vectorizer_document)";
    stage.database.wait_until(all, PATIENCE);
    pages.lock().unwrap().insert("/a", ("\"2\"", "another"));
    assert_eq!(counts(&server).values().map(|count| count.0).max(), Some(1));
    // Without anybody's help the change is found.
    let found = "exists (select from doc_store where chunk like 'another%')";
    stage.database.wait_until(found, PATIENCE);
    drop(workers);
}

#[test]
fn files_are_known_by_size_and_time() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, age: u64| {
        let path = place.path().join(name);
        std::fs::write(&path, text).unwrap();
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    };
    file("a.txt", "aaa", 100);
    file("b.txt", "bbb", 100);
    let mut stage = stage_of(&["a.txt".to_owned(), "b.txt".to_owned()], LOADING);
    let once = |stage: &Stage| {
        let directory = place.path().to_str().unwrap();
        let mut worker = stage.worker("worker", &["--once", "--documents-dir", directory]);
        worker.wait(PATIENCE);
    };
    once(&stage);
    let known = "select count(*) from ai.vectorizer_document where validator like 'file 3 %'";
    assert_eq!(stage.number(known), 2);
    let embedded = stage.stub.requests().len();
    pass(&mut stage);
    file("b.txt", "bbbb", 50);
    once(&stage);
    assert_eq!(checked(&mut stage), 2);
    let both = [(1, "aaa".to_owned()), (2, "bbbb".to_owned())];
    assert_eq!(chunks(&mut stage), both);
    assert_eq!(stage.stub.requests().len() - embedded, 1);
}

#[test]
fn an_interval_that_cannot_be_is_refused() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, url text)");
    for (loading, words) in [
        (
            "ai.loading_uri('url', refresh => '-1 day')",
            "at least one second",
        ),
        (
            "ai.loading_uri('url', refresh => '0')",
            "at least one second",
        ),
        (
            "ai.loading_uri('url', refresh => '20 years')",
            "at most ten years",
        ),
        (
            "ai.loading_column('url') || '{\"refresh\": 60}'",
            "of ai.loading_uri",
        ),
        (
            "ai.loading_uri('url') || '{\"refresh\": \"1 day\"}'",
            "a number of seconds",
        ),
    ] {
        let create = format!(
            "select ai.create_vectorizer('doc', loading => {loading}, embedding => ai.embedding_ollama('m', 3))"
        );
        let error = stage.sql.batch_execute(&create).unwrap_err();
        let error = error.as_db_error().unwrap().message().to_owned();
        assert!(error.contains(words), "{loading}: {error}");
    }
    stage.run("select ai.loading_uri('url', refresh => null)");
}

/// A role that serves another vectorizer writes nothing of this one.
#[test]
fn documents_are_the_business_of_their_workers() {
    let pages = pages_of(&[("/a", "\"1\"", "aaa")]);
    let server = self::pages(&pages);
    let mut stage = stage_of(&addresses(&server, &["/a"]), LOADING);
    once(&stage, &server.url, &[]);
    let stranger = format!("stranger_{}", std::process::id());
    stage.run(&format!(
        "create role {stranger}; grant usage on schema ai to {stranger};
         grant select on ai.vectorizer, ai.vectorizer_generation to {stranger};
         grant select, insert, update, delete on ai.vectorizer_document to {stranger}"
    ));
    for statement in [
        "update ai.vectorizer_document set validator = null",
        "delete from ai.vectorizer_document",
        "insert into ai.vectorizer_document (number, key) values (1, '{9}')",
    ] {
        let mut transaction = stage.sql.transaction().unwrap();
        let role = format!("set local role {stranger}");
        transaction.batch_execute(&role).unwrap();
        let error = transaction.batch_execute(statement).unwrap_err();
        let error = error.as_db_error().unwrap().message().to_owned();
        let words = "permission denied for the documents of another vectorizer";
        assert_eq!(error, words, "{statement}");
    }
    stage.run(&format!("drop owned by {stranger}; drop role {stranger}"));
}
