//! `ai.search`: its options, filters and bounds.

use tests::stage::Stage;

use crate::{filled, found, refused};

#[test]
fn the_nearest_chunks_come_first_with_what_was_asked_for() {
    let mut stage = filled();
    let nearest = found(&mut stage.sql, "ai.search('docs', '[7,0,1]', 3)");
    assert_eq!(nearest[0], "7.0");
    assert_eq!(
        nearest,
        found(&mut stage.sql, "ai.search(1, '[7,0,1]', k => 3)")
    );
    let row = stage.sql.query_one(
        "select distance, chunk, chunks_before, chunks_after, source::text
         from ai.search('docs', '[7,1,1]', 1, neighbours => 1, columns => '{lang,year}')",
        &[],
    );
    let row = row.unwrap();
    assert!(row.get::<_, f64>(0).abs() < 1e-6);
    assert_eq!(row.get::<_, &str>(1), "knead the dough 7");
    assert_eq!(row.get::<_, Vec<&str>>(2), ["the moon pulls the sea 7"]);
    assert_eq!(row.get::<_, Vec<&str>>(3), ["a ship at sea 7"]);
    assert_eq!(row.get::<_, &str>(4), r#"{"lang": null, "year": 2007}"#);
    let all = "select (source ->> 'id')::int8, source = to_jsonb(d)
        from ai.search('docs', '[7,1,1]', 5, columns => '{*}') join docs d on d.id = (key ->> 'id')::int";
    for row in stage.sql.query(all, &[]).unwrap() {
        assert!(row.get::<_, bool>(1));
    }
    // A typed row.
    let typed = "select d.year::int8 from ai.search('docs', '[7,1,1]', 1, columns => '{*}'),
        jsonb_populate_record(null::docs, source) d";
    assert_eq!(stage.number(typed), 2007);
}

#[test]
fn the_best_chunk_of_each_row() {
    let mut stage = filled();
    let best = found(
        &mut stage.sql,
        "ai.search('docs', '[7,1,1]', 60, best_per_row => true)",
    );
    assert_eq!(best.len(), 60);
    let rows: std::collections::BTreeSet<_> =
        best.iter().map(|key| key.split('.').next()).collect();
    assert_eq!(rows.len(), 60);
    assert_eq!(best[0], "7.1");
}

#[test]
fn filters_compare_columns_with_values() {
    let mut stage = filled();
    for (filter, condition) in [
        (r#"{"lang": "en"}"#, "lang = 'en'"),
        (r#"{"lang": null}"#, "lang is null"),
        (
            r#"{"lang": {"<>": null}, "year": {">=": 2010, "<": 2040}}"#,
            "lang is not null and year >= 2010 and year < 2040",
        ),
        (
            r#"{"year": [2001, 2002, 2009]}"#,
            "year in (2001, 2002, 2009)",
        ),
        (r#"{"lang": ["en", null]}"#, "true"),
        (r#"{"year": {"<>": 2001}}"#, "year <> 2001"),
        (r#"{"tags": {"contains": "t1"}}"#, "'t1' = any (tags)"),
        (r#"{"tags": {"contains": ["t1"]}}"#, "'t1' = any (tags)"),
        (
            r#"{"meta": {"contains": {"n": 2}}}"#,
            "meta @> '{\"n\": 2}'",
        ),
        (r#"{"lang": {"like": "e%"}}"#, "lang like 'e%'"),
        (r#"{"lang": {"ilike": "E_"}}"#, "lang ilike 'E_'"),
        ("{}", "true"),
        (r#"{"lang": []}"#, "false"),
    ] {
        let expect = stage.number(&format!("select 3 * count(*) from docs where {condition}"));
        let by_filter = format!("ai.search('docs', '[7,1,1]', 1000, filter => '{filter}')");
        let by_condition = format!(
            "ai.search('docs', '[7,1,1]', 1000, condition => '{}')",
            condition.replace('\'', "''")
        );
        let mut got = found(&mut stage.sql, &by_filter);
        assert_eq!(got.len() as i64, expect, "{filter}");
        let mut other = found(&mut stage.sql, &by_condition);
        got.sort();
        other.sort();
        assert_eq!(got, other, "{filter}");
    }
}

#[test]
fn k_may_be_nothing_or_huge_and_what_is_wrong_is_said() {
    let mut stage = filled();
    let mut count = |search: &str| found(&mut stage.sql, search).len();
    assert_eq!(count("ai.search('docs', '[7,1,1]', 0)"), 0);
    assert_eq!(count("ai.search('docs', '[7,1,1]', 2147483647)"), 180);
    assert_eq!(
        count(
            "ai.search('docs', '[7,1,1]', 2147483647, best_per_row => true, neighbours => 2147483647)"
        ),
        60
    );
    assert_eq!(count("ai.search('docs', null)"), 0);
    assert_eq!(
        count("ai.search('docs', '[7,1,1]', filter => null, condition => '', columns => null)"),
        10
    );
    for (search, code) in [
        ("ai.search('docs', '[7,1,1]', -1)", "22023"),
        ("ai.search('docs', '[7,1,1]', null)", "22023"),
        ("ai.search('docs', '[7,1,1]', neighbours => -1)", "22023"),
        ("ai.search('docs', '[7,1]')", "22000"),
        ("ai.search('nothing', '[7,1,1]')", "P0002"),
        ("ai.search(77, '[7,1,1]')", "P0002"),
        ("ai.search(null::text, '[7,1,1]')", "P0002"),
        ("ai.search('docs', '[7,1,1]', columns => '{none}')", "42703"),
        (
            "ai.search('docs', '[7,1,1]', filter => '{\"none\": 1}')",
            "42703",
        ),
        ("ai.search('docs', '[7,1,1]', filter => '[]')", "22023"),
        (
            "ai.search('docs', '[7,1,1]', filter => '{\"year\": {\"~\": 1}}')",
            "22023",
        ),
        (
            "ai.search('docs', '[7,1,1]', filter => '{\"year\": {\"<\": null}}')",
            "22023",
        ),
        (
            "ai.search('docs', '[7,1,1]', filter => '{\"year\": \"x\"}')",
            "22P02",
        ),
        (
            "ai.search('docs', '[7,1,1]', condition => 'none = 1')",
            "42703",
        ),
        ("ai.hybrid_search('docs', 'x', null)", "55000"),
    ] {
        let (got, message) = refused(&mut stage.sql, &format!("select * from {search}"));
        assert_eq!(got, code, "{search}: {message}");
    }
    stage.run("select ai.drop_vectorizer('docs')");
    assert_eq!(
        refused(&mut stage.sql, "select * from ai.search('docs', '[7,1,1]')").0,
        "P0002"
    );
}

#[test]
fn a_filter_and_words_are_values_whatever_they_contain() {
    let mut stage = filled();
    stage.run("select ai.enable_hybrid('docs')");
    let attacks = [
        "en' or true or '",
        "'; drop table docs; --",
        "\\'; drop table docs; --",
        "en$$; drop table docs; $$",
        "%s %I %1$s",
        "\"; drop table docs; --",
    ];
    for attack in attacks {
        let value = serde_json::json!({"lang": attack}).to_string();
        let names = serde_json::json!({attack: 1}).to_string();
        let operation = serde_json::json!({"lang": {attack: 1}}).to_string();
        let search = "select count(*) from ai.search('docs', '[7,1,1]', filter => $1::text::jsonb)";
        assert_eq!(
            stage
                .sql
                .query_one(search, &[&value])
                .unwrap()
                .get::<_, i64>(0),
            0,
            "{attack}"
        );
        for filter in [names, operation] {
            stage.sql.query_one(search, &[&filter]).expect_err(attack);
        }
        let words = "select count(*) from ai.hybrid_search('docs', $1::text, '[7,1,1]', filter => $2::text::jsonb)";
        let none = stage.sql.query_one(words, &[&attack, &value]).unwrap();
        assert_eq!(none.get::<_, i64>(0), 0);
        let columns =
            "select count(*) from ai.search('docs', '[7,1,1]', columns => array[$1::text]::name[])";
        stage.sql.query_one(columns, &[&attack]).expect_err(attack);
        stage
            .sql
            .query_one("select * from ai.search($1::text, '[1,2,3]')", &[&attack])
            .expect_err(attack);
    }
    assert_eq!(stage.number("select count(*) from docs"), 60);
}

/// Operators and functions that a hostile schema has in front of PostgreSQL's.
const EVIL: &str = "create schema evil;
    create function evil.never(int, int) returns bool language plpgsql as 'begin raise exception ''evil''; end';
    create function evil.never(float8, int) returns float8 language plpgsql as 'begin raise exception ''evil''; end';
    create operator evil.= (leftarg = int, rightarg = int, function = evil.never);
    create operator evil.< (leftarg = int, rightarg = int, function = evil.never);
    create operator evil.+ (leftarg = float8, rightarg = int, function = evil.never);
    create function evil.count(int) returns int language plpgsql as 'begin raise exception ''evil''; end';
    create function evil.unnest(int[]) returns setof int language plpgsql as 'begin raise exception ''evil''; end';
    set search_path = evil, pg_catalog, public";

#[test]
fn identifiers_may_be_strange_and_the_search_path_hostile() {
    let mut stage = Stage::new();
    stage.run(
        r##"create schema "We'ird %s $1";
           create table "We'ird %s $1"."_pgai" ("a ""b'" text collate "C", n int, "%I" text, primary key (n, "a ""b'"));
           select ai.create_vectorizer('"We''ird %s $1"."_pgai"', name => 'odd', loading => ai.loading_column('%I'),
             embedding => ai.embedding_ollama('stub', 3), enqueue_existing => false, destination => ai.destination_table(
               target_schema => 'public', target_table => 'Store %s', view_schema => 'public', view_name => 'odd'));
           insert into "We'ird %s $1"."_pgai" values ('x''y', 1, 'some text'), ('%s', 2, 'other text');
           insert into "Store %s" ("a ""b'", n, chunk_seq, chunk, embedding)
             select "a ""b'", n, 0, "%I", format('[%s,1,1]', n)::vector from "We'ird %s $1"."_pgai";
           select ai.enable_hybrid('odd')"##,
    );
    let ask = |stage: &mut Stage, path: &str| {
        stage.run(path);
        let vector = "operator(public.+) '[0,0,0]'::public.vector";
        for search in [
            format!(
                r#"ai.search('odd', '[2,1,1]'::public.vector {vector}, 1, filter => $1::text::jsonb, columns => array['%I', 'a "b''']::name[])"#
            ),
            format!("ai.hybrid_search('odd', 'other', '[2,1,1]'::public.vector {vector}, 1, neighbours => 1, columns => '{{*}}', filter => $1::text::jsonb)"),
            "ai.hybrid_search('odd', 'other', null, 1, best_per_row => true, filter => $1::text::jsonb)".to_owned(),
        ] {
            let filter = r#"{"a \"b'": "%s", "n": {"<=": 2}}"#;
            let row = stage.sql.query_one(&format!("select key::text, chunk from {search}"), &[&filter]);
            let row = row.unwrap_or_else(|error| panic!("{search}: {error:?}"));
            assert_eq!(row.get::<_, &str>(0), r#"{"n": 2, "a \"b'": "%s"}"#);
            assert_eq!(row.get::<_, &str>(1), "other text");
        }
    };
    ask(&mut stage, "");
    ask(&mut stage, EVIL);
    // A condition means what it means there.
    let (_, message) = refused(
        &mut stage.sql,
        "select * from ai.search('odd', '[2,1,1]', condition => 'n = 2')",
    );
    assert_eq!(message, "evil");
    ask(&mut stage, "set search_path = ''");
}

#[test]
fn a_column_of_the_source_holds_the_vectors() {
    let mut stage = Stage::new();
    stage.run(
        "create table docs (id int primary key, lang text, body text);
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 3), chunking => ai.chunking_none(), enqueue_existing => false,
           destination => ai.destination_column('embedding'));
         insert into docs select n, case when n % 2 = 0 then 'en' end, 'text number ' || n, format('[%s,1,1]', n)::vector
           from generate_series(1, 20) n;
         insert into docs values (21, 'en', 'not embedded');
         select ai.enable_hybrid('docs')",
    );
    let search =
        "ai.search('docs', '[8,1,1]', 100, filter => '{\"lang\": \"en\"}', best_per_row => true)";
    let got = found(&mut stage.sql, search);
    assert_eq!((got.len(), got[0].as_str()), (10, "8.0"));
    let hybrid = |stage: &mut Stage, words: &str| {
        found(
            &mut stage.sql,
            &format!("ai.hybrid_search('docs', '{words}', null, 3)"),
        )
    };
    assert_eq!(hybrid(&mut stage, "8"), ["8.0"]);
    assert_eq!(hybrid(&mut stage, "embedded"), [""; 0]);
    // The words follow the vector: what the application has written is found when it is embedded.
    stage.run("update docs set body = 'zebra' where id = 8");
    assert_eq!(hybrid(&mut stage, "zebra"), [""; 0]);
    stage.run("update docs set embedding = '[1,2,3]' where id = 8");
    assert_eq!(hybrid(&mut stage, "zebra"), ["8.0"]);
    stage.run("update docs set embedding = null where id = 8; delete from docs where id = 9");
    let left = "select count(*) from ai._vectorizer_text_1 where id in (8, 9)";
    assert_eq!(stage.number(left), 0);
    stage.run("truncate docs");
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_text_1"),
        0
    );
}
