//! Vector indexes that workers build: while rows arrive, one worker at a time, after a worker was killed, and out of
//! the way of sessions that change the table. `create index concurrently` waits for old snapshots: a transaction that
//! holds one makes a build as long as a test needs it.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::{Duration, Instant};

use postgres::Client;
use tests::pgbouncer::PgBouncer;
use tests::process::{Process, Signal};
use tests::role::Role;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

const BUILT: &str = "exists (select from ai.vectorizer_index where state = 'built')";
/// The build waits for the transaction of [`holder`].
const WAITS: &str =
    "exists (select from pg_stat_progress_create_index where phase = 'waiting for old snapshots'
       and datname = current_database())";
const INDEXES: &str =
    "select coalesce(string_agg(format('%s %s', c.relname, x.indisvalid), ', '), '')
    from pg_index x join pg_class c on c.oid = x.indexrelid join pg_am m on m.oid = c.relam
    where m.amname <> 'btree' and x.indrelid = 'blog_store'::regclass";

/// A stage whose table belongs to a role, and whose workers may do what that role may.
struct Scene {
    stage: Stage,
    /// Dropped after the stage.
    _roles: [Role; 2],
}

impl Scene {
    /// With 40 rows and a vectorizer that wants this index.
    fn new(indexing: &str) -> Self {
        let mut stage = Stage::new();
        let owner = Role::new(&stage.database, "owner");
        let worker = Role::new(&stage.database, "indexer");
        stage.run(&format!(
            "create table blog (id int primary key, body text);
             alter table blog owner to {0};
             grant create on schema public to {0};
             select ai.grant_worker_usage('{1}', '{0}')",
            owner.name, worker.name
        ));
        insert(&mut stage, 1, 40);
        create(&mut stage, &format!("indexing => {indexing}"));
        stage.worker_url = worker.url.clone();
        Self {
            stage,
            _roles: [worker, owner],
        }
    }
}

fn create(stage: &mut Stage, more: &str) {
    stage.run(&format!(
        "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_table(target_table => 'blog_store'), {more})"
    ));
}

fn insert(stage: &mut Stage, from: i32, to: i32) {
    stage.run(&format!(
        "insert into blog select n, 'body ' || n from generate_series({from}, {to}) n"
    ));
}

fn text(stage: &mut Stage, sql: &str) -> String {
    stage.sql.query_one(sql, &[]).unwrap().get(0)
}

fn start(stage: &Stage, shell: &str) -> Process {
    stage.worker(shell, &["--poll-interval", "1"])
}

/// The planner reads a table of 40 rows as a whole. From now on new sessions take an index where there is one.
fn make_table_scans_cost_more(stage: &mut Stage) {
    let database = stage.database.name();
    stage.run(&format!(
        "alter database {database} set seq_page_cost = 1000000"
    ));
}

/// A transaction that the build of an index waits for.
fn holder(stage: &Stage) -> Client {
    let mut client = stage.database.client();
    let begin = "begin isolation level repeatable read; select count(*) from pg_class";
    client.batch_execute(begin).unwrap();
    client
}

fn count(workers: &[&Process], what: &str) -> usize {
    let lines = workers.iter().flat_map(|worker| worker.lines());
    lines.filter(|line| line.contains(what)).count()
}

#[track_caller]
fn end(worker: &mut Process) {
    worker.signal(Signal::Term);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
}

