//! The sans-IO core of the worker that keeps vector embeddings in PostgreSQL in sync with their rows.
//!
//! A *vectorizer* says which column of which source table is split into chunks, how they are
//! formatted, which provider embeds them and where the vectors are stored. Triggers queue the keys of
//! changed rows. A [`Worker`] claims them, reads the rows, calls the provider for new chunks, and
//! commits.
//!
//! **In scope**: what to request from the database and the providers, and when; what every answer
//! means; retries, pauses, leases, fairness; the command line; log lines. **Out of scope**:
//! performing these actions. The core has no IO, clock, randomness, threads or async. A *shell*
//! does what [`Worker::poll`] returns and hands the answers back. No shell knows what a status
//! code or an SQLSTATE means, when to retry, or how a table is named.
//!
//! # Between core and shell
//!
//! ```text
//!            poll(now) ──────────────▶ Event(event)               tell the operator
//!                │                     Query(ticket, query) ───▶ PostgreSQL ─────┐
//!   ┌────────┐   │                     Call(ticket, call) ─────▶ provider, model,│
//!   │ Worker │   │                                               another thread ┐│
//!   │        │◀──┼── handle_call(now, ticket, reply) ◀─────────────────────────┘│
//!   │        │◀──┼── handle_rows(now, ticket, rows) ◀───────────────────────────┘
//!   └────────┘◀──┼── wake(payload)                              ◀── NOTIFY, or a new connection
//!            ◀───┼── stop()                                     ◀── SIGTERM, SIGINT
//!                └──────────────────▶ Wait(until)                 until then, or until one of these
//!                                     Stopped(summary)            the end
//! ```
//!
//! The contract of a shell:
//! * It calls `poll` until that returns `Wait` or `Stopped`. It calls `poll` again after every
//!   input and when the time of `Wait` has come. Extra calls do no harm; there is no other rule
//!   of order.
//! * It returns every ticket exactly once, with an answer or an error, unless the worker has
//!   returned `Stopped`.
//! * It runs each statement in one transaction, on a connection where [`session_settings`] ran
//!   first; behind a pooler, [`transaction_settings`] before each statement. If the outcome of a
//!   statement is unknown (the connection broke), it returns a [`DbError`] without SQLSTATE.
//! * It enforces a request's timeout, follows no redirects, and adds secrets with [`authorize`]
//!   only. It connects to [`allowed_addresses`] only, and to what [`is_own_endpoint`] in a URL. It
//!   reads no more of an answer than the request's [`Intake`] says, and passes the answer through it.
//!   A shell without local models answers [`ModelError::Model`] with a text that says how to get them.
//! * It runs [`Work`] with [`Work::run`] outside of the polling thread, because this takes up to a
//!   second or two.
//! * It rounds wake-up times up, never down. It never retries or interprets anything itself.
//! * It listens on [`CHANNEL`], and calls `wake(None)` when it may have missed notifications.
//!
//! `tests/src/shell_smol.rs` is a short example of a shell.
//!
//! # One row, from the queue to the store
//!
//! ```
//! # use std::time::Duration;
//! # use pgai_core::{Call, Output, Query, Reply, Settings, Time, Worker};
//! let text = |text: &str| Some(text.to_owned());
//! let mut worker = Worker::new(Settings { once: true, ..Settings::new("example 1") }, 42)?;
//! let now = Time::ZERO;
//! let mut embedded = vec![];
//! let mut committed = vec![];
//! let mut is_queued = true;
//! let summary = loop {
//!     match worker.poll(now) {
//!         Output::Event(event) => println!("{}", event.message()),
//!         Output::Query(ticket, query) => {
//!             // A database with one vectorizer and one queued row, played by hand.
//!             let rows = match &query {
//!                 Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
//!                 Query::StartWorker { .. } => vec![vec![text("d9a6")]],
//!                 Query::LoadVectorizers { .. } => vec![vec![text("1"), text(DEFINITION)]],
//!                 Query::Claim { .. } if std::mem::take(&mut is_queued) => {
//!                     // key, generation, attempts, expired claims, queued at
//!                     vec![vec![text("7"), text("100"), text("1"), text("1"), text("now")]]
//!                 }
//!                 Query::Claim { .. } => vec![],
//!                 Query::Read { .. } => {
//!                     // number, found, text, stored chunks
//!                     vec![vec![text("1"), text("true"), text("hello"), None]]
//!                 }
//!                 Query::Commit { rows, .. } => {
//!                     committed.extend(rows.clone());
//!                     vec![vec![text("1"), text("done")]]
//!                 }
//!                 Query::Waiting { .. } => vec![vec![text("0")]],
//!                 _ => vec![],
//!             };
//!             assert!(!query.sql().is_empty());
//!             worker.handle_rows(now, ticket, Ok(rows));
//!         }
//!         Output::Call(ticket, Call::Http(request)) => {
//!             embedded.push(String::from_utf8(request.http.body().clone())?);
//!             let answer = br#"{"embeddings": [[0.25, 0.5]]}"#.to_vec();
//!             let answer = http::Response::new(answer).into();
//!             worker.handle_call(now, ticket, Reply::Http(Ok(answer)));
//!         }
//!         Output::Call(..) => unreachable!("this vectorizer asks Ollama, and its row is short"),
//!         Output::Wait(_) => unreachable!("everything is answered at once"),
//!         Output::Stopped(summary) => break summary,
//!     }
//! };
//! assert_eq!(summary.rows, 1);
//! assert_eq!(embedded, [r#"{"input":["hello"],"model":"m"}"#]);
//! assert_eq!(committed[0].key.0, ["7"]);
//! assert_eq!(committed[0].chunks.len(), 1);
//! # const DEFINITION: &str = r#"{
//! #   "id": 1, "name": "blog", "disabled": false, "source_schema": "public", "source_table": "blog",
//! #   "source_pk": [{"attname": "id"}], "queue_schema": "ai", "queue_table": "_vectorizer_q_1",
//! #   "queue_failed_table": "_vectorizer_q_failed_1", "vector": {"schema": "public", "oid": 1, "array_oid": 2},
//! #   "lease_found": true, "queue_found": true,
//! #   "columns": [
//! #     {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
//! #     {"name": "body", "type": "text", "base": "text", "equals": null}],
//! #   "config": {
//! #     "loading": {"implementation": "column", "column_name": "body"},
//! #     "embedding": {"implementation": "ollama", "model": "m", "dimensions": 2},
//! #     "chunking": {"implementation": "none"},
//! #     "formatting": {"implementation": "python_template", "template": "$chunk"},
//! #     "destination": {"implementation": "table", "target_schema": "public", "target_table": "s"}
//! #   }}"#;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! [`options`](Command) and [`Settings`] hold the configuration. `command` contains the operator's commands, such as
//! `status` and `search` ([`Task`]), `serve` what `worker serve` answers ([`Exchange`]). `worker` contains the state machine: `claims` decides what to claim, `batch` is
//! the work for one claim, `commit_size` limits the size of a commit, `calls` holds what is in flight besides
//! statements, `requests` writes requests to providers, `verdicts` handles their answers, `accounts` limits the
//! requests, `usage` counts what they cost and `budgets` limits that, `blame` finds the cause of a rejection, `resync` compares a source with what is stored for it, `indexes` builds vector indexes,
//! `outage` handles providers that are down, `session` is the worker's registration in the database, `statements`
//! handles answers, `life` stops the worker. The other modules are pure: [`text`] chunks and formats, `reuse`
//! compares with what is stored, `provider` writes requests and interprets answers, `sql` plans statements, `retry`
//! computes backoff.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod address;
mod call;
mod command;
mod compute;
mod cut;
mod database_url;
mod document;
mod event;
mod index;
mod intake;
mod location;
pub mod log;
mod model;
mod nearest;
mod options;
mod output;
mod packing;
mod pooler;
mod provider;
mod query;
mod random;
mod request;
mod resync;
mod retry;
mod reuse;
mod rows;
mod serve;
mod settings;
mod snapshot;
mod span;
mod sql;
mod standing;
mod store;
pub mod text;
mod time;
mod tokens;
mod vectorizer;
mod worker;

