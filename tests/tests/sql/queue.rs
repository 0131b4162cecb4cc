//! What statements put into the queue, and how many errors are kept.

use tests::postgres::Server;

use crate::{installed, number};

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