#[test]
fn each_kind_is_built_while_rows_arrive() {
    for (shell, indexing, name) in [
        (
            "worker",
            "ai.indexing_hnsw(min_rows => 20, create_when_queue_empty => false)",
            "hnsw",
        ),
        (
            "worker-blocking",
            "ai.indexing_ivfflat(20, lists => 2, create_when_queue_empty => false)",
            "ivfflat",
        ),
    ] {
        let Scene { mut stage, _roles } = Scene::new(indexing);
        let mut holder = holder(&stage);
        let mut worker = start(&stage, shell);
        stage.database.wait_until(WAITS, PATIENCE);
        // Rows are embedded while the index is built.
        insert(&mut stage, 41, 80);
        stage.wait_until_done();
        assert_eq!(stage.number("select count(*) from blog_store"), 80);
        assert_eq!(
            text(&mut stage, INDEXES),
            format!("_vectorizer_idx_1_{name} f")
        );
        holder.batch_execute("commit").unwrap();
        let mut next = 81;
        let began = Instant::now();
        while text(&mut stage, "select state from ai.vectorizer_index") != "built" {
            assert!(began.elapsed() < PATIENCE, "{:?}", worker.lines());
            insert(&mut stage, next, next);
            next += 1;
        }
        worker.wait_for_line("vector index built", PATIENCE);
        assert_eq!(
            text(&mut stage, INDEXES),
            format!("_vectorizer_idx_1_{name} t")
        );
        stage.wait_until_done();
        end(&mut worker);
        assert_eq!(
            stage.number("select count(*) from blog_store"),
            i64::from(next - 1)
        );
    }
}

#[test]
fn an_index_waits_for_enough_rows_and_an_empty_queue() {
    let Scene { mut stage, _roles } = Scene::new("ai.indexing_hnsw(min_rows => 41)");
    stage.once("worker");
    assert_eq!(text(&mut stage, INDEXES), "", "too few rows");
    insert(&mut stage, 41, 41);
    // An item that nobody can claim yet.
    stage.run("insert into ai._vectorizer_q_1 (id, loading_retry_after) values (0, now() + interval '5 minutes')");
    stage.once("worker-blocking");
    assert_eq!(text(&mut stage, INDEXES), "", "the queue is not empty");
    stage.run("delete from ai._vectorizer_q_1");
    let worker = stage.once("worker-blocking");
    assert_eq!(
        text(&mut stage, INDEXES),
        "_vectorizer_idx_1_hnsw t",
        "{:?}",
        worker.lines()
    );
    let worker = stage.once("worker");
    assert_eq!(count(&[&worker], "vector index"), 0, "{:?}", worker.lines());
}

/// Kills a worker during a build, and lets another one finish it.
fn a_killed_build_is_finished_by_another(first: &str, second: &str) {
    let Scene { mut stage, _roles } = Scene::new("ai.indexing_hnsw(min_rows => 20)");
    let mut holder = holder(&stage);
    let mut killed = start(&stage, first);
    stage.database.wait_until(WAITS, PATIENCE);
    killed.signal(Signal::Kill);
    killed.wait(PATIENCE);
    assert_eq!(text(&mut stage, INDEXES), "_vectorizer_idx_1_hnsw f");
    let mut other = start(&stage, second);
    other.wait_for_line("drop index concurrently", PATIENCE);
    other.wait_for_line("create index concurrently", PATIENCE);
    holder.batch_execute("commit").unwrap();
    other.wait_for_line("vector index built", PATIENCE);
    assert_eq!(text(&mut stage, INDEXES), "_vectorizer_idx_1_hnsw t");
    end(&mut other);
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_index"),
        "built"
    );
}

#[test]
fn a_killed_worker_leaves_no_invalid_index() {
    a_killed_build_is_finished_by_another("worker", "worker-blocking");
}

#[test]
fn a_killed_blocking_worker_leaves_no_invalid_index() {
    a_killed_build_is_finished_by_another("worker-blocking", "worker");
}

#[test]
fn a_worker_that_stops_ends_its_build_and_the_next_one_begins_at_once() {
    for shell in ["worker", "worker-blocking"] {
        let Scene { mut stage, _roles } = Scene::new("ai.indexing_hnsw(min_rows => 20)");
        let mut holder = holder(&stage);
        let mut stopped = start(&stage, shell);
        stage.database.wait_until(WAITS, PATIENCE);
        let began = Instant::now();
        end(&mut stopped);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            stopped.lines()
        );
        assert_eq!(stage.number(&format!("select ({WAITS})::int::bigint")), 0);
        assert_eq!(stage.number("select _claim from ai.vectorizer_index"), 0);
        holder.batch_execute("commit").unwrap();
        let mut next = start(&stage, shell);
        next.wait_for_line("vector index built", PATIENCE);
        assert_eq!(text(&mut stage, INDEXES), "_vectorizer_idx_1_hnsw t");
        end(&mut next);
    }
}

