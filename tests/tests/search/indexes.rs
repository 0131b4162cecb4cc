//! That a search uses the vector index, as EXPLAIN shows, and that it returns enough whatever the index leaves out.

use tests::stage::Stage;

use crate::found;

/// A store with 3,000 vectors of so many dimensions.
fn stage(dimensions: usize, indexing: &str, index: &str, storage: &str) -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table docs (id int primary key, part int, body text);
         insert into docs select n, n % 100, '' from generate_series(1, 3000) n;
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {dimensions}), enqueue_existing => false, indexing => {indexing},
           destination => ai.destination_table(target_table => 'docs_store', storage => '{storage}'));
         select setseed(0.5);
         insert into docs_store (id, chunk_seq, chunk, embedding)
           select n, 0, 'text', (select array_agg(random()) from generate_series(1, {dimensions}) where n > 0)::vector
           from generate_series(1, 3000) n;
         {index};
         analyze docs_store"
    ));
    stage
}

fn question(dimensions: usize) -> String {
    format!("array_fill(0.5::float8, array[{dimensions}])::vector")
}

fn plan(stage: &mut Stage, filter: &str) -> String {
    let statement =
        "select ai._search_sql(v, $1::text::jsonb, null, false, 0, null) from ai.vectorizer v";
    let filter = (!filter.is_empty()).then_some(filter);
    let statement: String = stage.sql.query_one(statement, &[&filter]).unwrap().get(0);
    stage.run(&format!(
        "deallocate all; prepare q(vector, int) as {statement}"
    ));
    let dimensions = stage.number("select atttypmod::int8 from pg_attribute where attrelid = 'docs_store'::regclass and attname = 'embedding'");
    let explain = format!("explain execute q({}, 10)", question(dimensions as usize));
    let lines = stage.sql.query(&explain, &[]).unwrap();
    lines
        .iter()
        .map(|line| line.get::<_, String>(0) + "\n")
        .collect()
}

#[test]
fn every_kind_of_index_is_used() {
    let hnsw = "ai.indexing_hnsw(100)";
    for (dimensions, indexing, index, storage) in [
        (
            8,
            hnsw,
            "create index my_index on docs_store using hnsw (embedding vector_cosine_ops)",
            "vector",
        ),
        (
            8,
            "ai.indexing_hnsw(100, opclass => 'vector_l2_ops')",
            "create index my_index on docs_store using hnsw (embedding vector_l2_ops)",
            "vector",
        ),
        (
            8,
            "ai.indexing_ivfflat(100)",
            "create index my_index on docs_store using ivfflat (embedding vector_cosine_ops) with (lists = 20)",
            "vector",
        ),
        (
            8,
            hnsw,
            "create index my_index on docs_store using hnsw (embedding halfvec_cosine_ops)",
            "halfvec",
        ),
        (
            2001,
            hnsw,
            "create index my_index on docs_store using hnsw ((embedding::halfvec(2001)) halfvec_cosine_ops) with (m = 4, ef_construction = 8)",
            "vector",
        ),
    ] {
        let mut stage = stage(dimensions, indexing, index, storage);
        let plan = plan(&mut stage, "");
        assert!(
            plan.contains("Index Scan using my_index"),
            "{index}: {plan}"
        );
        let search = format!("ai.search('docs', {}, 10)", question(dimensions));
        assert_eq!(found(&mut stage.sql, &search).len(), 10, "{index}");
        let scans = "select idx_scan from pg_stat_user_indexes where indexrelname = 'my_index'";
        stage.run("select pg_stat_force_next_flush()");
        assert!(stage.number(scans) > 0, "{index}");
    }
}

#[test]
fn k_chunks_come_back_whatever_the_index_leaves_out() {
    let index = "create index my_index on docs_store using hnsw (embedding vector_cosine_ops)";
    let mut stage = stage(8, "ai.indexing_hnsw(100)", index, "vector");
    // The planner is made to use the index, which here gives up after few rows.
    stage.run("set hnsw.max_scan_tuples = 1; set enable_seqscan = off; set enable_sort = off");
    let search = format!(
        "ai.search('docs', {}, 10, filter => '{{\"part\": 7}}')",
        question(8)
    );
    let got = found(&mut stage.sql, &search);
    assert_eq!(got.len(), 10);
    let exact = format!(
        "select string_agg(id || '.0', ' ' order by place) from (select s.id, row_number() over () as place
           from (select s.id from docs_store s join docs d using (id) where part = 7
             order by (embedding <=> {}) + 0 limit 10) s) s",
        question(8)
    );
    let exact: String = stage.sql.query_one(&exact, &[]).unwrap().get(0);
    assert_eq!(got.join(" "), exact, "exactly the nearest");
    let all = search.replace(", 10,", ", 1000,");
    assert_eq!(found(&mut stage.sql, &all).len(), 30);
    // Settings of the session stay.
    stage.run("set hnsw.ef_search = 41; set hnsw.iterative_scan = off; begin");
    found(&mut stage.sql, &all);
    let settings: String = stage
        .sql
        .query_one(
            "select current_setting('hnsw.ef_search') || current_setting('hnsw.iterative_scan')",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(settings, "41off");
}
