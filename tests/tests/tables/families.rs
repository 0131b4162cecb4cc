//! Tables that belong together: partitions, child tables, references, and several vectorizers of one.

use tests::stage::{DIMENSIONS, Stage};

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
