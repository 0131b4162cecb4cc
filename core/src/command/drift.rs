//! How `doctor` checks tables for differences: changes that fire no trigger, and a sample in which
//! source and store differ. The remedy of each is `resync`, or a step before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::doctor::Finding;
use super::table::grouped;
use super::{Ask, explained, field, key};
use crate::query::{DbError, Key, Param, Query, ReadRow, Rows, Unreadable, fields, first_key};
use crate::resync::{ComparedPiece, Different, ResyncQuery};
use crate::settings::Limits;
use crate::sql::Depth;
use crate::vectorizer::Profile;
use crate::worker::is_current;

/// Parameter: the name that the program was started with.
///
/// Returns one row for each table of a vectorizer's source whose changes fire no trigger: the vectorizer's name, the
/// problem, the remedy, and the severity. It checks the source itself, its partitions, and the tables that inherit
/// from it. Where rows come without a statement on the table itself (partitions, child tables, replicated changes of
/// a subscription), the triggers must be row-level triggers.
///
/// The triggers are identified by their functions. Bits of `tgtype`: 1 row, 4 insert, 8 delete, 16
/// update, 32 truncate.
pub(super) const TRIGGERS: &str = "\
with recursive v as (
  select x.*, c.oid as source, c.relkind, c.relpersistence,
    x.config #>> '{destination,implementation}' = 'table' as has_store
  from ai._vectorizers() x
  join pg_namespace n on n.nspname = x.source_schema
  join pg_class c on c.relnamespace = n.oid and c.relname = x.source_table
), member as (
  select v.id, v.source as oid, true as is_root from v
  union
  select m.id, i.inhrelid, false
  from member m join pg_inherits i on i.inhparent = m.oid
), seen as (
  select m.*, v.name, v.has_store, v.source, c.oid::regclass as relation, c.relkind, c.relispartition,
    not m.is_root or v.relkind = 'p' or exists (
      select from pg_inherits i where v.source in (i.inhrelid, i.inhparent)) as needs_rows,
    exists (select from pg_subscription_rel r where r.srrelid = m.oid) as is_subscribed,
    t.by_statement, t.by_row, t.in_replica, t.off, t.truncates
  from member m
  join v on v.id = m.id
  join pg_class c on c.oid = m.oid and c.relkind in ('r', 'p')
  cross join lateral (
    select
      coalesce(bit_or(t.tgtype) filter (where t.tgenabled in ('O', 'A') and t.tgtype & 33 = 0), 0) as by_statement,
      coalesce(bit_or(t.tgtype) filter (where t.tgenabled in ('O', 'A') and t.tgtype & 1 = 1), 0) as by_row,
      coalesce(bit_or(t.tgtype) filter (where t.tgenabled in ('R', 'A') and t.tgtype & 1 = 1), 0) as in_replica,
      string_agg(format('alter table %s enable %strigger %I', m.oid::regclass,
          case when t.tgtype & 33 = 0 then '' when f.proname = v.trigger_name || '_row' then 'replica '
            else 'always ' end, t.tgname), '; ' order by t.tgname)
        filter (where t.tgenabled = 'D') as off,
      coalesce(bool_or(t.tgtype & 32 = 32 and t.tgenabled in ('O', 'A')), false) as truncates
    from pg_trigger t
    join pg_proc f on f.oid = t.tgfoid
    where t.tgrelid = m.oid and not t.tgisinternal and starts_with(f.proname, v.trigger_name)
      and substr(f.proname, length(v.trigger_name) + 1) ~ '^(_|$)'
  ) t
), judged as (
  select s.*, case
    when s.off is not null then 'disabled'
    when (s.by_row | case when s.needs_rows then 0 else s.by_statement end) & 28 <> 28 then
      case when (s.by_row | s.by_statement) & 28 = 28 then 'statement' else 'missing' end
    when s.is_subscribed and s.in_replica & 28 <> 28 then 'replica'
    when s.has_store and not s.truncates and s.relkind = 'r' then 'truncate'
    end as fault
  from seen s
)
select j.name,
  case j.fault
    when 'disabled' then format('triggers on %s are disabled: its changes are not noticed', j.relation)
    when 'statement' then format('the triggers on %s see statements on itself only, and rows come to it by others:'
      ' those are not noticed', j.relation)
    when 'missing' then format('%s lacks triggers: its changes are not noticed', j.relation)
    when 'replica' then format('a subscription writes to %s, and the triggers do not see what it applies', j.relation)
    when 'truncate' then format('a TRUNCATE of %s is not noticed', j.relation)
  end,
  case j.fault
    when 'disabled' then j.off
    else format('select ai.refresh_vectorizer(%L)', j.name)
  end || format('; then: %s resync %s', $1::text, j.name),
  'wrong'
