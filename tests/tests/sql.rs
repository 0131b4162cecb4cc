//! The SQL itself: `setup.sql` is what its parts say, installs as users install it, and refuses what
//! cannot work with one clear message.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::Path;

use postgres::Client;
use tests::postgres::{Database, Server};

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql"))
}

fn setup() -> String {
    fs::read_to_string(directory().join("setup.sql")).unwrap()
}

fn installed() -> (Database, Client) {
    let database = Server::shared().database();
    database.install();
    let client = database.client();
    (database, client)
}

/// The message and the SQLSTATE of a statement that must fail.
#[track_caller]
fn refusal(client: &mut Client, sql: &str) -> (String, String) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{sql}: {error:?}"))
        .clone();
    (error.message().to_owned(), error.code().code().to_owned())
}

fn number(client: &mut Client, sql: &str) -> i64 {
    client
        .query_one(sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

#[test]
fn setup_is_its_parts_one_behind_the_other() {
    let mut parts: Vec<_> = fs::read_dir(directory().join("parts"))
        .unwrap()
        .map(|part| part.unwrap().path())
        .collect();
    parts.sort();
    let parts: String = parts
        .iter()
        .map(|part| fs::read_to_string(part).unwrap())
        .collect();
    let setup = setup();
    let (_, body) = setup.split_once('\n').unwrap();
    assert!(body == parts, "run sql/build.sh");
}

#[test]
fn setup_can_be_executed_by_sqlalchemy_and_holds_nothing_for_psql_only() {
    let mut is_body = false;
    for (line, number) in setup().lines().zip(1..) {
        assert!(!line.starts_with('\\'), "line {number}: a command of psql");
        // A block may commit, where it has made sure that no transaction is around it.
        is_body ^= line.matches("$$").count() % 2 == 1;
        let bare = line.trim().to_ascii_lowercase();
        assert!(
            is_body || !matches!(bare.as_str(), "begin;" | "commit;" | "rollback;"),
            "line {number}: {line}"
        );
        // SQLAlchemy takes `:name` for a parameter, unless a colon, a word character or a backslash
        // stands before it, or a colon behind it.
        let characters: Vec<char> = line.chars().collect();
        for (at, _) in characters.iter().enumerate().filter(|(_, c)| **c == ':') {
            let is_word = |c: &&char| c.is_alphanumeric() || **c == '_';
            let free = at == 0
                || !matches!(characters[at - 1], ':' | '\\' | '_')
                    && !characters[at - 1].is_alphanumeric();
            let name = characters[at + 1..].iter().take_while(is_word).count();
            let behind = characters.get(at + 1 + name);
            assert!(
                !free || name == 0 || behind == Some(&':'),
                "line {number}: {line}"
            );
        }
    }
}

#[test]
fn setup_can_run_again_in_one_transaction_or_statement_by_statement() {
    let (database, mut client) = installed();
    client
        .batch_execute(
            "create table t (id int primary key, body text); insert into t values (1, 'a');
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3))",
        )
        .unwrap();
    database.install();
    // Outside a transaction block the whole text is one implicit transaction, too: as op.execute does it.
    client.batch_execute(&setup()).unwrap();
    assert_eq!(number(&mut client, "select count(*) from ai.vectorizer"), 1);
    assert_eq!(
        number(&mut client, "select ai.vectorizer_queue_pending(1)"),
        1
    );
    let path: String = client.query_one("show search_path", &[]).unwrap().get(0);
    assert_eq!(path, "\"$user\", public", "the session is left as it was");
}

