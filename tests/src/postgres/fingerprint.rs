//! One short text for the schema `ai` of a database, to compare two of them.

use super::Database;

impl Database {
    /// The same in two databases whose schemas `ai` have the same functions, tables, columns,
    /// indexes, constraints and grants, but for those of single vectorizers.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    #[track_caller]
    pub fn fingerprint(&self) -> String {
        let parts = "
            select md5(string_agg(part, E'\\n' order by part collate \"C\")) from (
              select pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') as part
              from pg_proc p
              where p.pronamespace = 'ai'::regnamespace and p.proname !~ '^_vectorizer_src_trg'
              union all
              select concat(c.relname, c.relkind, c.relacl, a.attname, a.atttypid::regtype, a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid), pg_get_viewdef(c.oid))
              from pg_class c
              left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
              where c.relnamespace = 'ai'::regnamespace
              and c.relname !~ '^_vectorizer_(q|q_failed|lease|bell)_[0-9]'
              union all
              select pg_get_constraintdef(o.oid) || o.conname from pg_constraint o
              where o.connamespace = 'ai'::regnamespace and o.conname !~ '^_vectorizer_(q|lease)_'
            ) parts";
        let row = self.client().query_one(parts, &[]);
        row.expect("describing the schema ai").get(0)
    }
}