#[test]
fn two_workers_build_one_index() {
    let Scene { mut stage, _roles } = Scene::new("ai.indexing_hnsw(min_rows => 20)");
    let mut holder = holder(&stage);
    let (mut one, mut two) = (start(&stage, "worker"), start(&stage, "worker-blocking"));
    stage.database.wait_until(WAITS, PATIENCE);
    // Longer than a lease: the watch extends it.
    std::thread::sleep(Duration::from_secs(12));
    holder.batch_execute("commit").unwrap();
    stage.database.wait_until(BUILT, PATIENCE);
    end(&mut one);
    end(&mut two);
    assert_eq!(count(&[&one, &two], "vector index started"), 1);
    assert_eq!(count(&[&one, &two], "vector index built"), 1);
    assert_eq!(text(&mut stage, INDEXES), "_vectorizer_idx_1_hnsw t");
}

#[test]
fn a_build_gives_way_to_a_session_that_changes_the_table() {
    for shell in ["worker", "worker-blocking"] {
        let Scene { mut stage, _roles } = Scene::new("ai.indexing_hnsw(min_rows => 20)");
        let mut holder = holder(&stage);
        holder
            .batch_execute("select count(*) from blog_store")
            .unwrap();
        let mut worker = start(&stage, shell);
        stage.database.wait_until(WAITS, PATIENCE);
        // The build waits for this transaction: without a way out one of the two would end in a deadlock.
        let migration = "alter table blog_store add column note text";
        holder.batch_execute(migration).unwrap();
        worker.wait_for_line("it gave way to another session", PATIENCE);
        holder.batch_execute("commit").unwrap();
        // A new configuration does not wait for the next attempt.
        stage.run("select ai.set_indexing('blog', ai.indexing_hnsw(min_rows => 21))");
        worker.wait_for_line("vector index built", PATIENCE);
        assert_eq!(text(&mut stage, INDEXES), "_vectorizer_idx_1_hnsw t");
        end(&mut worker);
    }
}

#[test]
fn a_build_that_fails_is_tried_again_later() {
    let Scene { mut stage, _roles } = Scene::new("ai.indexing_ivfflat(20, lists => 30000)");
    stage.run("do $$ begin execute format('alter role %I set maintenance_work_mem = ''1MB''',
        (select r.rolname from pg_roles r where r.rolname like 'indexer_' || current_database())); end $$");
    let mut worker = start(&stage, "worker");
    let line = worker.wait_for_line("vector index not built", PATIENCE);
    assert!(
        line.contains("memory required") && line.contains("retry_in"),
        "{line}"
    );
    let state = "select format('%s %s %s', state, failures, _until > now() + interval '30 seconds')
        from ai.vectorizer_index";
    assert_eq!(text(&mut stage, state), "failed 1 t");
    let recorded = "select count(*) from ai.vectorizer_errors where details ->> 'error_reason' ~ 'memory required'";
    stage
        .database
        .wait_until(&format!("({recorded}) = 1"), PATIENCE);
    end(&mut worker);
}

#[test]
fn a_worker_that_is_not_the_owner_says_what_to_do() {
    let mut stage = Stage::new();
    stage.run("create table blog (id int primary key, body text)");
    insert(&mut stage, 1, 40);
    create(&mut stage, "indexing => ai.indexing_hnsw(min_rows => 20)");
    let mut worker = start(&stage, "worker");
    let line = worker.wait_for_line("gets no vector index", PATIENCE);
    assert!(line.contains("grant postgres to embedder"), "{line}");
    stage.wait_until_done();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        count(&[&worker], "gets no vector index"),
        1,
        "it is said once"
    );
    let by_hand = text(&mut stage, "select ai.vector_index_sql('blog')");
    stage.run(&by_hand);
    stage.database.wait_until(BUILT, PATIENCE);
    end(&mut worker);
}