#[test]
fn what_cannot_work_is_refused_when_the_vectorizer_is_created() {
    let (_database, mut client) = installed();
    client
        .batch_execute(
            "create table t (id int primary key, title text, body text, at timestamptz);
             create table nokey (body text);
             create table taken (id int primary key, body text, embedding text)",
        )
        .unwrap();
    let good = "loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3)";
    for (arguments, message) in [
        (
            "'t', loading => ai.loading_column('body')",
            "embedding configuration is required",
        ),
        (
            "'t', embedding => ai.embedding_ollama('m', 3)",
            "loading configuration is required",
        ),
        (
            &format!("'nokey', {good}"),
            "source table must have a primary key constraint",
        ),
        (
            &format!("'taken', {good}"),
            "the column \"embedding\" of the source table",
        ),
        (
            "'t', loading => ai.loading_column('nobody'), embedding => ai.embedding_ollama('m', 3)",
            "column_name in config does not exist in the table: nobody",
        ),
        (
            "'t', loading => ai.loading_column('at'), embedding => ai.embedding_ollama('m', 3)",
            "column_name at in config is of invalid type timestamptz",
        ),
        (
            "'t', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 0)",
            "dimensions must be between 1 and 16000",
        ),
        (
            &format!("'t', {good}, formatting => ai.formatting_python_template('$titel: $chunk')"),
            "formatting template names \"titel\", which is no column of the source table",
        ),
        (
            &format!("'t', {good}, formatting => ai.formatting_python_template('5 $ for $chunk')"),
            "invalid placeholder in formatting template",
        ),
        (
            &format!("'t', {good}, chunking => ai.chunking_character_text_splitter(100)"),
            "Got a larger chunk overlap (400) than chunk size (100), should be smaller.",
        ),
        (
            &format!("'t', {good}, name => 'Blog'"),
            "invalid vectorizer name: \"Blog\"",
        ),
        (
            &format!("'t', {good}, processing => ai.processing_default(batch_size => 3000)"),
            "batch_size must be less than or equal to 2048",
        ),
        (
            &format!("'t', {good}, destination => ai.destination_table('t')"),
            "an object named public.t already exists",
        ),
    ] {
        let (said, _) = refusal(
            &mut client,
            &format!("select ai.create_vectorizer({arguments})"),
        );
        assert!(said.starts_with(message), "{arguments}: {said}");
    }
    // A creation that failed leaves nothing behind.
    assert_eq!(number(&mut client, "select count(*) from ai.vectorizer"), 0);
    let left = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'ai' and c.relname like '\\_vectorizer\\_q%'";
    assert_eq!(number(&mut client, left), 0);
}

#[test]
fn a_taken_name_has_the_sqlstate_of_pgai_and_if_not_exists_returns_the_old_one() {
    let (_database, mut client) = installed();
    client
        .batch_execute("create table t (id int primary key, body text)")
        .unwrap();
    let create = "ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
                    embedding => ai.embedding_ollama('m', 3)";
    client.batch_execute(&format!("select {create})")).unwrap();
    let (message, code) = refusal(&mut client, &format!("select {create})"));
    assert_eq!(
        (message.as_str(), code.as_str()),
        ("a vectorizer named v already exists.", "42710")
    );
    assert_eq!(
        number(
            &mut client,
            &format!("select {create}, if_not_exists => true)::bigint")
        ),
        1
    );
}

#[test]
fn dropping_leaves_nothing_but_the_store_and_with_drop_all_not_even_that() {
    let (_database, mut client) = installed();
    let objects = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = 'ai' or c.relname like 't\\_embedding%'";
    let functions = "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                     where n.nspname = 'ai'";
    let (objects_before, functions_before) =
        (number(&mut client, objects), number(&mut client, functions));
    for (what, drop_all, left) in [
        ("select", true, 0),
        ("alter table t rename to u; select", false, 4),
        ("drop table u cascade; select", true, 0),
    ] {
        let exists = number(
            &mut client,
            "select count(*) from pg_class where relname = 'u'",
        ) == 1;
        if !exists {
            client
                .batch_execute("create table if not exists t (id int primary key, body text)")
                .unwrap();
        }
        let table = if exists { "u" } else { "t" };
        client
            .batch_execute(&format!(
                "select ai.create_vectorizer('{table}', name => 'v', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('m', 3))"
            ))
            .unwrap();
        client
            .batch_execute(&format!("{what} ai.drop_vectorizer('v', {drop_all})"))
            .unwrap();
        let triggers = "select count(*) from pg_trigger where tgname like '\\_vectorizer\\_src%'";
        assert_eq!(number(&mut client, triggers), 0, "{what}");
        assert_eq!(number(&mut client, functions), functions_before, "{what}");
        let left_now = number(&mut client, objects) - objects_before;
        // The store, its two indexes, and the view.
        assert!(left_now <= left, "{what}: {left_now}");
        client
            .batch_execute(
                "drop view if exists t_embedding; drop table if exists t_embedding_store",
            )
            .unwrap();
    }
}

