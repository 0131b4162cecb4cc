//! What happens when a source table changes hands.

use tests::role::Role;
use tests::stage::{PATIENCE, Stage};

use crate::{caught, owner_with_vectorizer, strangers_parts, trap};

/// Alice's table and vectorizer, and its next owner.
fn before() -> (Stage, Role, Role) {
    let mut stage = Stage::new();
    let alice = owner_with_vectorizer(&mut stage, "alice");
    let next = Role::new(&stage.database, "next");
    stage.run(&format!(
        "grant usage, create on schema alice to {}",
        next.name
    ));
    (stage, alice, next)
}

#[test]
fn writes_go_on_the_worker_says_what_to_do_and_adopting_does_it() {
    for shell in ["worker", "worker-blocking"] {
        let (mut stage, _alice, mut next) = before();
        stage.once(shell);
        stage.run(&format!("alter table alice.notes owner to {}", next.name));
        next.may(
            "insert into alice.notes values (2, 'two'); update alice.notes set body = 'changed' where id = 1;
             insert into alice.notes values (3, 'three'); delete from alice.notes where id = 3",
        );
        assert_eq!(
            stage.number("select ai.vectorizer_queue_pending(1, true)"),
            3,
            "all is queued"
        );
        let mut worker = stage.worker(shell, &["--once"]);
        assert_eq!(
            worker.wait(PATIENCE).code(),
            Some(1),
            "{:?}",
            worker.lines()
        );
        let told = "select count(*) from ai._vectorizer_errors where id = 1
            and details ->> 'error_reason' like '%select ai.adopt_vectorizer(''alice'')%'";
        assert_eq!(stage.number(told), 1);

        stage.run("select ai.adopt_vectorizer('alice')");
        assert_eq!(strangers_parts(&mut stage.sql, 1, &next.name), 0);
        // Whose the schema is could still put another table there.
        stage.run(&format!("alter schema alice owner to {}", next.name));
        next.may("insert into alice.notes values (4, 'four')");
        let mut worker = stage.worker(shell, &["--once"]);
        assert_eq!(
            worker.wait(PATIENCE).code(),
            Some(0),
            "{:?}",
            worker.lines()
        );
        let stored =
            "select count(*) from alice.notes n full join alice.notes_embedding_store s using (id)
            where n.body is distinct from s.chunk";
        assert_eq!(stage.number(stored), 0);
        next.may("select count(*) from alice.notes_embedding; select * from alice._vectorizer_q_1");
    }
}

/// What the old owner has put there would run with the new owner's rights.
#[test]
fn what_the_old_owner_left_behind_is_not_adopted() {
    let (mut stage, mut alice, mut next) = before();
    trap(&mut stage, &alice);
    stage.run("set role none; create table public.vault (secret text); grant select on public.vault to public");
    let leave = "create or replace function alice._vectorizer_src_trg_1() returns trigger language plpgsql security definer
        as $$ begin perform trap.spring(); return null; end $$";
    alice.may(leave);
    stage.run(&format!("alter table alice.notes owner to {}", next.name));
    for (trap, undo) in [
        ("create trigger t before insert on alice.notes_embedding_store for each row execute function trap.fire()",
         "drop trigger t on alice.notes_embedding_store"),
        ("alter table alice.notes_embedding_store add check (trap.spring())",
         "alter table alice.notes_embedding_store drop constraint notes_embedding_store_check"),
        ("alter table alice._vectorizer_q_1 alter loading_retries set default trap.spring()::int",
         "alter table alice._vectorizer_q_1 alter loading_retries set default 0"),
        ("create policy p on alice.notes_embedding_store using (trap.spring())",
         "drop policy p on alice.notes_embedding_store"),
        ("create rule r as on insert to alice._vectorizer_q_1 do also select trap.spring()",
         "drop rule r on alice._vectorizer_q_1"),
        ("create table alice.heir () inherits (alice.notes_embedding_store)",
         "drop table alice.heir"),
        ("create or replace view alice.notes_embedding as select t.embedding_uuid, t.chunk_seq, t.chunk, t.embedding, t.id,
            (select v.secret from public.vault v limit 1) as body from alice.notes_embedding_store t",
         "drop view alice.notes_embedding"),
    ] {
        alice.may(trap);
        let (code, message) = tests::role::refused(&mut stage.sql, "select ai.adopt_vectorizer('alice')");
        assert_eq!(code, "42501", "{trap}: {message}");
        alice.may(undo);
    }
    alice.may("create view alice.notes_embedding as select t.embedding_uuid, t.chunk_seq, t.chunk, t.embedding, t.id, s.body
        from alice.notes_embedding_store t left join alice.notes s on t.id = s.id");
    // Nobody but a superuser and who has both roles hands over.
    assert!(
        next.may_not("select ai.adopt_vectorizer('alice')")
            .contains("permission denied")
    );
    let caught_before = stage.number("select count(*) from trap.caught");
    stage.run("select ai.adopt_vectorizer('alice')");
    next.may("insert into alice.notes values (2, 'two')");
    assert_eq!(
        stage.number("select count(*) from trap.caught"),
        caught_before,
        "the old body is gone"
    );
    assert_eq!(caught(&mut stage.sql), 0);

    let mut both = Role::new(&stage.database, "both");
    stage.run(&format!(
        "grant {} to {2}; grant {1} to {2}; select ai.grant_vectorizer_usage('{2}');
         alter table alice.notes owner to {0}",
        alice.name, next.name, both.name
    ));
    both.may("select ai.adopt_vectorizer('alice')");
    assert_eq!(strangers_parts(&mut stage.sql, 1, &alice.name), 0);
}