#[test]
fn a_wide_vector_is_indexed_and_searched_as_halfvec() {
    let Scene { mut stage, _roles } = Scene::new("ai.indexing_none()");
    stage.stub.add_model("wide", 3072);
    let create =
        "select ai.create_vectorizer('blog', name => 'wide', loading => ai.loading_column('body'),
        embedding => ai.embedding_ollama('wide', 3072), chunking => ai.chunking_none(),
        destination => ai.destination_table('wide'), indexing => ai.indexing_hnsw(min_rows => 20))";
    stage.run(create);
    make_table_scans_cost_more(&mut stage);
    stage.once("worker");
    let definition = "select indexdef from pg_indexes where indexname = '_vectorizer_idx_2_hnsw'";
    assert_eq!(
        text(&mut stage, definition),
        "CREATE INDEX _vectorizer_idx_2_hnsw ON public.wide_store USING hnsw \
         (((embedding)::halfvec(3072)) halfvec_cosine_ops)"
    );
    let scans = "coalesce((select idx_scan from pg_stat_user_indexes
        where indexrelname = '_vectorizer_idx_2_hnsw'), 0)";
    for (shell, before) in [("worker", 0), ("worker-blocking", 1)] {
        assert_eq!(stage.number(&format!("select {scans}")), before);
        let mut search = stage.worker(shell, &["search", "wide", "body 7", "-k", "1"]);
        assert_eq!(search.wait(PATIENCE).code(), Some(0));
        assert!(
            search.lines()[0].ends_with("body 7"),
            "{:?}",
            search.lines()
        );
        stage
            .database
            .wait_until(&format!("{scans} = {}", before + 1), PATIENCE);
    }
    // As in docs/sql.md.
    stage.run("set enable_seqscan = off");
    let plan = "explain select chunk from wide
        order by embedding::halfvec(3072) <=> (select embedding::halfvec(3072) from wide_store limit 1) limit 5";
    let plan = stage.sql.query(plan, &[]).unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(
        plan.join("\n").contains("_vectorizer_idx_2_hnsw"),
        "{plan:?}"
    );
}

#[test]
fn a_store_of_halfvecs_is_written_indexed_and_searched() {
    for shell in ["worker", "worker-blocking"] {
        let Scene { mut stage, _roles } = Scene::new("ai.indexing_none()");
        stage.run(&format!(
            "select ai.create_vectorizer('blog', name => 'half', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => ai.destination_table('half', storage => 'halfvec'),
               indexing => ai.indexing_hnsw(min_rows => 20, opclass => 'vector_l2_ops'))"
        ));
        stage.once(shell);
        stage.run("update blog set body = 'changed' where id = 1; delete from blog where id = 2");
        stage.once(shell);
        let column = "select format_type(atttypid, atttypmod) from pg_attribute
            where attrelid = 'half_store'::regclass and attname = 'embedding'";
        assert_eq!(text(&mut stage, column), format!("halfvec({DIMENSIONS})"));
        // Both vectorizers embed the same texts; a halfvec has three decimal digits.
        let same = "select count(*) from half_store h join blog_store s using (id)
            where h.chunk = s.chunk and h.embedding::vector <-> s.embedding < 0.002";
        assert_eq!(stage.number(same), 39);
        let definition =
            "select indexdef from pg_indexes where indexname = '_vectorizer_idx_2_hnsw'";
        assert!(text(&mut stage, definition).ends_with("(embedding halfvec_l2_ops)"));
        make_table_scans_cost_more(&mut stage);
        let mut search = stage.worker(shell, &["search", "half", "changed", "-k", "1"]);
        assert_eq!(search.wait(PATIENCE).code(), Some(0));
        assert!(
            search.lines()[0].ends_with("1  changed"),
            "{:?}",
            search.lines()
        );
        let scanned = "exists (select from pg_stat_user_indexes
            where indexrelname = '_vectorizer_idx_2_hnsw' and idx_scan > 0)";
        stage.database.wait_until(scanned, PATIENCE);
    }
}