#[test]
fn an_update_queues_a_row_only_if_something_embedded_changed() {
    let (_database, mut client) = installed();
    client
        .batch_execute(
            "create table t (id int primary key, body text, n numeric, doc json, other int);
             insert into t values (1, 'a', 1.0, '{\"a\": 1}', 1);
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3),
               formatting => ai.formatting_python_template('$n $doc $chunk'))",
        )
        .unwrap();
    for (edit, queued) in [
        ("other = 2", 0),
        ("body = 'a'", 0),
        ("body = 'b'", 1),
        ("n = 1.00", 1),
        ("doc = '{\"a\":1}'", 1),
        ("id = 2", 2),
    ] {
        client
            .batch_execute(&format!("truncate ai._vectorizer_q_1; update t set {edit}"))
            .unwrap();
        assert_eq!(
            number(&mut client, "select count(*) from ai._vectorizer_q_1"),
            queued,
            "{edit}"
        );
    }
}

#[test]
fn a_thousand_updates_are_one_item_and_each_has_a_generation_of_its_own() {
    let (_database, mut client) = installed();
    client
        .batch_execute(
            "create table t (id int primary key, body text); insert into t values (1, 'a');
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3))",
        )
        .unwrap();
    let queued_at = "select extract(epoch from queued_at)::bigint from ai._vectorizer_q_1";
    let (first, mut last) = (number(&mut client, queued_at), 0);
    for change in 0..1000 {
        client
            .execute("update t set body = $1", &[&change.to_string()])
            .unwrap();
        let generation = number(&mut client, "select _generation from ai._vectorizer_q_1");
        assert!(generation > last);
        last = generation;
    }
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        1
    );
    assert_eq!(
        number(&mut client, queued_at),
        first,
        "first come, first served"
    );
}

/// Many new rows are queued without a look whether they are queued already: where one is, all are
/// queued the other way.
#[test]
fn many_rows_are_queued_at_once_also_where_deleted_keys_are_still_queued() {
    for isolation in ["read committed", "repeatable read"] {
        let (_database, mut client) = installed();
        client
            .batch_execute(
                "create table t (id int primary key, body text);
                 select ai.create_vectorizer('t', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('m', 3));
                 insert into t select n, 'a' from generate_series(1, 5000) n;
                 truncate ai._vectorizer_q_1;
                 delete from t where id % 7 = 0",
            )
            .unwrap();
        let last = number(
            &mut client,
            "select max(_generation) from ai._vectorizer_q_1",
        );
        client
            .batch_execute(&format!(
                "begin isolation level {isolation};
                 delete from t where id % 7 = 1;
                 insert into t select n, 'b' from generate_series(1, 5000) n on conflict do nothing;
                 commit"
            ))
            .unwrap();
        let queued =
            "select count(*) from ai._vectorizer_q_1 q join t on t.id = q.id and t.body = 'b'";
        assert_eq!(number(&mut client, queued), 1429, "{isolation}");
        let fresh = format!("{queued} where q._generation > {last}");
        assert_eq!(number(&mut client, &fresh), 1429, "{isolation}");
        assert_eq!(
            number(&mut client, "select count(*) from ai._vectorizer_q_1"),
            1429
        );
    }
}

#[test]
fn no_notification_where_transactions_are_prepared() {
    let server = Server::start_with(18, &[("max_prepared_transactions", "5")]);
    let database = server.database();
    database.install();
    let mut client = database.client();
    client
        .batch_execute(
            "create table t (id int primary key, body text);
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3))",
        )
        .unwrap();
    client
        .batch_execute("begin; insert into t values (1, 'a'); prepare transaction 'p'")
        .unwrap();
    client.batch_execute("commit prepared 'p'").unwrap();
    assert_eq!(
        number(&mut client, "select ai.vectorizer_queue_pending(1)"),
        1
    );
}

/// Installs the SQL of the real Python package, as `pgai.install()` does.
fn install_python_pgai(client: &mut Client, version: &str) {
    let script = tests::python::pgai_sql(version).unwrap();
    client
        .batch_execute("create extension if not exists vector")
        .unwrap();
    client.batch_execute(&script).unwrap();
}

#[test]
fn a_database_of_python_pgai_is_upgraded_in_place() {
    for version in ["0.10.0", "0.11.3", "0.12.1"] {
        upgrade_of_python_pgai(version);
    }
}

