//! Keys of every kind: pieces end and begin between them.

use pgai_core::{Query, ResyncQuery, ResyncState, Settings};
use tests::hand::Hand;
use tests::postgres::Server;

/// The columns, the key, the values of row n, and what is in front of it all.
const KEYS: [(&str, &str, &str, &str); 12] = [
    ("", "id bigint", "id", "n"),
    ("", "id int", "id", "-n"),
    ("", "id text", "id", "'k' || n"),
    ("", "id text collate \"C\"", "id", "chr(64 + n % 60) || n"),
    ("", "id varchar(9)", "id", "n::text"),
    ("", "id char(5)", "id", "n::text"),
    ("", "id uuid", "id", "md5(n::text)::uuid"),
    (
        "",
        "id timestamptz",
        "id",
        "'epoch'::timestamptz + n * interval '1 day 1 microsecond'",
    ),
    ("", "id numeric", "id", "n / 7.0"),
    ("", "a int, b text", "a, b", "n % 3, 'b' || n"),
    (
        "create domain d as text check (value <> ''); create type e as enum ('x', 'y')",
        "a e, b d, c date",
        "c, a, b",
        "(array['x', 'y'])[1 + n % 2]::e, 'b' || n % 5, 'epoch'::date + n",
    ),
    (
        OTHER_OPERATORS,
        "a int, b other.number",
        "a, b",
        "n % 3, row(n)::other.number",
    ),
];

/// A type whose order is that of operators in its own schema: backwards.
const OTHER_OPERATORS: &str = "
    create schema other;
    create type other.number as (n int);
    create function other.lt(other.number, other.number) returns boolean immutable language sql
      return ($1).n > ($2).n;
    create function other.le(other.number, other.number) returns boolean immutable language sql
      return ($1).n >= ($2).n;
    create function other.eq(other.number, other.number) returns boolean immutable language sql
      return ($1).n = ($2).n;
    create function other.ge(other.number, other.number) returns boolean immutable language sql
      return ($1).n <= ($2).n;
    create function other.gt(other.number, other.number) returns boolean immutable language sql
      return ($1).n < ($2).n;
    create function other.compare(other.number, other.number) returns int immutable language sql
      return pg_catalog.btint4cmp(($2).n, ($1).n);
    create operator other.< (leftarg = other.number, rightarg = other.number, function = other.lt);
    create operator other.<= (leftarg = other.number, rightarg = other.number, function = other.le);
    create operator other.= (leftarg = other.number, rightarg = other.number, function = other.eq, merges);
    create operator other.>= (leftarg = other.number, rightarg = other.number, function = other.ge);
    create operator other.> (leftarg = other.number, rightarg = other.number, function = other.gt);
    create operator class other.number_ops default for type other.number using btree as
      operator 1 other.<, operator 2 other.<=, operator 3 other.=, operator 4 other.>=, operator 5 other.>,
      function 1 other.compare(other.number, other.number)";

#[test]
fn keys_of_every_type_are_walked_in_their_order() {
    for (before, columns, key, values) in KEYS {
        for compared in [1, 7, 1_000] {
            println!("{columns}, {compared} at a time");
            let database = Server::shared().database();
            database.install();
            let mut client = database.client();
            let names: Vec<_> = columns
                .split(", ")
                .map(|column| column.split(' ').next().unwrap())
                .collect();
            let names = names.join(", ");
            client
                .batch_execute(&format!(
                    "{before};
                     create table t ({columns}, body text, primary key ({key}));
                     select ai.create_vectorizer('t', loading => ai.loading_column('body'),
                       embedding => ai.embedding_ollama('stub', 3), chunking => ai.chunking_none(),
                       destination => ai.destination_table(target_table => 's'));
                     alter table t disable trigger all;
                     insert into t ({names}, body)
                       select {values}, 'row ' || n from generate_series(1, 40) n;
                     insert into s ({names}, chunk_seq, chunk, embedding)
                       select {names}, 0, body, '[1, 2, 3]' from t;
                     delete from s where chunk like '%5';
                     delete from t where body like '%6';
                     update t set body = body || '!' where body like '%7'"
                ))
                .unwrap();
            client
                .batch_execute("select ai.resync_vectorizer(1, true)")
                .unwrap();
            let mut settings = Settings::new("led by the hand");
            settings.limits.compared = compared;
            let mut hand = Hand::with(database.client(), 1, settings);
            let last = hand.until(|query| {
                matches!(query, Query::Resync(ResyncQuery::Save { standing, .. })
                    if standing.state != ResyncState::Running)
            });
            hand.run(last).unwrap();
            // (The reason may say that tests beside this one write: an hour of the hand's is short.)
            let row = client
                .query_one(
                    "select format('%s, %s rows: %s missing, %s orphans, %s stale', state,
                       rows_compared, missing, orphans, stale) from ai.vectorizer_resync",
                    &[],
                )
                .unwrap();
            let found: String = row.get(0);
            assert_eq!(found, "done, 36 rows: 4 missing, 4 orphans, 4 stale");
            hand.finish();
            let differing = format!(
                "select count(*) from t full join s using ({names}) where body is distinct from chunk"
            );
            let differing: i64 = client.query_one(&differing, &[]).unwrap().get(0);
            assert_eq!(differing, 0);
        }
    }
}
