//! Any legal table: types of keys, names, partitions, inheritance, cascades, several vectorizers.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use tests::stage::{DIMENSIONS, Stage};

/// A type and three values of it as keys.
const KEYS: &[(&str, [&str; 3])] = &[
    ("smallint", ["-32768", "0", "7"]),
    ("int", ["-1", "0", "2147483647"]),
    ("bigint", ["-9223372036854775808", "1", "2"]),
    ("oid", ["0", "1", "4294967295"]),
    ("numeric", ["1.50", "NaN", "-12345678901234567890.123"]),
    ("float8", ["-Infinity", "1e-300", "0.1"]),
    ("float4", ["NaN", "3.4e38", "0.1"]),
    (
        "text",
        ["", "tab\t \"quote\" 'n' \\ {store} $1 %s", "é\u{1F600}"],
    ),
    ("varchar(30)", ["", " lead", "trail "]),
    ("char(5)", ["ab", "a b", "abcde"]),
    ("\"char\"", ["a", "\"", "z"]),
    ("name", ["a", "b c", "d\"e"]),
    (
        "uuid",
        [
            "00000000-0000-0000-0000-000000000000",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    ("bool", ["t", "f", ""]),
    ("date", ["infinity", "0044-03-15 BC", "5874897-12-31"]),
    (
        "timestamp",
        ["-infinity", "2024-02-29 23:59:59.999999", "0001-01-01 BC"],
    ),
    (
        "timestamptz",
        [
            "infinity",
            "2024-02-29 23:59:59.999999+05:30",
            "4713-01-02 BC",
        ],
    ),
    ("time", ["00:00", "24:00:00", "12:34:56.789"]),
    ("timetz", ["00:00+15", "24:00:00-15", "12:34:56.789+00"]),
    (
        "interval",
        ["1 year 2 mons -3 days 04:05:06.7", "-1 sec", "0"],
    ),
    ("bytea", ["\\x", "\\x00ff00", "\\x5c"]),
    ("inet", ["10.0.0.1", "10.0.0.1/24", "::1"]),
    ("cidr", ["10.0.0.0/8", "::/0", "192.168.1.0/24"]),
    (
        "macaddr",
        [
            "08:00:2b:01:02:03",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
        ],
    ),
    (
        "macaddr8",
        [
            "08:00:2b:01:02:03:04:05",
            "00:00:00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff:ff:ff",
        ],
    ),
    ("bit(4)", ["0000", "1010", "1111"]),
    ("varbit", ["", "1", "101010101"]),
    ("money", ["-1.50", "0", "12345.67"]),
    ("far.mood", ["sad", "very happy", "it's \"ok\""]),
    ("far.short", ["a", "bb", "ccc"]),
    ("jsonb", ["{\"a\": null}", "[1, \"x\", 1.00]", "\"s\""]),
    ("int[]", ["{}", "{1,NULL,3}", "[2:3]={1,2}"]),
    ("text[]", ["{\"a,b\",\"\",NULL}", "{{x},{y}}", "{}"]),
    ("int4range", ["empty", "[1,5)", "(,3)"]),
    (
        "tstzrange",
        ["empty", "[2024-01-01 00:00+00,infinity)", "(,)"],
    ),
    ("int4multirange", ["{}", "{[1,2),[5,9)}", "{(,0)}"]),
    ("far.tags", ["{}", "{1,2}", "{{3},{4}}"]),
    ("far.pair", ["(1,)", "(2,\"a, \"\"b\"\"\")", "(,x)"]),
    ("pg_lsn", ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"]),
    ("xid8", ["0", "5", "18446744073709551615"]),
    ("tsvector", ["'a':1", "'b c':2A 'd'", ""]),
];

const FAR: &str = "
    create schema far;
    create type far.mood as enum ('sad', 'very happy', 'it''s \"ok\"');
    create domain far.short as text check (length(value) < 9);
    create domain far.tags as int[];
    create type far.pair as (n int, t text)";

fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[test]
fn every_type_with_a_btree_can_be_a_key_in_both_destinations() {
    let mut stage = Stage::new();
    stage.run(FAR);
    // A column of its own type, and one that makes the key a composite one, in either order.
    for (number, (type_name, values)) in KEYS.iter().enumerate() {
        for (letter, key, destination) in [
            ('t', "k, n", format!("ai.destination_table('t{number}_e')")),
            ('c', "n, k", "ai.destination_column('vector')".to_owned()),
        ] {
            let table = format!("{letter}{number}");
            let values: Vec<_> = values
                .iter()
                .map(|value| format!("({}::{type_name}, 1, 'body')", literal(value)))
                .collect();
            let values = if *type_name == "bool" {
                values[..2].join(", ")
            } else {
                values.join(", ")
            };
            stage.run(&format!(
                "create table {table} (k {type_name}, n int, body text, primary key ({key}));
                 insert into {table} values {values};
                 select ai.create_vectorizer('{table}', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
                   formatting => ai.formatting_python_template('{table} $n: $chunk'),
                   destination => {destination})"
            ));
        }
    }
    stage.once("worker");
    let store = |number: usize| format!("select count(*) from t{number}_e_store");
    let column = |number: usize| format!("select count(*) from c{number} where vector is not null");
    for (number, (type_name, _)) in KEYS.iter().enumerate() {
        let wanted = if *type_name == "bool" { 2 } else { 3 };
        assert_eq!(stage.number(&store(number)), wanted, "{type_name}");
        assert_eq!(stage.number(&column(number)), wanted, "{type_name}");
    }

    // A change, a deletion and a new key, of each.
    for (number, (type_name, values)) in KEYS.iter().enumerate() {
        for table in [format!("t{number}"), format!("c{number}")] {
            let [first, second, _] = values.map(|value| format!("{}::{type_name}", literal(value)));
            stage.run(&format!(
                "update {table} set body = 'changed' where (n, k) = (1, {first});
                 delete from {table} where (n, k) = (1, {second});
                 update {table} set n = 2 where k not in ({first}, {second})"
            ));
        }
    }
    stage.once("worker");
    for (number, (type_name, _)) in KEYS.iter().enumerate() {
        let wanted = if *type_name == "bool" { 1 } else { 2 };
        let true_chunks = format!(
            "select count(*) from t{number}_e_store s join t{number} t using (n, k)
             where s.chunk = format('t{number} %s: %s', t.n, t.body)"
        );
        assert_eq!(stage.number(&true_chunks), wanted, "{type_name}");
        assert_eq!(stage.number(&store(number)), wanted, "{type_name}");
        assert_eq!(stage.number(&column(number)), wanted, "{type_name}");
    }
    let failed = "select count(*) from ai.vectorizer_errors";
    assert_eq!(stage.number(failed), 0);
    assert_eq!(
        stage.number("select sum(pending_items)::bigint from ai.vectorizer_status"),
        0
    );
}

/// Names that break whatever is put together without care.
fn hostile_names() -> Vec<String> {
    let mut names = vec![
        "a\"b".to_owned(),
        "a'b".to_owned(),
        "a\nb".to_owned(),
        "100%I %s %1$s".to_owned(),
        "x\"; drop table victim; --".to_owned(),
        "$$; drop table victim; $$".to_owned(),
        "$body$ {store} {key}".to_owned(),
        "Mixed Case".to_owned(),
        "select".to_owned(),
        "\\x \\n".to_owned(),
        "é\u{1F600}".to_owned(),
        "o".to_owned(),
        "n".to_owned(),
        "s".to_owned(),
        "k1".to_owned(),
    ];
    // What the triggers' own language calls something else.
    let words = [
        "queued",
        "is_strict",
        "attempt",
        "found",
        "old",
        "new",
        "tg_relid",
        "excluded",
    ];
    names.extend(words.map(str::to_owned));
    names.push("l".repeat(63));
    names
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[test]
fn hostile_names_stay_names_everywhere() {
    let mut stage = Stage::new();
    stage.run("create table victim (id int)");
    for (number, name) in hostile_names().iter().enumerate() {
        let beginning = |characters: usize| name.chars().take(characters).collect::<String>();
        let (queue, column) = (format!("q{}", beginning(60)), format!("V{}", beginning(20)));
        // The same name for schema, table, key and store's schema, and in those of queue and column.
        let table = format!("{0}.{0}", quoted(name));
        let (text, source) = (literal(name), literal(&table));
        stage.run(&format!(
            "create schema {quoted};
             create table {table} ({quoted} int primary key, \"t{number}\" text, \"T\" text);
             select ai.create_vectorizer({source}::regclass, name => 'v{number}', loading => ai.loading_column('t{number}'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               formatting => ai.formatting_python_template('$T: $chunk'),
               queue_schema => {text}, queue_table => {},
               destination => ai.destination_table(target_schema => {text}, target_table => 'store', view_name => 'view'));
             select ai.create_vectorizer({source}::regclass, name => 'c{number}', loading => ai.loading_column('t{number}'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => ai.destination_column({}));
             insert into {table} values (1, 'one', 'x'), (2, 'two', 'y'), (3, 'three', 'z')",
            literal(&queue),
            literal(&column),
            quoted = quoted(name),
        ));
    }
    stage.once("worker");
    for name in hostile_names() {
        let quoted = quoted(&name);
        let table = format!("{quoted}.{quoted}");
        stage.run(&format!(
            "update {table} set \"T\" = 'other' where {quoted} = 1; delete from {table} where {quoted} = 2;
             update {table} set {quoted} = 30 where {quoted} = 3"
        ));
    }
    stage.once("worker");
    for (number, name) in hostile_names().iter().enumerate() {
        let quoted = quoted(name);
        let chunks = format!(
            "select count(*) from {quoted}.store s join {quoted}.{quoted} t using ({quoted})
             where s.chunk = t.\"T\" || ': ' || t.\"t{number}\""
        );
        assert_eq!(stage.number(&chunks), 2, "{name:?}");
        assert_eq!(
            stage.number(&format!("select count(*) from {quoted}.store")),
            2,
            "{name:?}"
        );
        let vector = quoted_column(name);
        let vectors = format!("select count(*) from {quoted}.{quoted} where {vector} is not null");
        assert_eq!(stage.number(&vectors), 2, "{name:?}");
    }
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 0);
    // Granting and dropping name all of it once more.
    let role = format!("\"odd role'; % of {}\"", stage.database.name());
    stage.run(&format!("create role {role}"));
    for function in ["ai.grant_worker_usage", "ai.grant_vectorizer_usage"] {
        stage.run(&format!(
            "select {function}({})",
            literal(role.trim_matches('"'))
        ));
    }
    stage.run("select ai.drop_vectorizer(id, true) from ai.vectorizer");
    assert_eq!(
        stage.number(
            "select count(*) from pg_trigger where not tgisinternal and tgname ~ 'src_trg'"
        ),
        0
    );
    assert_eq!(
        stage.number("select count(*) from victim"),
        0,
        "it is still there"
    );
    stage.run(&format!("drop owned by {role}; drop role {role}"));
}

fn quoted_column(name: &str) -> String {
    quoted(&format!("V{}", name.chars().take(20).collect::<String>()))
}

#[test]
fn a_name_that_cannot_work_is_refused_with_what_to_do() {
    let mut stage = Stage::new();
    for (number, column) in ["chunk", "chunk_seq", "embedding", "embedding_uuid"]
        .iter()
        .enumerate()
    {
        stage.run(&format!(
            "create table t{number} (id int primary key, body text, {column} text)"
        ));
        let error = stage
            .sql
            .batch_execute(&format!(
                "select ai.create_vectorizer('t{number}', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3))"
            ))
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains(column), "{column}: {error:?}");
    }
    for (number, column) in [
        "queued_at",
        "loading_retries",
        "loading_retry_after",
        "created_at",
        "failure_step",
        "failure_reason",
        "_generation",
        "_claim",
        "_until",
        "_attempts",
        "_failures",
    ]
    .iter()
    .enumerate()
    {
        stage.run(&format!(
            "create table k{number} ({column} int primary key, body text)"
        ));
        let error = stage
            .sql
            .batch_execute(&format!(
                "select ai.create_vectorizer('k{number}', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3))"
            ))
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(
            error.hint(),
            Some("Rename the column."),
            "{column}: {error:?}"
        );
    }
    // As ordinary columns these are no problem, and neither is any of them where there is no view.
    stage.run(&format!(
        "create table fine (id int primary key, body text, locked int, queued_at int, loading_retries int,
           _generation int, n int, o int, dropped int, twice int generated always as (id * 2) stored);
         alter table fine drop column dropped;
         select ai.create_vectorizer('fine', loading => ai.loading_column('body'), chunking => ai.chunking_none(),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           formatting => ai.formatting_python_template('$locked $queued_at $loading_retries $twice $chunk'));
         insert into fine values (1, 'b', 1, 2, 3, 4);
         create table narrow (id int primary key, chunk text, embedding int);
         select ai.create_vectorizer('narrow', loading => ai.loading_column('chunk'), chunking => ai.chunking_none(),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), formatting => ai.formatting_chunk_value(),
           destination => ai.destination_column('v'));
         insert into narrow values (1, 'text')"
    ));
    stage.once("worker");
    let text = "select count(*) from fine_embedding_store where chunk = '1 2 3 2 b'";
    assert_eq!(stage.number(text), 1);
    assert_eq!(
        stage.number("select count(*) from narrow where v is not null"),
        1
    );
}

/// Chunks that are not those of their row, or of none.
fn wrong(table: &str) -> String {
    format!(
        "select count(*) from {table}_e_store s full join {table} t using (id)
         where s.chunk is distinct from t.body"
    )
}

fn vectorizer(table: &str) -> String {
    format!(
        "select ai.create_vectorizer('{table}', loading => ai.loading_column('body'), chunking => ai.chunking_none(),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), destination => ai.destination_table('{table}_e'))"
    )
}

#[test]
fn partitions_can_be_written_moved_attached_and_truncated() {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table p (id int primary key, body text) partition by range (id);
         create table p1 partition of p for values from (0) to (100);
         create table p2 partition of p for values from (100) to (200);
         insert into p select n, 'b' || n from generate_series(0, 199, 10) n; {}",
        vectorizer("p")
    ));
    stage.once("worker");
    assert_eq!(stage.number(&wrong("p")), 0);
    stage.run(
        "insert into p1 values (1, 'direct'); update p2 set body = 'direct' where id = 110;
         update p set id = 151 where id = 20; delete from p1 where id = 30;
         create table p3 (id int primary key, body text); insert into p3 values (200, 'attached')",
    );
    stage.once("worker");
    assert_eq!(stage.number(&wrong("p")), 0);
    stage.run("truncate p1");
    stage.once("worker");
    assert_eq!(stage.number(&wrong("p")), 0);
    stage.run("alter table p attach partition p3 for values from (200) to (300)");
    stage.run("insert into p3 values (201, 'later'); update p set body = 'x' where id = 200");
    stage.once("worker");
    assert_eq!(stage.number(&wrong("p")), 0);
    stage.run("truncate p");
    assert_eq!(stage.number("select count(*) from p_e_store"), 0);
}

/// Every row of the table and of those that inherit from it, whichever of them it is written through.
#[test]
fn rows_of_tables_that_inherit_are_followed() {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table base (id int primary key, body text);
         create table leaf (extra int, primary key (id)) inherits (base);
         create table other (id int primary key);
         create table twig (primary key (id)) inherits (leaf, other);
         insert into base values (1, 'b1'), (2, 'b2'), (3, 'b3');
         insert into leaf values (11, 'l1'), (12, 'l2'), (13, 'l3');
         insert into twig values (21, 't1'), (22, 't2'), (23, 't3');
         {};
         select ai.create_vectorizer('base', name => 'column', loading => ai.loading_column('body'),
           chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_column('vector'));
         select ai.create_vectorizer('leaf', name => 'middle', loading => ai.loading_column('body'),
           chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_table('leaf_e'))",
        vectorizer("base")
    ));
    for change in [
        "select",
        "insert into leaf values (14, 'direct'); insert into twig values (24, 'direct')",
        "update base set body = body || ' by the parent' where id % 10 = 1",
        "update leaf set body = body || ' by the middle' where id % 10 = 2",
        "update twig set body = 'at the end' where id = 23; update other set id = 40 where id = 24",
        "update leaf set id = 50 where id = 13; delete from only base where id = 3",
        "delete from base where id = 11; delete from twig where id = 21",
        "truncate only leaf",
        "insert into leaf values (15, 'again'); truncate twig",
        "insert into twig values (25, 'again'); truncate only base",
    ] {
        stage.run(change);
        stage.once("worker");
        for table in ["base", "leaf"] {
            assert_eq!(stage.number(&wrong(table)), 0, "{table} after {change}");
        }
        let missing = "select count(*) from base where vector is null";
        assert_eq!(stage.number(missing), 0, "{change}");
        let behind = "select count(*) from base b join base_e_store s using (id)
            where b.vector::text <> s.embedding::text";
        assert_eq!(stage.number(behind), 0, "{change}");
    }
    assert_eq!(stage.number("select count(*) from base_e_store"), 2);
    stage.run("insert into base values (1, 'b')");
    stage.once("worker");
    stage.run("truncate base");
    stage.once("worker");
    assert_eq!(stage.number("select count(*) from base_e_store"), 0);
    assert_eq!(stage.number("select count(*) from leaf_e_store"), 0);
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 0);

    // A key that two tables have: refused at once, and later it disturbs nobody.
    stage.run("insert into base values (1, 'one'); insert into leaf values (1, 'one')");
    stage.run("update base set body = 'two'");
    stage.once("worker");
    assert_eq!(stage.number(&wrong("base")), 0);
    let error = stage.sql.batch_execute(
        "select ai.create_vectorizer('base', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), destination => ai.destination_table('again'))",
    );
    let error = error.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(
        error.message(),
        "the key (1) stands more than once in public.base and the tables that inherit from it"
    );
    stage.run("delete from only base");
    stage.once("worker");
    assert_eq!(stage.number(&wrong("base")), 0);
    stage.run("select ai.drop_vectorizer(id, true) from ai.vectorizer");
    let left = "select count(*) from pg_trigger where not tgisinternal and tgrelid = any (array['base', 'leaf', 'twig']::regclass[])";
    assert_eq!(stage.number(left), 0);
}

#[test]
fn unlogged_tables_cascades_and_several_vectorizers() {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create unlogged table parent (id int primary key);
         create unlogged table child (id int primary key, parent int references parent on delete cascade on update cascade, body text);
         insert into parent select generate_series(1, 20);
         insert into child select n, n, 'b' || n from generate_series(1, 20) n;
         {};
         select ai.create_vectorizer('child', name => 'second', loading => ai.loading_column('body'),
           chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_table('second'));
         select ai.create_vectorizer('child', name => 'third', loading => ai.loading_column('body'),
           chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_column('third'))",
        vectorizer("child")
    ));
    stage.once("worker");
    stage.run("delete from parent where id <= 5; update child set body = 'new' where id = 6; update parent set id = id + 100");
    stage.once("worker");
    assert_eq!(stage.number(&wrong("child")), 0);
    assert_eq!(
        stage.number(&wrong("child").replace("child_e", "second")),
        0
    );
    assert_eq!(
        stage.number("select count(*) from child where third is not null"),
        15
    );
    // Dropping one leaves the others at work.
    stage.run(
        "select ai.drop_vectorizer('second', true); update child set body = 'last' where id = 7",
    );
    stage.once("worker");
    assert_eq!(stage.number(&wrong("child")), 0);
}
