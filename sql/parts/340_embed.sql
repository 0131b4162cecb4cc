-- ai.vectorizer_embed: pgai's function that embeds a text inside a query. It called the provider from within
-- the database, through the extension ai; these workers do not support that. So the function fails, and says
-- what to use.

do $$
declare
    vector_type text = (
        select format('%I.vector', n.nspname)
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'vector');
    arguments text;
begin
    foreach arguments in array array
        ['embedding_config jsonb', 'vectorizer_id int', 'name text']
    loop
        execute format
        ( 'create or replace function ai.vectorizer_embed(%s, input_text text, input_type text default null) '
          'returns %s language plpgsql %s set search_path = pg_catalog, pg_temp as %L'
        , arguments
        , vector_type
        , case when starts_with(arguments, 'embedding_config') then 'immutable' else 'stable' end
        , 'begin
    raise exception ''ai.vectorizer_embed needs the extension ai, which this installation does without''
        using errcode = ''feature_not_supported'',
              hint = ''Embed the text in the application with the same model, or ask: worker search NAME "words" --json'';
end'
        );
    end loop;
end
$$;
comment on function ai.vectorizer_embed(jsonb, text, text) is 'Needs pgai''s extension: says what to use in its place.';
comment on function ai.vectorizer_embed(int, text, text) is 'The same, by id.';
comment on function ai.vectorizer_embed(text, text, text) is 'The same, by name.';