fn upgrade_of_python_pgai(version: &str) {
    let database = Server::shared().database();
    let mut client = database.client();
    install_python_pgai(&mut client, version);
    // 0.10 has the errors in a table of this name.
    client
        .batch_execute("grant select on ai.vectorizer_errors to public")
        .unwrap();
    let loading = "loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3)";
    client
            .batch_execute(&format!(
                "create table t (id int primary key, body text); insert into t values (1, 'a'), (2, 'b');
                 select ai.create_vectorizer('t', {loading});
                 insert into t_embedding_store (id, chunk_seq, chunk, embedding) values (1, 0, 'a', '[1,2,3]');
                 update t set body = 'c' where id = 2; update t set body = 'd' where id = 2;"
            ))
            .unwrap();
    assert!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1") > 2,
        "doubles"
    );
    database.install();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_errors"),
        0,
        "{version}"
    );
    let readable =
        "select has_table_privilege('public', 'ai.vectorizer_errors', 'select')::int::bigint";
    assert_eq!(number(&mut client, readable), 1, "{version}: grants stay");
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        2,
        "folded"
    );
    assert_eq!(
        number(&mut client, "select count(*) from t_embedding_store"),
        1,
        "vectors stay"
    );
    // The triggers are ours: a column that nobody embeds queues nothing, a deletion is a tombstone.
    client
        .batch_execute(
            "truncate ai._vectorizer_q_1; alter table t add column n int; update t set n = 1",
        )
        .unwrap();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        0
    );
    client.batch_execute("delete from t where id = 1").unwrap();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        1
    );
    assert_eq!(
        number(&mut client, "select count(*) from t_embedding_store"),
        0
    );
    // A second run changes nothing, and neither does a leftover pgai.install() of the newest.
    database.install();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        1
    );
    client
        .batch_execute(&format!(
            "select ai.drop_vectorizer(1, true); select ai.create_vectorizer('t', {loading})"
        ))
        .unwrap();
}

#[test]
fn an_older_python_pgai_is_named_with_what_to_do() {
    let database = Server::shared().database();
    let mut client = database.client();
    install_python_pgai(&mut client, "0.12.1");
    // As 0.9 left it.
    client
        .batch_execute("delete from ai.pgai_lib_migration where name > '028'")
        .unwrap();
    let (message, code) = refusal(&mut client, &setup());
    assert!(message.contains("older than 0.10"), "{message}");
    assert_eq!(code, "55000");
}

#[test]
fn a_leftover_install_of_python_pgai_changes_nothing() {
    let (_database, mut client) = installed();
    let script = tests::python::pgai_sql("0.12.1").unwrap();
    // pgai.install() takes this SQLSTATE for "already done".
    let (_, code) = refusal(&mut client, &script);
    assert_eq!(code, "42710");
}

#[test]
fn setup_waits_for_nobody_and_refuses_while_a_python_worker_is_connected() {
    let (database, mut client) = installed();
    let mut worker = database.client();
    worker
        .batch_execute("set application_name = 'pgai-worker[1]: 0123abcd'")
        .unwrap();
    let (message, code) = refusal(&mut client, &setup());
    assert!(message.contains("worker of Python pgai"), "{message}");
    assert_eq!(code, "55006");
}

#[test]
fn the_latest_thousand_errors_of_each_vectorizer_are_kept() {
    let (_database, mut client) = installed();
    client
        .batch_execute(
            "insert into ai.vectorizer (id, source_schema, source_table, source_pk, trigger_name, config, name)
             select n, 's', 't', '[]', 'x', '{}', 'v' || n from generate_series(1, 2) n;
             insert into ai._vectorizer_errors (id, message, recorded)
             select 1, 'e' || n, now() + n * interval '1 s' from generate_series(1, 1500) n;
             insert into ai._vectorizer_errors (id, message) values (2, 'the only one');
             insert into ai._vectorizer_errors (id, message, recorded)
             select 1, 'e' || n, now() + n * interval '1 s' from generate_series(1501, 1700) n",
        )
        .unwrap();
    let kept = "select count(*) from ai._vectorizer_errors where id = 1";
    assert_eq!(number(&mut client, kept), 1000);
    let oldest = "select min(substr(message, 2)::bigint) from ai._vectorizer_errors where id = 1";
    assert_eq!(number(&mut client, oldest), 701);
    assert_eq!(
        number(
            &mut client,
            "select count(*) from ai._vectorizer_errors where id = 2"
        ),
        1
    );
}
