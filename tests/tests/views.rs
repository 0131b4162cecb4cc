//! The view of a vectorizer: which columns it has, and how it is made anew.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use tests::stage::{PATIENCE, Stage};

fn text(stage: &mut Stage, sql: &str) -> String {
    let row = stage.sql.query_one(sql, &[]);
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

fn columns(stage: &mut Stage, view: &str) -> String {
    text(
        stage,
        &format!(
            "select string_agg(attname, ' ' order by attnum) from pg_attribute
             where attrelid = '{view}'::regclass and attnum > 4 and not attisdropped"
        ),
    )
}

#[track_caller]
fn code(stage: &mut Stage, sql: &str) -> String {
    let error = stage.sql.batch_execute(sql).expect_err(sql);
    error
        .code()
        .unwrap_or_else(|| panic!("{error:?}"))
        .code()
        .to_owned()
}

fn create(name: &str, view_columns: &str) -> String {
    format!(
        "select ai.create_vectorizer('blog', name => '{name}', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), destination => ai.destination_table('{name}' {view_columns}))"
    )
}

#[test]
fn a_view_has_the_columns_that_were_chosen() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog values (1, 't', 'one')");
    for (name, chosen, expected) in [
        ("whole", "", "id title body views"),
        (
            "few",
            ", view_columns => array['views', 'title']",
            "id title views",
        ),
        ("keyed", ", view_columns => array['id']", "id"),
        ("bare", ", view_columns => '{}'", "id"),
    ] {
        stage.run(&create(name, chosen));
        assert_eq!(columns(&mut stage, name), expected);
        let kept = format!(
            "select (config #> '{{destination,view_columns}}' is not null)::text from ai.vectorizer where name = '{name}'"
        );
        assert_eq!(text(&mut stage, &kept), (!chosen.is_empty()).to_string());
        stage.run(&format!("select ai.recreate_view('{name}')"));
        assert_eq!(columns(&mut stage, name), expected);
    }
    stage.once("worker");
    assert_eq!(
        text(&mut stage, "select format('%s %s', title, views) from few"),
        "t 0"
    );
    // Columns that a view leaves alone may be changed, and may have names that it needs itself.
    stage.run("drop view blog_embedding, whole, few; alter table blog drop column title cascade, add column embedding int");
    stage.run(&create("other", ", view_columns => array['views']"));
    assert_eq!(
        code(
            &mut stage,
            &create("third", ", view_columns => array['views', 'title']")
        ),
        "42703"
    );
    assert_eq!(
        code(
            &mut stage,
            &create("third", ", view_columns => array['embedding']")
        ),
        "42701"
    );
    assert_eq!(
        code(
            &mut stage,
            &create("third", "").replace("'third' )", "'third') || '{\"view_columns\": 7}'")
        ),
        "P0001"
    );
}

/// The lines of the manual.
#[test]
fn a_migration_drops_the_view_and_makes_it_again() {
    let manual = include_str!("../../docs/sql.md");
    let migration = tests::python::blocks(manual)
        .into_iter()
        .map(|(_, block)| block);
    let migration = migration
        .filter(|block| {
            block.contains("drop view blog_embedding;") && block.contains("ai.recreate_view")
        })
        .collect::<Vec<_>>();
    assert_eq!(migration.len(), 1);
    let mut stage = Stage::with_blog();
    stage.run(
        "create role view_reader; alter table blog add column subtitle text; select ai.recreate_view('blog');
         grant select on blog_store to view_reader; insert into blog values (1, 't', 'one')",
    );
    assert_eq!(
        columns(&mut stage, "blog_embedding"),
        "id title body views subtitle"
    );
    assert_eq!(
        code(&mut stage, "alter table blog drop column subtitle"),
        "2BP01"
    );
    stage.run(migration[0]);
    assert_eq!(columns(&mut stage, "blog_embedding"), "id title body views");
    let may = "select has_table_privilege('view_reader', 'blog_embedding', 'select')::text";
    assert_eq!(text(&mut stage, may), "true");
    stage.once("worker");
    assert_eq!(text(&mut stage, "select title from blog_embedding"), "t");
    stage.run("drop owned by view_reader; drop role view_reader");
}

#[test]
fn owner_rights_and_options_stay_and_what_depends_on_it_is_told() {
    let mut stage = Stage::with_blog();
    stage.run(
        "create role view_owner; create role view_reader;
         grant view_owner to current_user; grant create on schema public to view_owner;
         grant select, insert on blog_embedding to view_reader with grant option; grant select on blog_embedding to public;
         alter view blog_embedding set (security_barrier = true); alter view blog_embedding owner to view_owner",
    );
    let state = "select format('%s %s %s', c.relowner::regrole, c.reloptions, (
        select string_agg(distinct format('%s %s %s', a.grantee, a.privilege_type, a.is_grantable), ', ') from aclexplode(c.relacl) a))
        from pg_class c where c.oid = 'blog_embedding'::regclass";
    let before = text(&mut stage, state);
    stage.run("alter table blog add column added int; select ai.recreate_view('blog')");
    assert_eq!(text(&mut stage, state), before);
    assert_eq!(
        columns(&mut stage, "blog_embedding"),
        "id title body views added"
    );
    stage.run("create view mine as select id from blog_embedding");
    assert_eq!(code(&mut stage, "select ai.recreate_view('blog')"), "2BP01");
    assert_eq!(text(&mut stage, state), before, "nothing has changed");
    stage.run("drop view mine");
    assert_eq!(
        code(&mut stage, "select ai.recreate_view('nobody')"),
        "P0002"
    );
    stage.run(
        "select ai.create_vectorizer('blog', name => 'column', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(), destination => ai.destination_column('vector'))",
    );
    assert_eq!(
        code(&mut stage, "select ai.recreate_view('column')"),
        "42809"
    );
    stage.run("drop view blog_embedding; create table blog_embedding (x int)");
    assert_eq!(code(&mut stage, "select ai.recreate_view('blog')"), "42809");
    stage.run(
        "drop table blog_embedding; drop owned by view_owner; drop owned by view_reader; drop role view_owner; drop role view_reader",
    );
}

#[test]
fn a_view_that_is_gone_is_told_and_setup_makes_it_again() {
    let mut stage = Stage::with_blog();
    stage.run("drop view blog_embedding");
    let mut doctor = stage.worker("worker", &["doctor", "--offline"]);
    doctor.wait_for_line("its view public.blog_embedding is gone", PATIENCE);
    doctor.wait_for_line("select ai.recreate_view('blog')", PATIENCE);
    assert_eq!(doctor.wait(PATIENCE).code(), Some(1));
    stage.database.install();
    assert_eq!(columns(&mut stage, "blog_embedding"), "id title body views");
    let mut doctor = stage.worker("worker", &["doctor", "--offline"]);
    assert_eq!(doctor.wait(PATIENCE).code(), Some(0));
}
