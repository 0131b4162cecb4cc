//! The text index of pg_textsearch. The tests' own server does not have that extension: what needs it runs in the
//! database that `PGAI_TEST_TEXTSEARCH_URL` names, as a superuser, in a transaction that is rolled back.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres::{Client, NoTls};
use serde_json::Value;

use crate::{filled, refused};

const GOLDEN: &str = include_str!("../../golden/search/bm25.json");
const SETUP: &str = include_str!("../../../sql/setup.sql");

#[test]
fn without_the_extension_it_is_refused_and_auto_is_the_own_one() {
    let mut stage = filled();
    for (arguments, code, part) in [
        ("method => 'pg_textsearch'", "0A000", "not installed"),
        (
            "method => 'paradedb'",
            "22023",
            "there is no method 'paradedb'",
        ),
    ] {
        let call = format!("select ai.enable_hybrid('docs', {arguments})");
        let (got, message) = refused(&mut stage.sql, &call);
        assert_eq!(got, code, "{message}");
        assert!(message.contains(part), "{message}");
    }
    let entry = "select count(*) from ai.vectorizer where config #> '{destination,hybrid}' ->> 'language' = 'pg_catalog.english'
        and not config #> '{destination,hybrid}' ? 'method'";
    for method in ["'auto'", "null", "'own'"] {
        stage.run(&format!(
            "select ai.enable_hybrid('docs', 'english', method => {method})"
        ));
        assert_eq!(stage.number(entry), 1, "{method}");
    }
    assert_eq!(
        crate::found(
            &mut stage.sql,
            "ai.hybrid_search('docs', 'kneading', null, 100)"
        )
        .len(),
        60
    );
    // As if the extension had been dropped.
    stage.run(
        "update ai.vectorizer set config = jsonb_set(config, '{destination,hybrid,method}', '\"pg_textsearch\"')",
    );
    let (code, message) = refused(
        &mut stage.sql,
        "select * from ai.hybrid_search('docs', 'kneading', null)",
    );
    assert_eq!(code, "55000");
    assert!(
        message.contains("needs the extension pg_textsearch"),
        "{message}"
    );
}

/// One test at a time: the server may have a single connection, as PGlite's does.
static ALONE: Mutex<()> = Mutex::new(());

