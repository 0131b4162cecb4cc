//! The real side: PostgreSQL, with the schema of this repository.

use std::sync::Arc;
use std::time::Duration;

use ::postgres::Client;
use pgai_core::{Plan, Query, Rows, Settings, session_settings};

use super::{Line, Side};
use crate::hand::{Hand, execute};
use crate::postgres::{Database, Server};
use crate::world::Edit;

/// A source `t (id, body)` in a database of its own, with one vectorizer.
pub struct Real {
    // Dropped before the database is.
    application: Client,
    worker: Client,
    plan: Arc<Plan>,
    /// The statement that brings all rows.
    contents: String,
    _database: Database,
}

impl Real {
    /// One whose vectors go to a column of the source or, a vector for each word, to a store. A
    /// claim takes `rows` items.
    ///
    /// # Panics
    /// If the schema cannot be installed.
    #[must_use]
    pub fn new(is_column: bool, rows: usize) -> Self {
        let database = Server::shared().database();
        database.install();
        let mut application = database.client();
        let (chunking, destination, vector, store) = if is_column {
            ("ai.chunking_none()", "ai.destination_column('v')", "v", "")
        } else {
            (
                "ai.chunking_character_text_splitter(3, 0, ' ')",
                "ai.destination_table(target_table => 's')",
                "null",
                STORE,
            )
        };
        application
            .batch_execute(&format!(
                "create table t (id int primary key, body text);
                 select ai.create_vectorizer('t', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('stub', 2), chunking => {chunking},
                   destination => {destination})"
            ))
            .expect("creating a vectorizer");
        let mut settings = Settings::new("asked for its plan");
        settings.limits.rows = rows;
        let mut hand = Hand::with(database.client(), 0, settings);
        let (_, claim) = hand.until(|query| matches!(query, Query::Claim { .. }));
        let Query::Claim { plan, .. } = claim else {
            unreachable!("a claim was waited for");
        };
        let mut worker = database.client();
        worker
            .batch_execute(session_settings())
            .expect("the settings of a session");
        Self {
            application,
            worker,
            plan,
            contents: CONTENTS
                .replace("{vector}", vector)
                .replace("{store}", store),
            _database: database,
        }
    }

    /// The plan of the vectorizer's statements.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }

    /// Empties all tables.
    ///
    /// # Panics
    /// If they cannot be emptied.
    pub fn clear(&mut self) {
        self.application
            .batch_execute("truncate t; truncate ai._vectorizer_lease_1")
            .expect("emptying the tables");
    }
}

impl Side for Real {
    /// Items that one statement queues have no order among each other: here they get the order of
    /// their keys.
    fn edit(&mut self, edit: &Edit) {
        let mut transaction = self.application.transaction().expect("a transaction");
        let written = match edit {
            Edit::Put { key, text } => transaction.execute(PUT, &[key, text]),
            Edit::Delete { key } => transaction.execute(DELETE, &[key]),
            Edit::DeleteAndInsert { key, text } => {
                transaction.execute(DELETE_AND_INSERT, &[key, text])
            }
            Edit::Damage { nth } => {
                let nth = i64::try_from(*nth).expect("a small number");
                transaction.execute(DAMAGE, &[&nth])
            }
            Edit::ChangeKey { from, to } => transaction.execute(CHANGE_KEY, &[from, to]),
        };
        written.expect("an application's statement");
        let ordered = transaction.execute(ORDER, &[]);
        ordered.expect("items can be put in order");
        transaction.commit().expect("an application's commit");
    }

    fn run(&mut self, query: &Query) -> Rows {
        execute(&mut self.worker, query).expect("a worker's statement")
    }

    /// The clock goes on as it does, so leases grow older.
    fn pass(&mut self, time: Duration) {
        let age = "update ai._vectorizer_lease_1 set _until = _until - $1 * interval '1 second'";
        self.application
            .execute(age, &[&time.as_secs_f64()])
            .expect("leases grow old");
    }

    fn contents(&mut self) -> Vec<Line> {
        let rows = self.application.query(&self.contents, &[]);
        let rows = rows.expect("the tables can be read");
        rows.iter()
            .map(|row| Line::new(row.get(0), row.get(1)))
            .collect()
    }
}

const PUT: &str = "insert into t (id, body) values ($1::bigint, $2)
  on conflict (id) do update set body = excluded.body";

const DELETE: &str = "delete from t where id = $1::bigint";

/// The count makes the deletion come first.
const DELETE_AND_INSERT: &str = "with gone as (delete from t where id = $1::bigint returning id)
  insert into t (id, body) select $1::bigint, $2 from (select count(*) from gone)";

const CHANGE_KEY: &str = "update t set id = $2::bigint
  where id = $1::bigint and not exists (select from t where id = $2::bigint)";

const DAMAGE: &str = "with place as (
    select id, chunk_seq, row_number() over (order by id, chunk_seq) - 1 as n, count(*) over () as all
    from s join ai._vectorizer_q_1 using (id) join ai._vectorizer_lease_1 using (id)
  )
  delete from s using place
  where s.id = place.id and s.chunk_seq = place.chunk_seq and place.n = $1 % place.all";

const ORDER: &str = "update ai._vectorizer_q_1
  set queued_at = now() + id * interval '1 microsecond' where queued_at > now()";

/// In the words and in the order of the model's.
const CONTENTS: &str = "select line, generation from (
  select 1, id, 0, format('source %s: %s; %s', id, body, {vector}), null::bigint from t
  union all
  select 2, row_number() over (order by queued_at), 0,
    format('queue %s: %s retries', id, loading_retries), _generation
  from ai._vectorizer_q_1
  union all
  select 3, id, 0,
    format('lease %s: %s, %s, %s, %s', id, _claim, _attempts, _failures,
      case when _until > clock_timestamp() then 'live' else 'expired' end),
    _generation
  from ai._vectorizer_lease_1
  union all
  select 4, id, 0, format('failed %s: %s', id, failure_reason), null
  from ai._vectorizer_q_failed_1
  {store}) c(part, first, second, line, generation)
order by part, first, second";

const STORE: &str = "union all
  select 5, id, chunk_seq, format('store %s, %s: %s; %s', id, chunk_seq, chunk, embedding), null from s";