#[test]
fn a_column_of_the_source_is_indexed() {
    let Scene { mut stage, _roles } = Scene::new("ai.indexing_none()");
    stage.run(&format!(
        "select ai.create_vectorizer('blog', name => 'own', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_column('vector'), indexing => ai.indexing_hnsw(min_rows => 20))"
    ));
    stage.once("worker");
    let definition = "select indexdef from pg_indexes where indexname = '_vectorizer_idx_2_hnsw'";
    assert!(
        text(&mut stage, definition)
            .contains("ON public.blog USING hnsw (vector vector_cosine_ops)")
    );
}

#[test]
fn indexing_can_be_set_later() {
    let Scene { mut stage, _roles } = Scene::new("ai.indexing_none()");
    // As an older version wrote it, whose jobs ran in the database.
    stage.run("update ai.vectorizer set config = jsonb_set(config, '{scheduling}',
        '{\"implementation\": \"timescaledb\", \"config_type\": \"scheduling\", \"job_id\": 1000}')");
    let mut worker = stage.worker("worker", &[]);
    stage.wait_until_done();
    stage
        .run("select ai.set_scheduling(1, ai.scheduling_none(), ai.indexing_hnsw(min_rows => 20))");
    worker.wait_for_line("vector index built", PATIENCE);
    stage.run("select ai.set_indexing('blog', ai.indexing_ivfflat(min_rows => 20, lists => 2))");
    let both = "(select count(*) from pg_indexes where indexname ~ '^_vectorizer_idx_1_(hnsw|ivfflat)$') = 2";
    stage.database.wait_until(both, PATIENCE);
    stage.database.wait_until(BUILT, PATIENCE);
    end(&mut worker);
    let refused = stage
        .sql
        .batch_execute("select ai.set_indexing('nope', ai.indexing_none())");
    assert!(refused.unwrap_err().to_string().contains("db error"));
    let diskann = stage.number("select count(*) from pg_am where amname = 'diskann'");
    let set = stage
        .sql
        .batch_execute("select ai.set_indexing('blog', ai.indexing_diskann())");
    assert_eq!(
        set.is_ok(),
        diskann == 1,
        "where the extension vectorscale is"
    );
}

#[test]
fn little_memory_is_told_of() {
    let Scene { stage, _roles } = Scene::new("ai.indexing_none()");
    let Stage { mut sql, .. } = stage;
    let step = "set maintenance_work_mem = '1MB';
        update pg_class set reltuples = 1000000 where oid = 'blog_store'::regclass;
        insert into blog_store (id, chunk_seq, chunk, embedding)
            select 0, n, '', array_fill(n, array[8])::vector from generate_series(1, 30) n;
        delete from ai._vectorizer_q_1;
        select ai.set_indexing('blog', ai.indexing_hnsw(min_rows => 20))";
    sql.batch_execute(step).unwrap();
    let memory = "select memory_needed > 100 * 1024 * 1024 and memory_given = 1024 * 1024
        from ai.vectorizer v, ai._vector_index_step(v) where v.id = 1";
    assert!(sql.query_one(memory, &[]).unwrap().get::<_, bool>(0));
}

#[test]
fn an_index_is_built_through_a_pooler() {
    let wanted = std::env::var_os("CI").is_some();
    if PgBouncer::program().is_none() {
        assert!(!wanted, "no pooler: apt-get install pgbouncer");
        eprintln!("SKIPPED: there is no /usr/sbin/pgbouncer");
        return;
    }
    for shell in ["worker", "worker-blocking"] {
        let Scene { mut stage, _roles } = Scene::new("ai.indexing_hnsw(min_rows => 20)");
        let bouncer = PgBouncer::start("transaction", stage.database.url(), "");
        stage.worker_url = bouncer.url(stage.database.url());
        let mut holder = holder(&stage);
        let mut worker = start(&stage, shell);
        stage.database.wait_until(WAITS, PATIENCE);
        insert(&mut stage, 41, 50);
        stage.wait_until_done();
        holder.batch_execute("commit").unwrap();
        worker.wait_for_line("vector index built", PATIENCE);
        assert_eq!(text(&mut stage, INDEXES), "_vectorizer_idx_1_hnsw t");
        end(&mut worker);
    }
}
