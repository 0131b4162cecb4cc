//! The SQL interface beside that of the real pgai 0.12.1: signatures, JSON, tables, messages.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeMap;

use postgres::Client;
use tests::postgres::{Database, Server};
use tests::python;

/// A database with pgai's own SQL, and one with ours.
struct Both {
    theirs: Client,
    ours: Client,
    _databases: [Database; 2],
}

impl Both {
    fn new() -> Self {
        let databases = [Server::shared().database(), Server::shared().database()];
        let mut theirs = databases[0].client();
        theirs.batch_execute("create extension vector").unwrap();
        theirs
            .batch_execute(&python::pgai_sql("0.12.1").unwrap())
            .unwrap();
        databases[1].install();
        let ours = databases[1].client();
        Self {
            theirs,
            ours,
            _databases: databases,
        }
    }

    /// Runs the same statements in both.
    #[track_caller]
    fn run(&mut self, sql: &str) {
        for client in [&mut self.theirs, &mut self.ours] {
            client
                .batch_execute(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }

    /// What an expression is as text, or its error's SQLSTATE and message.
    fn ask(&mut self, expression: &str) -> [Result<Option<String>, (String, String)>; 2] {
        [&mut self.theirs, &mut self.ours].map(|client| {
            let mut transaction = client.transaction().unwrap();
            let row = transaction.query_one(&format!("select ({expression})::text"), &[]);
            row.map(|row| row.get(0)).map_err(|error| {
                let error = error
                    .as_db_error()
                    .unwrap_or_else(|| panic!("{expression}: {error:?}"));
                (error.code().code().to_owned(), error.message().to_owned())
            })
        })
    }
}

fn pairs(client: &mut Client, sql: &str) -> BTreeMap<String, String> {
    let rows = client.query(sql, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Functions of pgai's that are another product's (its semantic catalog), or worked within pgai only.
fn is_out_of_scope(name: &str) -> bool {
    ["sc_", "text_to_sql", "semantic", "catalog"]
        .iter()
        .any(|part| name.contains(part))
}

/// Ours besides.
const NEW: [&str; 31] = [
    "adopt_vectorizer",
    "alter_vectorizer",
    "cancel_change",
    "chunking_markdown",
    "chunking_semantic_chunker",
    "chunking_semchunk",
    "chunking_sentence",
    "chunking_token",
    "disable_hybrid",
    "enable_hybrid",
    "finish_change",
    "formatting_chunk_value",
    "formatting_contextual",
    "grant_worker_usage",
    "hybrid_search",
    "indexing_ivfflat",
    "model_prompts",
    "parsing_docling_serve",
    "pause_vectorizer",
    "recreate_view",
    "reembed_vectorizer",
    "refresh_vectorizer",
    "resume_vectorizer",
    "resync_vectorizer",
    "revert_change",
    "revert_embedding",
    "search",
    "secure_vectorizer",
    "set_indexing",
    "switch_change",
    "vector_index_sql",
];

#[test]
fn every_public_function_has_pgais_signature() {
    const FUNCTIONS: &str = "
        select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
          pg_get_function_arguments(p.oid) || ' -> ' || pg_get_function_result(p.oid)
            || ' ' || p.provolatile::text
        from pg_proc p
        where p.pronamespace = 'ai'::regnamespace and not starts_with(p.proname, '_')";
    let mut both = Both::new();
    let theirs = pairs(&mut both.theirs, FUNCTIONS);
    let mut ours = pairs(&mut both.ours, FUNCTIONS);
    let mut compared = 0;
    for (name, signature) in &theirs {
        if is_out_of_scope(name) {
            continue;
        }
        // One that pgai does not have.
        if name.starts_with("destination_table(") {
            let more = ", view_columns name[], storage text, location boolean)";
            let wider = ours.remove(&name.replace(')', more));
            let more = ", view_columns name[] DEFAULT NULL::name[], storage text DEFAULT NULL::text, \
                        location boolean DEFAULT NULL::boolean ->";
            assert_eq!(wider.as_ref(), Some(&signature.replace(" ->", more)));
            compared += 1;
            continue;
        }
        // One that pgai does not have.
        if name.starts_with("loading_uri(") {
            let wider = ours.remove(&name.replace(')', ", refresh interval)"));
            let more = ", refresh interval DEFAULT NULL::interval ->";
            assert_eq!(wider.as_ref(), Some(&signature.replace(" ->", more)));
            compared += 1;
            continue;
        }
        // Adopting what is there, which pgai does not have.
        if name.starts_with("create_vectorizer(") {
            let wider = ours.remove(&name.replace(')', ", adopt boolean)"));
            let more = ", adopt boolean DEFAULT false ->";
            assert_eq!(wider.as_ref(), Some(&signature.replace(" ->", more)));
            compared += 1;
            continue;
        }
        // A ceiling, which pgai does not have.
        if name.starts_with("processing_default(") {
            let wider = ours.remove(&name.replace(')', ", max_tokens_per_day bigint)"));
            let more = ", max_tokens_per_day bigint DEFAULT NULL::bigint ->";
            assert_eq!(wider.as_ref(), Some(&signature.replace(" ->", more)));
            compared += 1;
            continue;
        }
        // Prompts, which pgai does not have; for Voyage also an address, and two parameters that only pgai's
        // documentation had.
        if name.starts_with("embedding_") {
            let mut more = vec![("document_prompt", "text"), ("query_prompt", "text")];
            if name.starts_with("embedding_ollama(") {
                // Of pgai-rs.
                more.push(("max_tokens", "integer"));
            }
            if name.starts_with("embedding_voyageai(") {
                let voyages = [
                    ("output_dimension", "integer"),
                    ("output_dtype", "text"),
                    ("base_url", "text"),
                ];
                more.splice(..0, voyages);
            }
            let names: String = more
                .iter()
                .map(|(name, of)| format!(", {name} {of}"))
                .collect();
            let wider = ours.remove(&name.replace(')', &format!("{names})")));
            let more = more
                .iter()
                .map(|(name, of)| format!(", {name} {of} DEFAULT NULL::{of}"));
            let more = format!("{} ->", String::from_iter(more));
            assert_eq!(wider.as_ref(), Some(&signature.replace(" ->", &more)));
            compared += 1;
            continue;
        }
        assert_eq!(ours.remove(name).as_ref(), Some(signature), "{name}");
        compared += 1;
    }
    assert!(
        compared > 35,
        "only {compared} functions were compared: {theirs:?}"
    );
    for name in ours.keys() {
        assert!(
            NEW.iter().any(|new| name.starts_with(new)),
            "{name} is neither pgai's nor known to be new"
        );
    }
}

#[test]
fn tables_and_views_have_pgais_columns() {
    const COLUMNS: &str = "
        select c.relname::text, string_agg(format('%s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then ' not null' else '' end,
            coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')), ', ' order by a.attnum)
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = 'ai'::regnamespace and c.relkind in ('r', 'v')
        group by c.relname";
    let mut both = Both::new();
    let sql = "create table blog (a int, \"B\" text, body text, primary key (\"B\", a));
        select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
          embedding => ai.embedding_ollama('m', 3), destination => ai.destination_table('blog_e'))";
    // pgai cannot quote the key's columns: there it is another table.
    both.theirs
        .batch_execute(&sql.replace("\"B\"", "b"))
        .unwrap();
    both.ours.batch_execute(&sql.replace("\"B\"", "b")).unwrap();
    let theirs = pairs(&mut both.theirs, COLUMNS);
    let ours = pairs(&mut both.ours, COLUMNS);
    let mut compared = 0;
    for (name, columns) in theirs {
        if is_out_of_scope(&name) {
            continue;
        }
        let more = match name.as_str() {
            "_vectorizer_q_1" => {
                ", _generation bigint not null default nextval('ai._generation'::regclass)"
            }
            "_vectorizer_q_failed_1" => ", failure_reason text not null default ''::text",
            "_vectorizer_errors" => ", entry bigint not null",
            "vectorizer_worker_process" => ", _host text, _session integer",
            // More columns at the end.
            "vectorizer_status" => ours
                .get(&name)
                .and_then(|ours| ours.strip_prefix(&columns))
                .expect("pgai's columns first"),
            _ => "",
        };
        assert_eq!(ours.get(&name), Some(&(columns + more)), "{name}");
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} tables were compared");
    let store = COLUMNS.replace("'ai'::regnamespace", "'public'::regnamespace");
    let (theirs, ours) = (
        pairs(&mut both.theirs, &store),
        pairs(&mut both.ours, &store),
    );
    assert_eq!(theirs, ours);
    assert!(
        theirs.contains_key("blog_e") && theirs.contains_key("blog_e_store"),
        "{theirs:?}"
    );
}

#[test]
fn config_functions_return_pgais_json() {
    let mut both = Both::new();
    both.run("set timezone = 'UTC'");
    for expression in [
        "ai.loading_column('body')",
        "ai.loading_column('body', null)",
        "ai.loading_uri('uri')",
        "ai.loading_uri('uri', 3, 'arn:aws:iam::1:role/x')",
        "ai.parsing_auto()",
        "ai.parsing_none()",
        "ai.parsing_pymupdf()",
        "ai.parsing_docling()",
        "ai.chunking_none()",
        "ai.chunking_character_text_splitter()",
        "ai.chunking_character_text_splitter(1, 2, 'x', true)",
        "ai.chunking_recursive_character_text_splitter()",
        "ai.chunking_recursive_character_text_splitter(9, 1, array['a', E'\\n'], null)",
        "ai.formatting_python_template()",
        "ai.formatting_python_template('$title: $chunk')",
        "ai.embedding_openai('m', 5)",
        "ai.embedding_openai('m', 5, 'user', 'KEY', 'http://x')",
        "ai.embedding_openai('m', 5, api_key_name => null)",
        "ai.embedding_ollama('m', 5)",
        "ai.embedding_ollama('m', 5, 'http://x', '{\"a\": null, \"b\": 1}', '5m')",
        "ai.embedding_voyageai('m', 5)",
        "ai.embedding_voyageai('m', 5, 'query', 'KEY')",
        "ai.embedding_voyageai('m', 5, 'nonsense')",
        "ai.embedding_voyageai('m', 5, null)",
        "ai.embedding_litellm('m', 5)",
        "ai.embedding_litellm('m', 5, 'KEY', '{\"a\": [1, null]}')",
        "ai.embedding_sentence_transformers()",
        "ai.indexing_none()",
        "ai.indexing_default()",
        "ai.indexing_hnsw()",
        "ai.indexing_hnsw(5, 'vector_ip_ops', 16, 64, false)",
        "ai.indexing_diskann()",
        "ai.indexing_diskann(1, 'plain', 2, 3, 1.5, 4, 5, false)",
        "ai.scheduling_none()",
        "ai.scheduling_default()",
        "ai.scheduling_timescaledb()",
        "ai.scheduling_timescaledb('1 hour', '2025-01-06 06:00+00', true, 'UTC')",
        "ai.processing_default()",
        "ai.processing_default(10, 2)",
        "ai.destination_table()",
        "ai.destination_table('d', 's', 't', 'vs', 'v')",
        "ai.destination_column('c')",
        "ai.grant_to()",
        "ai.grant_to('a', 'b')",
        "ai._resolve_indexing_default()",
        "ai._resolve_scheduling_default()",
    ] {
        let [theirs, ours] = both.ask(expression);
        assert_eq!(ours, theirs, "{expression}");
    }
    for (setting, value) in [
        ("ai.indexing_default", "indexing_hnsw"),
        ("ai.indexing_default", "indexing_diskann"),
        ("ai.scheduling_default", "scheduling_timescaledb"),
        ("ai.grant_to_default", " a, b ,c"),
    ] {
        both.run(&format!("set {setting} = '{value}'"));
    }
    for expression in [
        "ai._resolve_indexing_default()",
        "ai._resolve_scheduling_default()",
        "(select array_agg(g order by g) from unnest(ai.grant_to('d')) g)",
    ] {
        let [theirs, ours] = both.ask(expression);
        assert_eq!(ours, theirs, "{expression}");
    }
}

#[test]
fn what_is_refused_is_refused_with_pgais_words() {
    let mut both = Both::new();
    both.run(
        "create table t (id int primary key, body text, number int, bytes bytea);
         create table keyless (body text);
         create table chunky (id int primary key, body text, chunk text);
         create table taken (id int primary key, body text);
         create table taken_embedding_store (x int);
         create view taken2_embedding as select 1; create table taken2 (id int primary key, body text);",
    );
    let good = "loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3)";
    let vectorizer = |arguments: &str| format!("ai.create_vectorizer({arguments})");
    let with = |argument: &str| vectorizer(&format!("'t', {good}, {argument}"));
    let loading = |loading: &str| {
        vectorizer(&format!(
            "'t', loading => {loading}, embedding => ai.embedding_ollama('m', 3)"
        ))
    };
    let embedding = |embedding: &str| {
        vectorizer(&format!(
            "'t', loading => ai.loading_column('body'), embedding => {embedding}"
        ))
    };
    let mut expressions = vec![
        vectorizer("'t', loading => ai.loading_column('body')"),
        vectorizer("'t', embedding => ai.embedding_ollama('m', 3)"),
        vectorizer("'nowhere'"),
        vectorizer(&format!("'keyless', {good}")),
        vectorizer(&format!("'chunky', {good}")),
        vectorizer(&format!("'taken', {good}")),
        vectorizer(&format!("'taken2', {good}")),
        loading("'[]'"),
        loading("'{\"config_type\": \"x\"}'"),
        loading("'{\"config_type\": \"loading\"}'"),
        loading("'{\"config_type\": \"loading\", \"implementation\": \"column\"}'"),
        loading("ai.loading_column('body', -1)"),
        loading("ai.loading_column('body', null)"),
        loading("ai.loading_column('nope')"),
        loading("ai.loading_column('number')"),
        loading("ai.loading_uri('bytes')"),
        loading("ai.loading_uri('body', 1, 'nonsense')"),
        embedding("'[]'"),
        embedding("'{\"dimensions\": 3}'"),
        embedding("'{\"dimensions\": 3, \"config_type\": \"embedding\"}'"),
        embedding(
            "'{\"dimensions\": 3, \"config_type\": \"embedding\", \"implementation\": \"x\"}'",
        ),
        embedding("'{\"config_type\": \"embedding\"}'"),
    ];
    expressions.extend(
        [
            "parsing => '[]'",
            "parsing => '{}'",
            "parsing => '{\"config_type\": \"parsing\", \"implementation\": \"x\"}'",
            "parsing => ai.parsing_pymupdf()",
            "parsing => ai.parsing_docling()",
            "chunking => '[]'",
            "chunking => '{}'",
            "chunking => '{\"config_type\": \"chunking\", \"implementation\": \"x\"}'",
            "formatting => '[]'",
            "formatting => '{}'",
            "formatting => '{\"config_type\": \"formatting\", \"implementation\": \"x\"}'",
            "formatting => ai.formatting_python_template('no placeholder')",
            "indexing => '[]'",
            "indexing => '{}'",
            "indexing => '{\"config_type\": \"indexing\"}'",
            "indexing => '{\"config_type\": \"indexing\", \"implementation\": \"x\"}'",
            "indexing => ai.indexing_hnsw(opclass => 'x')",
            "indexing => ai.indexing_diskann(storage_layout => 'x')",
            "scheduling => '[]'",
            "scheduling => '{}'",
            "scheduling => '{\"config_type\": \"scheduling\"}'",
            "scheduling => '{\"config_type\": \"scheduling\", \"implementation\": \"x\"}'",
            "scheduling => ai.scheduling_timescaledb()",
            "processing => '[]'",
            "processing => '{}'",
            "processing => '{\"config_type\": \"processing\"}'",
            "processing => '{\"config_type\": \"processing\", \"implementation\": \"x\"}'",
            "processing => ai.processing_default(0)",
            "processing => ai.processing_default(2049)",
            "processing => ai.processing_default(1, 0)",
            "processing => ai.processing_default(1, 51)",
            "processing => '{\"config_type\": \"processing\", \"implementation\": \"default\", \"batch_size\": \"x\"}'",
            "processing => '{\"config_type\": \"processing\", \"implementation\": \"default\", \"concurrency\": \"x\"}'",
            "destination => '[]'",
            "destination => '{}'",
            "destination => '{\"config_type\": \"destination\", \"implementation\": \"x\"}'",
            "destination => ai.destination_column('c')",
            "queue_table => 'vectorizer'",
        ]
        .map(with),
    );
    expressions.extend(
        [
            "ai.drop_vectorizer(99)",
            "ai.drop_vectorizer('nope')",
            "ai.disable_vectorizer_schedule(99)",
            "ai.disable_vectorizer_schedule('nope')",
            "ai.enable_vectorizer_schedule(99)",
            "ai.enable_vectorizer_schedule('nope')",
            "ai.vectorizer_queue_pending(99)",
            "ai.vectorizer_queue_pending('nope')",
            "ai.execute_vectorizer('nope')",
        ]
        .map(str::to_owned),
    );
    for expression in &expressions {
        let [theirs, ours] = both.ask(expression);
        assert_eq!(ours, theirs, "{expression}");
    }

    both.run(&format!(
        "select ai.create_vectorizer('t', name => 'there', {good})"
    ));
    for expression in [
        with("name => 'there'"),
        with("name => 'Not Legal', destination => ai.destination_table('other')"),
    ] {
        let [theirs, ours] = both.ask(&expression);
        // The words are PostgreSQL's for a violated constraint there, and clearer here.
        let code = |answer: &Result<_, (String, String)>| answer.clone().unwrap_err().0;
        assert_eq!(code(&ours), code(&theirs), "{expression}");
    }
    let [theirs, ours] = both.ask(&with("name => 'there', if_not_exists => true"));
    assert!(theirs.is_ok() && ours.is_ok(), "{theirs:?} {ours:?}");
}

#[test]
fn the_manual_has_every_public_function_as_it_is() {
    const FUNCTIONS: &str = "
        select format('ai.%s(%s) -> %s', p.proname,
            replace(pg_get_function_arguments(p.oid), E'\\n', '\\n'), pg_get_function_result(p.oid)), ''
        from pg_proc p
        where p.pronamespace = 'ai'::regnamespace and not starts_with(p.proname, '_')";
    let database = Server::shared().database();
    database.install();
    let functions = pairs(&mut database.client(), FUNCTIONS);
    let manual = include_str!("../../docs/sql.md");
    let written: BTreeMap<String, String> = python::blocks(manual)
        .into_iter()
        .flat_map(|(_, block)| block.lines())
        .filter(|line| line.starts_with("ai.") && line.contains(") -> "))
        .map(|line| (line.to_owned(), String::new()))
        .collect();
    assert_eq!(written, functions);
}
