-- Handles vectorizers whose owners and privileges could not be changed in the upgrade (405_owners.sql), or have
-- changed since: each one separately. If one cannot be changed, the reason is recorded.

do $$
declare
    v ai.vectorizer;
    reason text;
    within boolean = coalesce(current_setting('ai.setup_in_transaction', true), '') = 'yes';
begin
    for v in select x.* from ai.vectorizer x where x.queue_table is not null order by x.id loop
        begin
            perform ai._with_locks(format('select ai._vectorizer_settle(%s)', v.id), 'its owners and rights cannot be changed');
        exception when others then
            get stacked diagnostics reason = message_text;
            insert into ai._vectorizer_errors (id, message, details)
            select v.id, 'upgrade failed', n.details
            from jsonb_build_object('error_reason', reason, 'hint', format('select ai.adopt_vectorizer(%L)', v.name)) n(details)
            where not exists (select from ai._vectorizer_errors e where e.id = v.id and e.details = n.details);
            raise warning 'vectorizer % keeps its owners and rights: %', v.id, reason
                using hint = format('select ai.adopt_vectorizer(%L), as a superuser or as the owner', v.name);
        end;
        if not within then
            commit;
        end if;
    end loop;
end
$$;
