//! What a change leaves behind: nothing, if it is cancelled or reverted.

use tests::stage::Stage;

use super::{BEGIN, fails, stage, text};

/// Everything in the schemas `ai` and `public`, in words, and the rows about vectorizers. (The oids of views differ.)
pub(super) const CATALOG: &str = "
with things as (
  select format('relation %s %s %s %s %s %s', c.oid::regclass, c.relkind, c.relowner::regrole, c.relacl, c.reloptions,
    c.relrowsecurity) as thing
  from pg_class c where c.relnamespace in ('ai'::regnamespace, 'public'::regnamespace)
  union all
  select format('view %s %s', c.oid::regclass, pg_get_viewdef(c.oid))
  from pg_class c where c.relnamespace in ('ai'::regnamespace, 'public'::regnamespace) and c.relkind = 'v'
  union all
  select format('function %s %s %s', p.oid::regprocedure, p.proowner::regrole, p.proacl)
  from pg_proc p where p.pronamespace in ('ai'::regnamespace, 'public'::regnamespace)
  union all
  select format('trigger %s %s %s', t.tgname, t.tgrelid::regclass, t.tgenabled) from pg_trigger t where not t.tgisinternal
  union all
  select format('policy %s %s %s', p.polname, p.polrelid::regclass, pg_get_expr(p.polqual, p.polrelid)) from pg_policy p
  union all
  select format('column %s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attacl)
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped
  union all
  select format('vectorizer %s', v) from ai.vectorizer v
  union all
  select format('generation %s', g) from ai.vectorizer_generation g
  union all
  select format('made by %s %s %s', m.vectorizer_id, m.vectors, m.texts) from ai.vectorizer_made_by m
  union all
  select format('resync %s', r.vectorizer_id) from ai.vectorizer_resync r
  union all
  select format('index %s', i.vectorizer_id) from ai.vectorizer_index i
  union all
  select format('text %s %s %s', t.vectorizer_id, t.chunks, t.words) from ai.vectorizer_text t
)
select coalesce(string_agg(thing, E'\n' order by thing), '') from things";

/// A blog whose store, view and queue have readers, a policy and a text index. (It is not in force: workers of another role could not
/// read the store.)
fn guarded() -> Stage {
    let mut stage = stage(2);
    stage.run(
        "do $$ begin create role change_reader; exception when duplicate_object or unique_violation then null; end $$;
         grant select on blog_store, blog_embedding, ai._vectorizer_q_1 to change_reader;
         create policy mine on blog_store for select to change_reader using (id % 2 = 0);
         alter view blog_embedding set (security_barrier = true);
         select ai.enable_hybrid('blog')",
    );
    stage
}

/// The same as before, line by line.
#[track_caller]
pub(super) fn assert_same(stage: &mut Stage, before: &str, of: &str) {
    let after = text(stage, CATALOG);
    let only = |one: &str, other: &str| -> Vec<String> {
        let other: Vec<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(only(&after, before), Vec::<String>::new(), "{of}: new");
    assert_eq!(only(before, &after), Vec::<String>::new(), "{of}: gone");
}

#[test]
fn a_change_that_is_cancelled_leaves_nothing() {
    let mut stage = guarded();
    let before = text(&mut stage, CATALOG);
    for state in ["filling", "indexing", "ready"] {
        stage.run(BEGIN);
        stage.run(&format!(
            "update ai.vectorizer_generation set state = '{state}'"
        ));
        for function in ["finish", "revert"] {
            fails(&mut stage, &format!("select ai.{function}_change('blog')"));
        }
        stage.run("select ai.cancel_change('blog')");
        assert_same(&mut stage, &before, state);
    }
}

#[test]
fn a_change_that_is_reverted_leaves_nothing() {
    let mut stage = guarded();
    stage.run("insert into ai.vectorizer_index (vectorizer_id) select id from ai.vectorizer");
    let before = text(&mut stage, CATALOG);
    stage.run(BEGIN);
    let readers = "select string_agg(distinct format('%s %s', c.oid::regclass, a.privilege_type), ', ') from pg_class c,
        aclexplode(c.relacl) a where a.grantee = 'change_reader'::regrole and c.relname ~ '_2$'";
    assert_eq!(
        text(&mut stage, readers),
        "ai._vectorizer_q_2 SELECT, ai._vectorizer_text_2 SELECT, ai._vectorizer_words_2 SELECT, \
         blog_embedding_2 SELECT, blog_store_2 SELECT"
    );
    stage.once("worker");
    fails(&mut stage, "select ai.cancel_change('blog')");
    assert_ne!(text(&mut stage, CATALOG), before);
    let policies =
        "select string_agg(polname || ' ' || polrelid::regclass, ', ' order by 1) from pg_policy";
    assert_eq!(
        text(&mut stage, policies),
        "mine blog_store, mine blog_store_2"
    );
    stage.run("select ai.revert_change('blog')");
    stage.run("select ai.finish_change('blog')");
    assert_same(&mut stage, &before, "reverted");
}

#[test]
fn a_vectorizer_that_is_dropped_takes_its_change_along() {
    for states in ["filling", "kept"] {
        let mut stage = stage(1);
        stage.run(BEGIN);
        if states == "kept" {
            stage.once("worker");
        }
        stage.run("select ai.drop_vectorizer('blog', drop_all => true)");
        let left = "select count(*) from (
            select relname from pg_class where relname ~ '^blog_|^_vectorizer.*_[0-9]+$'
              and relname !~ '^blog_pkey$'
            union all select proname from pg_proc where proname ~ '^_vectorizer_(src_trg|step)_[0-9]+'
            union all select tgname from pg_trigger where tgrelid = 'blog'::regclass and not tgisinternal
            union all select 'made by' from ai.vectorizer_made_by
            union all select 'resync' from ai.vectorizer_resync
            union all select 'generation' from ai.vectorizer_generation) x";
        assert_eq!(stage.number(left), 0, "{states}");
    }
}

#[test]
fn an_installation_again_keeps_a_change() {
    let mut stage = stage(2);
    stage.run(BEGIN);
    let before = text(&mut stage, CATALOG);
    stage.database.install();
    assert_same(&mut stage, &before, "installed again");
    // As an older version has made its triggers.
    stage.run("update ai.vectorizer_generation set _build = 'older'");
    stage.database.install();
    let build = "select (_build = ai._vectorizer_version())::text from ai.vectorizer_generation";
    assert_eq!(text(&mut stage, build), "true");
    stage.once("worker");
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_generation"),
        "kept"
    );
}