/// A transaction in a database with the extension.
struct With {
    client: Client,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for With {
    fn drop(&mut self) {
        self.client.batch_execute("rollback").ok();
    }
}

/// A connection. (That of the test before may still end.)
fn connected(url: &str) -> Client {
    for _ in 0..50 {
        if let Ok(client) = Client::connect(url, NoTls) {
            return client;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Client::connect(url, NoTls).unwrap()
}

impl With {
    /// The schema `ai`, and 60 rows with three chunks each, as in the other tests.
    fn new() -> Option<Self> {
        let Ok(url) = std::env::var("PGAI_TEST_TEXTSEARCH_URL") else {
            eprintln!("SKIPPED: PGAI_TEST_TEXTSEARCH_URL is not set");
            return None;
        };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = connected(&url);
        let there = "select (to_regclass('ai.vectorizer') is not null)::int::bigint";
        let is_there: i64 = client.query_one(there, &[]).unwrap().get(0);
        assert_eq!(is_there, 0, "the database has the schema ai: name another");
        let mut with = Self {
            client,
            _alone: alone,
        };
        with.run(
            "begin; create extension if not exists vector; create extension if not exists pg_textsearch",
        );
        with.run(SETUP);
        with.run(
            "create table docs (id int primary key, part int, body text);
             select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', 3), enqueue_existing => false,
               destination => ai.destination_table(target_table => 'docs_store'))",
        );
        Some(with)
    }

    #[track_caller]
    fn run(&mut self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql) {
            panic!("{}: {error:?}", &sql[..sql.len().min(500)]);
        }
    }

    #[track_caller]
    fn number(&mut self, sql: &str) -> i64 {
        let row = self.client.query_one(sql, &[]);
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    #[track_caller]
    fn text(&mut self, sql: &str) -> String {
        let row = self.client.query_one(sql, &[]);
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// SQLSTATE and message of what must fail, without an end of the transaction.
    #[track_caller]
    fn refused(&mut self, sql: &str) -> (String, String) {
        self.run("savepoint before");
        let refused = refused(&mut self.client, sql);
        self.run("rollback to savepoint before");
        refused
    }

    #[track_caller]
    fn found(&mut self, search: &str) -> Vec<String> {
        crate::found(&mut self.client, search)
    }

    /// What the vectorizer's text index is.
    fn method(&mut self) -> String {
        self.text(
            "select coalesce(config #>> '{destination,hybrid,method}', 'own') from ai.vectorizer",
        )
    }

    fn fill(&mut self, rows: u32) {
        self.run(&format!(
            "insert into docs select n, n % 100, 'body' from generate_series(1, {rows}) n;
             insert into docs_store (id, chunk_seq, chunk, embedding)
               select n, p.place, p.text || ' ' || n, format('[%s,%s,1]', n, p.place)::vector
               from docs d(n), (values (0, 'the moon pulls the sea'), (1, 'knead the dough'), (2, 'a ship at sea')) p(place, text)"
        ));
    }
}

#[test]
fn its_ranking_is_that_of_the_own_index() {
    let Some(mut with) = With::new() else {
        return;
    };
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    for (id, text) in golden["documents"].as_array().unwrap().iter().enumerate() {
        let insert = "insert into docs_store (id, chunk_seq, chunk, embedding) values ($1, 0, $2, '[1,2,3]')";
        let id = i32::try_from(id).unwrap();
        let (text, values) = (text.as_str().unwrap(), &id);
        with.client.execute(insert, &[values, &text]).unwrap();
    }
    let mut compared = 0;
    for golden in golden["golden"].as_array().unwrap() {
        let k1 = golden["k1"].as_f64().unwrap();
        if k1 < 0.1 {
            continue;
        }
        with.run(&format!(
            "select ai.enable_hybrid('docs', k1 => {k1}, b => {}, method => 'pg_textsearch')",
            golden["b"]
        ));
        let query = "select (key ->> 'id')::int, text_score from ai.hybrid_search('docs', $1::text, null, 100)";
        let words = golden["query"].as_str().unwrap();
        let rows = with.client.query(query, &[&words]).unwrap();
        let got: BTreeMap<i32, f64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for (id, expect) in golden["scores"].as_array().unwrap().iter().enumerate() {
            let got = got.get(&i32::try_from(id).unwrap()).copied().unwrap_or(0.0);
            let expect = expect.as_f64().unwrap() * (1.0 + k1);
            // (It keeps the lengths of chunks rounded.)
            assert!(
                (got - expect).abs() <= 0.05 * expect.abs(),
                "{words}: {id}: {got}, {expect}"
            );
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn it_follows_the_store_and_every_filter_finds_enough() {
    let Some(mut with) = With::new() else {
        return;
    };
    with.fill(2000);
    with.run("select ai.enable_hybrid('docs', 'english', method => 'auto')");
    assert_eq!(with.method(), "pg_textsearch");
    // A search depends on no search_path.
    with.run("set local search_path = pg_catalog");
    assert_eq!(
        with.found("ai.hybrid_search('docs', 'kneading 7', null, 1)"),
        ["7.1"]
    );
    assert_eq!(
        with.found("ai.hybrid_search('docs', 'dough 7', '[7,1,1]'::public.vector, 1)"),
        ["7.1"]
    );
    with.run("set local search_path = public");
    for (words, filter, k, expect) in [
        ("dough", "{\"part\": 3}", 100, 20),
        ("dough sea", "{\"part\": 3}", 7, 7),
        ("dough", "{\"id\": 1999}", 10, 1),
        ("", "{}", 10, 0),
        ("the", "{}", 10, 0),
        ("... $$ \\ %s", "{}", 10, 0),
        ("it''s a ship", "{}", 5000, 2000),
    ] {
        for plan in ["on", "off"] {
            // With and without the index of the extension.
            with.run(&format!("set local enable_seqscan = {plan}; set local enable_sort = {plan}; set local enable_hashjoin = {plan}"));
            let search =
                format!("ai.hybrid_search('docs', '{words}', null, {k}, filter => '{filter}')");
            assert_eq!(with.found(&search).len(), expect, "{search}, {plan}");
        }
    }
    with.run("update docs_store set chunk = 'zebras' where id = 7 and chunk_seq = 1");
    let zebra = "ai.hybrid_search('docs', 'zebra', null, 3)";
    assert_eq!(with.found(zebra), ["7.1"]);
    // What no tsvector can hold stops nobody.
    with.run("update docs_store set chunk = (select string_agg(chr(20000 + n % 20000) || n, ' ') from generate_series(1, 200000) n) where id = 8 and chunk_seq = 0");
    with.run("delete from docs where id = 7");
    assert_eq!(with.found(zebra), [""; 0]);
    with.run("select ai.disable_hybrid('docs'), ai.disable_hybrid('docs')");
    let indexes = "select count(*) from pg_class where relname ~ '_vectorizer_text'";
    assert_eq!(with.number(indexes), 0);
    with.run(
        "select ai.enable_hybrid('docs', method => 'auto'); select ai.drop_vectorizer('docs')",
    );
    assert_eq!(with.number(indexes), 0);
}

#[test]
fn its_rights_are_those_on_the_store_and_row_security_replaces_it() {
    let Some(mut with) = With::new() else {
        return;
    };
    with.fill(60);
    with.run(
        "select ai.enable_hybrid('docs', method => 'pg_textsearch');
         create role textsearch_reader; create role textsearch_nobody;
         grant usage on schema ai to textsearch_reader, textsearch_nobody;
         grant select on ai.vectorizer to textsearch_reader, textsearch_nobody;
         grant select on docs_store to textsearch_reader; set local role textsearch_reader",
    );
    let search = "ai.hybrid_search('docs', 'dough', null, 3)";
    assert_eq!(with.found(search).len(), 3);
    for call in [
        "select ai.enable_hybrid('docs', method => 'pg_textsearch')",
        "select ai.enable_hybrid('docs', method => 'own')",
        "select ai.disable_hybrid('docs')",
    ] {
        assert_eq!(with.refused(call).0, "42501", "{call}");
    }
    with.run("set local role textsearch_nobody");
    assert_eq!(with.refused(&format!("select * from {search}")).0, "42501");
    with.run("reset role; alter table docs enable row level security");
    let (code, message) =
        with.refused("select ai.enable_hybrid('docs', 'english', method => 'pg_textsearch')");
    assert_eq!(code, "0A000");
    assert!(message.contains("row-level security"), "{message}");
    with.run("select ai.secure_vectorizer(1)");
    assert_eq!(with.method(), "own");
    assert_eq!(with.found(search).len(), 3);
    with.run("select ai.enable_hybrid('docs', method => 'auto')");
    assert_eq!(with.method(), "own");
}

#[test]
fn it_stays_over_an_upgrade_and_a_worker_builds_it_again() {
    let Some(mut with) = With::new() else {
        return;
    };
    with.fill(60);
    with.run("select ai.enable_hybrid('docs', 'english', method => 'pg_textsearch')");
    let search = "ai.hybrid_search('docs', 'kneads', null, 3)";
    let before = with.found(search);
    with.run(SETUP);
    // Without a method it stays what it is.
    with.run("select ai.enable_hybrid('docs', 'english')");
    assert_eq!(with.method(), "pg_textsearch");
    assert_eq!(with.found(search), before);
    with.run("drop index _vectorizer_text_idx_1");
    assert_eq!(with.refused(&format!("select * from {search}")).0, "55000");
    let take = "select coalesce(statement, problem) from ai._vector_index_take(7, 10000, '{1}')";
    let statement = with.text(take);
    assert!(statement.starts_with("create index concurrently if not exists _vectorizer_text_idx_1 on public.docs_store using bm25 (chunk) with ("), "{statement}");
    with.run(&statement.replace(" concurrently", ""));
    let ended = "select count(*) from ai._vector_index_end(1, 7, 1000, null) x where x";
    assert_eq!(with.number(ended), 1);
    assert_eq!(with.found(search), before);
    with.run("select ai.enable_hybrid('docs', 'english', method => 'own')");
    assert_eq!(with.method(), "own");
    assert_eq!(with.found(search).len(), 3);
    with.run("select ai.enable_hybrid('docs', 'english', method => 'pg_textsearch'); drop extension pg_textsearch cascade");
    let (code, message) = with.refused(&format!("select * from {search}"));
    assert_eq!(code, "55000");
    assert!(message.contains("needs the extension"), "{message}");
    let problem = with.text(take);
    assert!(problem.contains("not installed any more"), "{problem}");
}

#[test]
fn a_column_of_the_source_and_a_partitioned_store_are_refused() {
    let Some(mut with) = With::new() else {
        return;
    };
    with.run(
        "select ai.create_vectorizer('docs', name => 'column', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 3), enqueue_existing => false, chunking => ai.chunking_none(),
           destination => ai.destination_column('vector_of_body'))",
    );
    let (code, message) =
        with.refused("select ai.enable_hybrid('column', method => 'pg_textsearch')");
    assert_eq!(code, "0A000");
    assert!(message.contains("column of the source"), "{message}");
    with.run("create table docs_child () inherits (docs_store)");
    let (code, message) =
        with.refused("select ai.enable_hybrid('docs', method => 'pg_textsearch')");
    assert_eq!(code, "0A000");
    assert!(message.contains("child tables"), "{message}");
    let (_, message) =
        with.refused("select ai.enable_hybrid('docs', k1 => 0, method => 'pg_textsearch')");
    assert!(
        message.contains("child tables") || message.contains("k1 is 0"),
        "{message}"
    );
}