pub use address::{allowed_addresses, is_own_endpoint, public_addresses};
pub use call::{Call, CallTicket, Reply};
pub use command::csv;
pub use command::{Answer, Ask, Inquiry, Report, Task};
pub use compute::{Done, Work};
pub use database_url::{ChannelBinding, DatabaseUrl, Host, Keepalives, SslMode, Tls, password_for};
pub use document::{
    Document, DocumentError, FileError, FileRead, FileRequest, FileVersion, Parsed, Parts,
};
pub use event::{Event, Level};
pub use index::{BUILD_SETTINGS, IndexBuild, IndexQuery};
pub use intake::{Intake, Vault, authorize};
pub use model::{ModelAnswer, ModelError, ModelRequest, Tokenizer, Wanted};
pub use options::{Command, Options, Parse, Usage};
pub use output::{Output, Summary};
pub use packing::Packing;
pub use pooler::{
    POOLS_STATEMENTS, SESSION_VALUE, refuses_options, refuses_transactions, session_option,
    transaction_settings,
};
pub use provider::Prices;
pub use query::{
    Binary, CheckedDocument, ChunkHash, ClaimId, CommitChunk, CommitRow, DbError, ErrorRecord,
    FailedRow, Heartbeat, Key, Param, Progress, Query, QueryTicket, Rows, UsageAddition,
    UsageEntry, session_settings,
};
pub use request::{
    AwsCredential, AwsKeys, AzureCredential, Credential, Received, Request, RequestError, Response,
    Secret, Token,
};
pub use resync::{ResyncCounts, ResyncQuery, ResyncStanding, ResyncState};
pub use serve::{
    Caller, Doing, Exchange, Serve, ServeLimits, Tokens, TokensError, not_allowed, open_page,
    refusal,
};
pub use settings::{
    AwsSource, AzureSecret, DocumentSettings, EntraProof, Limits, Secrets, Settings, SettingsError,
    StoreSettings,
};
pub use snapshot::{
    AccountSnapshot, Counts, DocumentCounts, Histogram, Snapshot, VectorizerSnapshot,
};
pub use span::{Attribute, Span, SpanKind};
pub use sql::{Depth, Plan};
pub use time::Time;
pub use vectorizer::MakerDigests;
pub use worker::{CHANNEL, Worker};
