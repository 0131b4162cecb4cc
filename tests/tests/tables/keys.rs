//! Every type with a b-tree as a key.

use tests::stage::{DIMENSIONS, Stage};

use crate::literal;

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
