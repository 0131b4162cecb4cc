-- ai.hybrid_search: chunks by their words (BM25) and by their vectors, in one ranking.
--
-- BM25 with the logarithm of Lucene (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
-- 2009): a word that is in n of N chunks and c times in a chunk of length l adds ln(1 + (N - n + 0.5) / (n + 0.5))
-- * c / (c + k1 * (1 - b + b * l / average)).
--
-- So that common words do not make it slow, only the chunks that have one of the rarer words of the question are
-- scored: words are taken in the order of their frequency as long as at most `candidates` chunks have them. Of a more
-- frequent word, those chunks are taken that have it 2, 4 or 8 times, if these are few enough. A word that is left out
-- still counts in the score.

-- The words of a question: hash, how often it is asked for, weight, and the hash by which candidates are found (null: it
-- finds none). At most 64, the rarest.
create or replace function ai._text_question(v ai.vectorizer, question text, candidates int)
returns table (word int, weight float8, finds int)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    total bigint;
    counts text = format('%I.%I', v.queue_schema, ai._text_count_table(v));
    is_secret boolean = (
        select c.relrowsecurity from pg_class c where c.oid = ai._vectorizer_relation(v.source_schema, v.source_table));
    budget bigint = candidates;
    one record;
    level record;
begin
    total = (select x.chunks from ai.vectorizer_text x where x.vectorizer_id = v.id);
    for one in execute format(
        'select l.word, l.lexeme, l.asked, coalesce(c.chunks, $3) as chunks
         from (select x.lexeme, hashtext(x.lexeme) as word, cardinality(x.positions) as asked
               from unnest(to_tsvector($1, left($2, 20000))) x) l
         left join %s c on c.word = l.word
         order by 4, l.word limit 64', counts)
        using (v.config #>> '{destination,hybrid,language}')::regconfig, question, case when is_secret then 32 else 1 end
    loop
        word = one.word;
        weight = one.asked * ln(1 + greatest(total - one.chunks + 0.5, 0) / (one.chunks + 0.5));
        finds = null;
        for level in execute format(
            'select x.word, coalesce(c.chunks, $3) as chunks
             from (values (0, $1), (2, hashtext($2 || '' 2'')), (4, hashtext($2 || '' 4'')), (8, hashtext($2 || '' 8''))) x(n, word)
             left join %s c on c.word = x.word
             order by x.n', counts)
            using one.word, one.lexeme, case when is_secret then 32 else 1 end
        loop
            if level.chunks <= budget and finds is null then
                finds = level.word;
                budget = budget - level.chunks;
            end if;
        end loop;
        return next;
    end loop;
end
$$;

-- The statement of the words' part: key, `_seq`, `_score`, the best first. Null if the question has no word.
create or replace function ai._text_sql(v ai.vectorizer, source regclass, passes text, question text, candidates int, depth bigint)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    hybrid jsonb = v.config #> '{destination,hybrid}';
    k1 float8 = (hybrid ->> 'k1')::float8;
    b float8 = (hybrid ->> 'b')::float8;
    average float8;
    words record;
    matching text;
begin
    select greatest(x.words::float8 / greatest(x.chunks, 1), 1) into average from ai.vectorizer_text x where x.vectorizer_id = v.id;
    select string_agg(format(
            'coalesce(%s::pg_catalog.float8 operator(pg_catalog.*) (1 operator(pg_catalog.-) (_norm operator(pg_catalog./) '
            '(_counts[pg_catalog.array_position(_words, %s)]::pg_catalog.float8 operator(pg_catalog.+) _norm))), 0)'
            , q.weight, q.word), ' operator(pg_catalog.+) ') as score
         , array_agg(q.word) as every, array_agg(q.finds) filter (where q.finds is not null) as finds
    into words
    from ai._text_question(v, question, candidates) q;
    if words.every is null then
        return null;
    end if;
    -- Words that are all too frequent find the chunks that have all of them.
    matching = case when words.finds is null then format('operator(pg_catalog.@>) %L::pg_catalog.int4[]', words.every)
        else format('operator(pg_catalog.&&) %L::pg_catalog.int4[]', words.finds) end;
    return format(
'select %1$s, _chunk_seq as _seq, (%2$s)::pg_catalog.float8 as _score
  from (
    select _text.*, %3$s::pg_catalog.float8 operator(pg_catalog.*) (%4$s::pg_catalog.float8 operator(pg_catalog.+)
      (%5$s::pg_catalog.float8 operator(pg_catalog.*) _length)) as _norm
    from %6$s _text
    where _words %7$s%8$s limit %9$s
  ) _found
  order by _score desc, %1$s, _seq limit %10$s'
        , ai._vectorizer_key_list(source), words.score, k1, 1 - b, b / average
        , format('%I.%I', v.queue_schema, ai._text_table(v)), matching, passes, candidates, depth);
end
$$;

-- The statement. Parameters: the question's vector, how many. Each side gives its nearest `depth` chunks, and a chunk's
-- score is the sum of weight / (rank_constant + rank) (Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion", 2009).
create or replace function ai._hybrid_sql
( v ai.vectorizer
, question text
, has_vector boolean
, k int
, filter jsonb
, condition text
, best_per_row boolean
, neighbours int
, columns name[]
, vector_weight float8
, text_weight float8
, rank_constant float8
, candidates int
) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    p record;
    by_words text;
    by_vector text;
    depth bigint = least(greatest(k::bigint * case when best_per_row then 10 else 3 end, 100), 2000000000);
    nothing text;
begin
    select x.* into p from ai._search_pieces(v, filter, condition, neighbours, columns) x;
    by_words = case when ai._text_is_own(v.config -> 'destination')
        then ai._text_sql(v, p.source, ai._search_where('_text', p.source, filter, condition), question, candidates, depth)
        else ai._textsearch_sql(v, p.source, p.seq, p.passes, question, depth) end;
    nothing = format('select %s, null::pg_catalog.int4 as _seq, null::pg_catalog.float8 as "?" from %s _pgai limit 0'
        , (select string_agg(format('_pgai.%I', k.name), ', ' order by k.pknum) from ai._vectorizer_key(p.source) k), p.target);
    by_vector = case when has_vector then format('select %s, %s as _seq, (%s)::pg_catalog.float8 as _distance
  from %s _pgai where %s order by %3$s limit %6$s'
        , (select string_agg(format('_pgai.%I', k.name), ', ' order by k.pknum) from ai._vectorizer_key(p.source) k)
        , p.seq, p.distance, p.target, p.passes, depth)
        else replace(nothing, '"?"', '_distance') end;
    return format(
'with near as materialized (
  %1$s
), worded as materialized (
  %2$s
), fused as materialized (
  select %3$s, _seq, pg_catalog.max(_distance) as _distance, pg_catalog.max(_vector_rank) as _vector_rank
    , pg_catalog.max(_score) as _text_score, pg_catalog.max(_text_rank) as _text_rank
    , coalesce(%4$s::pg_catalog.float8 operator(pg_catalog./) (%6$s::pg_catalog.float8 operator(pg_catalog.+) pg_catalog.max(_vector_rank)), 0)
      operator(pg_catalog.+)
      coalesce(%5$s::pg_catalog.float8 operator(pg_catalog./) (%6$s::pg_catalog.float8 operator(pg_catalog.+) pg_catalog.max(_text_rank)), 0) as _score
  from (
    select %3$s, _seq, _distance, pg_catalog.row_number() over (order by _distance, %3$s, _seq) as _vector_rank
      , null::pg_catalog.float8 as _score, null::pg_catalog.int8 as _text_rank
    from near
    union all
    select %3$s, _seq, null, null, _score, pg_catalog.row_number() over (order by _score desc, %3$s, _seq) from worded
  ) x
  group by %3$s, _seq
), picked as materialized (
  %7$s order by _score desc, _text_score desc nulls last, _distance, %3$s, _seq limit $2::pg_catalog.int8
)
select %8$s, _hit._seq, %9$s, _hit._score, _hit._vector_rank::pg_catalog.int4, _hit._distance, _hit._text_rank::pg_catalog.int4, _hit._text_score
  , %10$s, %11$s, %12$s, %16$s
from picked _hit
join %13$s _pgai on %14$s
order by _hit._score desc, _hit._text_score desc nulls last, _hit._distance, %15$s'
        , by_vector, coalesce(by_words, replace(nothing, '"?"', '_score')), p.key_columns, vector_weight, text_weight, rank_constant
        , case when best_per_row
            then format('select * from (select distinct on (%1$s) * from fused order by %1$s, _score desc, _text_score desc nulls last, _distance, _seq) x', p.key_columns)
            else 'select * from fused' end
        , p.key_json, p.body, p.before, p.after, p.source_row, p.target, p.hit_is_target
        , (select string_agg(format('_hit.%I', k.name), ', ' order by k.pknum) || ', _hit._seq' from ai._vectorizer_key(p.source) k)
        , p.location);
end
$$;

-- Checks what a hybrid search needs.
create or replace function ai._hybrid_check(v ai.vectorizer, weights float8[], rank_constant float8, candidates int) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from unnest(weights) w where w is null or not (w >= 0 and w <= 1e6))
        or rank_constant is null or not (rank_constant >= 0 and rank_constant <= 1e6)
        or candidates is null or candidates not between 1 and 1000000
    then
        raise exception 'weights and rank_constant are from 0 to 1,000,000, and candidates is from 1 to 1,000,000'
            using errcode = 'invalid_parameter_value';
    end if;
    if not (v.config -> 'destination') ? 'hybrid' then
        raise exception 'the vectorizer "%" has no text index', v.name
            using errcode = 'object_not_in_prerequisite_state', hint = format('select ai.enable_hybrid(%L)', v.name);
    end if;
    if not ai._text_is_own(v.config -> 'destination') then
        perform ai._textsearch_check(v);
        return;
    end if;
    if not ai._text_is_ready(v) then
        raise exception 'the text index of the vectorizer "%" is not ready', v.name
            using errcode = 'object_not_in_prerequisite_state'
                , hint = 'A worker fills it: see ai.vectorizer_index and ai.vectorizer_text.';
    end if;
end
$$;

do $do$
declare
    vector_type text = (
        select format('%I.vector', n.nspname)
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'vector');
    one record;
begin
    for one in select * from (values
        ('vectorizer_id int', 'ai._searched(hybrid_search.vectorizer_id, hybrid_search.generation)'),
        ('name text', 'ai._searched(ai._vectorizer_named(hybrid_search.name), hybrid_search.generation)')) x(parameter, of)
    loop
        perform ai._search_drop(format('ai.hybrid_search(%s, text, %s, int, jsonb, text, boolean, int, name[], float8, float8, float8, int)'
            , split_part(one.parameter, ' ', 2), vector_type), 'generation');
        execute format($f$
create or replace function ai.hybrid_search
( %1$s
, query text
, embedding %2$s
, k int default 10
, filter jsonb default null
, condition text default null
, best_per_row boolean default false
, neighbours int default 0
, columns name[] default null
, vector_weight float8 default 1
, text_weight float8 default 1
, rank_constant float8 default 60
, candidates int default 2000
, generation int default null
) returns table
( key jsonb
, chunk_seq int
, chunk text
, score float8
, vector_rank int
, distance float8
, text_rank int
, text_score float8
, chunks_before text[]
, chunks_after text[]
, source jsonb
, location jsonb
) language plpgsql stable rows 10
as $$
#variable_conflict use_column
declare
    v ai.vectorizer = %3$s;
    statement pg_catalog.text;
    before pg_catalog.jsonb;
begin
    perform ai._search_check(hybrid_search.k, hybrid_search.neighbours);
    perform ai._hybrid_check(v, array[hybrid_search.vector_weight, hybrid_search.text_weight], hybrid_search.rank_constant
        , hybrid_search.candidates);
    statement = ai._hybrid_sql(v, hybrid_search.query, hybrid_search.embedding is not null, hybrid_search.k
        , hybrid_search.filter, hybrid_search.condition, hybrid_search.best_per_row, hybrid_search.neighbours
        , hybrid_search.columns, hybrid_search.vector_weight, hybrid_search.text_weight, hybrid_search.rank_constant
        , hybrid_search.candidates);
    before = ai._search_begin(least(3::bigint operator(pg_catalog.*) hybrid_search.k, 1000));
    return query execute statement using hybrid_search.embedding, hybrid_search.k;
    perform ai._search_end(before);
end
$$ $f$, one.parameter, vector_type, one.of);
    end loop;
    execute format('comment on function ai.hybrid_search(text, text, %s, int, jsonb, text, boolean, int, name[], float8, float8, float8, int, int) is %L'
        , vector_type, 'The chunks of a vectorizer that are best by their words and their vectors, as far as the caller may see them.');
    execute format('comment on function ai.hybrid_search(int, text, %s, int, jsonb, text, boolean, int, name[], float8, float8, float8, int, int) is %L'
        , vector_type, 'The same, by id.');
end
$do$;
