-- Generations that do not serve get the triggers of this version. If one cannot, its vectorizer serves as before, and the
-- reason is recorded.

do $$
declare
    one int;
    reason text;
begin
    for one in
        select g.id from ai.vectorizer_generation g where g._build is distinct from ai._vectorizer_version() order by g.id
    loop
        begin
            perform ai._with_locks(format('select ai._generation_renew(%s)', one), 'it cannot be upgraded');
        exception when others then
            get stacked diagnostics reason = message_text;
            insert into ai._vectorizer_errors (id, message, details)
            values (one, 'upgrade failed', jsonb_build_object('error_reason', reason));
            raise warning 'the generation % keeps its triggers: %', one, reason
                using hint = 'Run setup.sql again; or end the change with ai.finish_change or ai.cancel_change.';
        end;
    end loop;
end
$$;
