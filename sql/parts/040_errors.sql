-- What went wrong, per vectorizer: the worker writes ai._vectorizer_errors, people read ai.vectorizer_errors.
-- Rows go with their vectorizer.

create table if not exists ai._vectorizer_errors
( id int4 not null
, message text
, details jsonb
, recorded timestamptz not null default now()
, constraint vectorizer_errors_id_fkey foreign key (id) references ai.vectorizer (id) on delete cascade
);
comment on table ai._vectorizer_errors is 'Errors as the worker records them.';

-- For: the latest errors of one vectorizer, and the cascade from ai.vectorizer.
create index if not exists _vectorizer_errors_id_recorded_idx on ai._vectorizer_errors (id, recorded);

create or replace view ai.vectorizer_errors as
select e.id, e.message, e.details, e.recorded, v.name
from ai._vectorizer_errors e
left join ai.vectorizer v on e.id = v.id;
comment on view ai.vectorizer_errors is 'Errors of all vectorizers, with their names.';
