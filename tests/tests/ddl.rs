//! What an application changes about its tables, crossed with what it then writes: every write succeeds, in the session
//! that has written before and in a new one, and what can still be queued is queued.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use postgres::Client;
use tests::postgres::{Database, Server};

/// How the source is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Table {
    Ordinary,
    Partitioned,
    Parent,
}

/// What becomes of the keys that are written after a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    /// All of them are queued.
    Queued,
    /// None is, and the application is warned.
    Warned,
}

use Table::{Ordinary, Parent, Partitioned};
use Then::{Queued, Warned};

const ANY: &[Table] = &[Ordinary, Partitioned, Parent];
/// The key of a partition, or of a table that others inherit from, can neither be retyped nor dropped.
const KEY: &[Table] = &[Ordinary];

/// The change, the tables that allow it, and what follows. The view is dropped before, as a migration has to.
const CHANGES: &[(&str, &[Table], Then)] = &[
    ("select 1", ANY, Queued),
    ("alter table docs rename body to story", ANY, Queued),
    ("alter table docs drop column body", ANY, Queued),
    ("alter table docs alter body type int using 7", ANY, Queued),
    (
        "alter table docs alter body type json using to_json(body)",
        ANY,
        Queued,
    ),
    ("alter table docs rename other to another", ANY, Queued),
    (
        "alter table docs drop column other, add column early int default 1",
        ANY,
        Queued,
    ),
    (
        "alter table docs rename to papers; create view docs as select * from papers",
        ANY,
        Queued,
    ),
    (
        "create schema attic; alter table docs set schema attic; create view docs as select * from attic.docs",
        ANY,
        Queued,
    ),
    ("alter table docs drop constraint docs_pkey", ANY, Queued),
    ("alter table docs alter id type bigint", KEY, Queued),
    ("alter table docs alter id type numeric", KEY, Queued),
    (
        "alter table docs alter id type text using id::text",
        KEY,
        Queued,
    ),
    ("alter table docs rename id to number", ANY, Warned),
    ("alter table docs drop column id cascade", KEY, Warned),
    ("alter table e_store rename to elsewhere", ANY, Queued),
    ("drop table e_store cascade", ANY, Queued),
    ("drop sequence ai._vectorizer_bell_1", ANY, Queued),
    ("alter table ai._vectorizer_q_1 rename to gone", ANY, Warned),
    ("drop table ai._vectorizer_q_1", ANY, Warned),
];

fn installed(table: Table) -> Database {
    let database = Server::shared().database();
    database.install();
    let columns = "(id int primary key, other text, body text)";
    let made = match table {
        Ordinary => format!("create table docs {columns}"),
        Partitioned => format!(
            "create table docs {columns} partition by range (id);
             create table docs_low partition of docs for values from (minvalue) to (1000);
             create table docs_high (body text, gone int, id int not null, other text);
             alter table docs_high drop column gone;
             alter table docs attach partition docs_high for values from (1000) to (maxvalue)"
        ),
        Parent => format!(
            "create table docs {columns}; create table docs_child (primary key (id)) inherits (docs)"
        ),
    };
    database
        .client()
        .batch_execute(&format!(
            "{made};
             select ai.create_vectorizer('docs', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3), destination => ai.destination_table('e'))"
        ))
        .unwrap();
    database
}

/// Writes of all kinds, few rows and many, below and above what is queued one by one. (Key, other and text by their
/// place, because they may have any name.)
fn writes(client: &mut Client, first: i32) {
    let names: Vec<String> = client
        .query(
            "select quote_ident(attname) from pg_attribute
             where attrelid = coalesce(to_regclass('papers'), to_regclass('attic.docs'), 'docs'::regclass)
               and attnum > 0 and not attisdropped order by attname in ('early'), attnum",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let has = |name: &str| names.iter().any(|found| found == name);
    let key = ["id", "number"].into_iter().find(|name| has(name));
    let text = ["body", "story"].into_iter().find(|name| has(name));
    let mut statements = vec![];
    for (from, to) in [
        (first, first),
        (first + 1, first + 30),
        (first + 100, first + 1200),
    ] {
        let rows = format!("generate_series({from}, {to}) n");
        match (key, text) {
            (Some(key), Some(text)) => {
                statements.push(format!(
                    "insert into docs ({key}, {text}) select n, '1' from {rows}"
                ));
                statements.push(format!(
                    "update docs set {text} = '2' where {key}::text::int between {from} and {to}"
                ));
            }
            (Some(key), None) => {
                statements.push(format!("insert into docs ({key}) select n from {rows}"))
            }
            (None, Some(text)) => {
                statements.push(format!("insert into docs ({text}) select '1' from {rows}"))
            }
            (None, None) => unreachable!("no change drops both"),
        }
        match key {
            Some(key) => {
                statements.push(format!(
                    "delete from docs where {key}::text::int between {from} and {to} and {key}::text::int % 2 = 1"
                ));
            }
            None => statements.push("delete from docs".to_owned()),
        }
    }
    for statement in statements {
        // Assignment casts where a text's type has changed.
        let typed = statement
            .replace("'1'", "text_of(1)")
            .replace("'2'", "text_of(2)");
        client
            .batch_execute(&typed)
            .unwrap_or_else(|error| panic!("{typed}: {error:?}"));
    }
}

/// `text_of` makes a value for the text column, whatever its type.
fn text_of(client: &mut Client) {
    client
        .batch_execute(
            "do $$ declare type text = coalesce((
                 select format_type(atttypid, null) from pg_attribute
                 where attrelid = coalesce(to_regclass('papers'), to_regclass('attic.docs'), 'docs'::regclass)
                   and attname in ('body', 'story') and not attisdropped), 'text');
             begin
               drop function if exists text_of(int);
               execute format('create function text_of(n int) returns %s language sql return n::text::%1$s', type);
             end $$",
        )
        .unwrap();
}

fn queued(client: &mut Client) -> i64 {
    let there = client
        .query_one("select to_regclass('ai._vectorizer_q_1') is not null", &[])
        .unwrap();
    if !there.get::<_, bool>(0) {
        return 0;
    }
    client
        .query_one("select count(*) from ai._vectorizer_q_1", &[])
        .unwrap()
        .get(0)
}

#[test]
fn every_write_succeeds_after_every_change_of_the_table() {
    for table in [Ordinary, Partitioned, Parent] {
        let template = installed(table);
        for (change, _, then) in CHANGES
            .iter()
            .filter(|(_, tables, _)| tables.contains(&table))
        {
            let database = template.copy();
            let mut warm = database.client();
            text_of(&mut warm);
            // All plans of the trigger functions are kept from here on.
            writes(&mut warm, 10_000);
            warm.batch_execute("truncate ai._vectorizer_q_1; drop view e")
                .unwrap();
            database
                .client()
                .batch_execute(change)
                .unwrap_or_else(|error| panic!("{change}: {error:?}"));
            text_of(&mut warm);
            for (number, client) in [&mut warm, &mut database.client()].into_iter().enumerate() {
                let first = 20_000 + 10_000 * i32::try_from(number).unwrap();
                writes(client, first);
                let wanted = match then {
                    // 1, 30 and 1,101 rows: a key that was deleted is queued, too.
                    Queued => 1 + 30 + 1_101,
                    Warned => 0,
                };
                assert_eq!(
                    queued(client),
                    wanted * (1 + i64::try_from(number).unwrap()),
                    "{table:?}: {change}"
                );
            }
        }
    }
}