from judged j
where j.fault is not null
union all
select v.name, format('%s is unlogged: a crash of the server empties it, and its chunks stay', v.source::regclass),
  format('after a crash: %s resync %s', $1::text, v.name), 'note'
from v
where v.relpersistence = 'u' and v.has_store and exists (
  select from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = v.config #>> '{destination,target_schema}'
    and c.relname = v.config #>> '{destination,target_table}' and c.relpersistence <> 'u')
order by 1, 2";

pub(super) fn triggers(rows: &Rows) -> Vec<Finding> {
    let findings = rows.iter().map(|row| {
        let what = format!("the vectorizer {}: {}", field(row, 0), field(row, 1));
        match field(row, 3) {
            "note" => Finding::note(what, field(row, 2)),
            _ => Finding::wrong(what, field(row, 2)),
        }
    });
    let mut findings: Vec<_> = findings.collect();
    if findings.is_empty() {
        findings.push(Finding::good("triggers notice all changes of all sources"));
    }
    findings
}

/// Parameter: a vectorizer. Returns 1 if its rows are being compared with what is stored, or will be, and 0 otherwise.
const REQUESTED: &str = "\
select count(*)::text from ai.vectorizer_resync r
where r.vectorizer_id = $1::bigint and r.state in ('waiting', 'running')";

/// Rows in one piece of a sample.
const PIECE: usize = 1_000;
/// Pieces that are compared after each start.
const PIECES: usize = 4;
/// Rows without chunks whose texts are read: a text of white space only has no chunks.
const READ_MAX: usize = 100;
const READ_BYTES: usize = 4 * 1024 * 1024;

/// Compares a sample of a source with what is stored for it, by keys: from the beginning, near the end,
/// and from a few places in between.
#[derive(Debug)]
pub(super) struct Sample {
    profile: Arc<Profile>,
    limits: Limits,
    /// The name that the program was started with.
    program: String,
    stage: Stage,
    starts: Vec<Option<Key>>,
    after: Option<Key>,
    bound: Option<Key>,
    pieces: usize,
    compared: u64,
    differing: BTreeMap<Key, Different>,
    seen: BTreeSet<Option<Key>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Starts,
    Bound,
    Compare,
    Read,
    /// Whether a resync will find what differs.
    Requested,
}

impl Sample {
    pub(super) const fn new(profile: Arc<Profile>, limits: Limits, program: String) -> Self {
        Self {
            profile,
            limits,
            program,
            stage: Stage::Starts,
            starts: vec![],
            after: None,
            bound: None,
            pieces: 0,
            compared: 0,
            differing: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn begin(&self) -> Ask {
        let from_the_end = i64::try_from(PIECE * PIECES).unwrap_or(i64::MAX);
        let sql = self.profile.plan.resync.starts();
        Ask::query(sql, vec![Param::Int(from_the_end)])
    }

    /// Takes an answer, and returns the next action or the finding.
    pub(super) fn next(&mut self, rows: Result<Rows, DbError>) -> Result<Ask, Option<Finding>> {
        let name = self.profile.name.clone();
        let failed = |error: DbError| {
            let what = format!("the vectorizer {name}: source and store cannot be compared");
            Some(Finding::wrong(what, explained(&error)))
        };
        let unreadable = |error: Unreadable| failed(error.into());
        let rows = rows.map_err(failed)?;
        let columns = self.profile.plan.key_columns;
        match self.stage {
            Stage::Starts => {
                self.starts = fields(rows).map(|mut row| row.key(columns)).collect();
                self.starts.push(None);
                self.start()
            }
            Stage::Bound => {
                self.bound = first_key(rows, columns);
                self.stage = Stage::Compare;
                Ok(self.compare())
            }
            Stage::Compare => {
                self.take(ComparedPiece::new(rows, columns).map_err(unreadable)?);
                self.pieces += 1;
                self.after = self.bound.take();
                if self.after.is_none() || self.pieces >= PIECES {
                    self.start()
                } else {
                    Ok(self.bound())
                }
            }
            Stage::Read => {
                let columns = self.profile.format.columns().len();
                let rows = ReadRow::all(rows, columns).map_err(unreadable)?;
                self.judge(rows)
            }
            Stage::Requested => {
                let requested = rows.first().and_then(|row| row.first()?.as_deref());
                Err(self.report(requested != Some("0")))
            }
        }
    }

    /// The next start, or the texts of rows without chunks, or the end.
    fn start(&mut self) -> Result<Ask, Option<Finding>> {
        while let Some(start) = self.starts.pop() {
            if self.seen.insert(start.clone()) {
                (self.after, self.pieces) = (start, 0);
                return Ok(self.bound());
            }
        }
        let keys = self.missing();
        if keys.is_empty() {
            return self.end();
        }
        self.stage = Stage::Read;
        Ok(Ask::Query(Query::Read {
            plan: Arc::clone(&self.profile.plan),
            keys,
            bytes_max: READ_BYTES,
        }))
    }

    fn missing(&self) -> Vec<Key> {
        let missing = self
            .differing
            .iter()
            .filter(|(_, why)| **why == Different::Missing);
        let keys = missing.map(|(key, _)| key.clone());
        // That a text has no chunks is known without a provider or a model, unless it is in a document.
        if self.profile.plan.resync.stores_texts() && self.profile.documents.is_none() {
            keys.take(READ_MAX).collect()
        } else {
            vec![]
        }
    }

    fn bound(&mut self) -> Ask {
        self.stage = Stage::Bound;
        let plan = Arc::clone(&self.profile.plan);
        Ask::Query(Query::Resync(ResyncQuery::Bound {
            sql: plan.resync.bound(self.after.is_none()),
            plan,
            after: self.after.clone(),
            rows: PIECE,
            chunks: PIECE * 2,
        }))
    }

    fn compare(&self) -> Ask {
        let plan = Arc::clone(&self.profile.plan);
        let (is_first, is_last) = (self.after.is_none(), self.bound.is_none());
        Ask::Query(Query::Resync(ResyncQuery::Compare {
            sql: plan.resync.compare(Depth::Keys, is_first, is_last),
            plan,
            depth: Depth::Keys,
            after: self.after.clone(),
            to: self.bound.clone(),
        }))
    }

    fn take(&mut self, piece: ComparedPiece) {
        self.compared += u64::try_from(piece.rows).unwrap_or_default();
        let found = piece.different.into_iter().map(|(why, key)| (key, why));
        self.differing.extend(found);
    }

    /// Ignores rows whose text makes no chunks.
    fn judge(&mut self, rows: Vec<ReadRow>) -> Result<Ask, Option<Finding>> {
        let keys = self.missing();
        for row in rows {
            let key = row.number.checked_sub(1).and_then(|at| keys.get(at));
            if let Some(key) = key
                && is_current(&self.profile, &row, self.limits, &mut 0)
            {
                self.differing.remove(key);
            }
        }
        self.end()
    }

    /// If something differs, the question whether workers know it: a new generation is filled by a resync.
    fn end(&mut self) -> Result<Ask, Option<Finding>> {
        if self.differing.is_empty() {
            return Err(None);
        }
        self.stage = Stage::Requested;
        Ok(Ask::query(REQUESTED, vec![Param::Int(self.profile.id)]))
    }

    fn report(&self, is_requested: bool) -> Option<Finding> {
        let name = &self.profile.name;
        let (first, _) = self.differing.first_key_value()?;
        let count = |wanted: &[Different]| {
            let all = self.differing.values();
            let count = all.filter(|why| wanted.contains(why)).count();
            grouped(u64::try_from(count).unwrap_or(u64::MAX))
        };
        let what = format!(
            "the vectorizer {name}: of a sample of {} rows, {} lack chunks, and chunks of {} keys are left \
             over, such as of the key {}",
            grouped(self.compared),
            count(&[Different::Missing]),
            count(&[Different::Orphan, Different::Stale]),
            key::text(&first.0)
        );
        let program = &self.program;
        Some(if is_requested {
            let known = format!("{what}; a resync is in progress, or waits for a worker");
            Finding::note(known, format!("{program} status shows how far it is"))
        } else {
            Finding::wrong(what, format!("{program} resync {name}"))
        })
    }
}
