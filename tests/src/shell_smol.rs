//! How to write a shell: a worker on smol, with sqlx towards PostgreSQL and ureq towards the
//! providers. It passes the same conformance suite as the two workers that are shipped.
//!
//! All of it is one loop and a set of things that will come back. The loop does what
//! [`Worker::poll`] says until that says `Wait`; then it waits for the first thing to come back,
//! hands it to the worker, and begins again. Nothing here knows what a status code or an SQLSTATE
//! means, when to try again, or how a table is named.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io::{ErrorKind, Read as _};
use std::pin::Pin;
use std::rc::Rc;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_signal::{Signal, Signals};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pgai_core::{
    Binary, CHANNEL, Call, CallTicket, DbError, DocumentError, Event, FileError, Intake,
    ModelError, Output, Param, Query, QueryTicket, Received, Reply, Request, RequestError,
    Response, Rows, Settings, Summary, Time, Worker, allowed_addresses, authorize, is_own_endpoint,
    session_settings,
};
use shell_common::monitoring::{Question, Questions};
use shell_common::vault::Environment;
use smol::Timer;
use smol::future::FutureExt as _;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgConnectOptions, PgConnection, PgDatabaseError, PgListener, PgPoolOptions,
    PgRow, PgTypeInfo,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgPool, Postgres, Row as _, Type};
use ureq::config::Config;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// What comes back. A ticket comes back exactly once, with an answer or an error. What can come
/// again brings itself along.
enum Input {
    Asked(Questions, Question),
    Heard(Option<PgListener>, Option<String>),
    Reply(CallTicket, Reply),
    Rows(QueryTicket, Result<Rows, DbError>),
    Signal(Signals),
    TimeOver,
}

/// Runs a worker to its end. `seed` must differ from worker to worker.
///
/// # Errors
/// If the URL or a setting is no good. Whatever happens later is the core's to judge.
pub async fn run(
    url: &str,
    settings: Settings,
    seed: u64,
    tell: impl Fn(&Event),
    questions: Questions,
) -> Result<Summary> {
    let options = PgConnectOptions::from_str(url)
        .context("the database URL is malformed")?
        .application_name("pgai-worker-rs");
    // Not for statements: when there is no server it waits for one, and that is the core's part.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options.clone());
    let sessions = Rc::new(Sessions {
        options,
        idle: RefCell::default(),
    });
    let agent = agent();
    let mut worker = Worker::new(settings, seed)?;
    let began = Instant::now();
    let now = || Time::new(began.elapsed());

    // Futures in a set, not tasks on an executor: if one panics, so does the worker, and no ticket
    // is lost without a word.
    let mut inputs = FuturesUnordered::<Pin<Box<dyn Future<Output = Input>>>>::new();
    inputs.push(Box::pin(listen(pool.clone(), None)));
    inputs.push(Box::pin(signal(Signals::new([Signal::Int, Signal::Term])?)));
    inputs.push(Box::pin(asked(questions)));
    let mut is_stopping = false;
    loop {
        let until = loop {
            match worker.poll(now()) {
                Output::Event(event) => tell(&event),
                Output::Query(ticket, query) => {
                    let sessions = Rc::clone(&sessions);
                    inputs.push(Box::pin(async move {
                        Input::Rows(ticket, answer_query(&sessions, &query).await)
                    }));
                }
                Output::Call(ticket, call) => {
                    let agent = agent.clone();
                    let reply = smol::unblock(move || reply(&agent, call));
                    inputs.push(Box::pin(async { Input::Reply(ticket, reply.await) }));
                }
                Output::Stopped(summary) => return Ok(summary),
                Output::Wait(until) => break until,
            }
        };
        // The set is never empty: the listener and the signals are always in it.
        let next = async { inputs.next().await.unwrap_or(Input::TimeOver) };
        match next.or(time_over(began, until)).await {
            Input::Asked(questions, question) => {
                question.answer(worker.snapshot(now()));
                inputs.push(Box::pin(asked(questions)));
            }
            Input::Heard(listener, payload) => {
                worker.wake(payload.as_deref());
                inputs.push(Box::pin(listen(pool.clone(), listener)));
            }
            Input::Reply(ticket, reply) => worker.handle_call(now(), ticket, reply),
            Input::Rows(ticket, rows) => worker.handle_rows(now(), ticket, rows),
            Input::Signal(_) if is_stopping => std::process::exit(130),
            Input::Signal(signals) => {
                is_stopping = true;
                worker.stop();
                inputs.push(Box::pin(signal(signals)));
            }
            Input::TimeOver => {}
        }
    }
}

/// Wake-ups are rounded up: a timer never fires early.
async fn time_over(began: Instant, until: Option<Time>) -> Input {
    match until.and_then(|until| began.checked_add(until.since_start())) {
        Some(until) => Timer::at(until).await,
        None => pending().await,
    };
    Input::TimeOver
}

async fn asked(mut questions: Questions) -> Input {
    let question = questions.next().await;
    Input::Asked(questions, question)
}

async fn signal(mut signals: Signals) -> Input {
    if signals.next().await.is_none() {
        pending::<()>().await;
    }
    Input::Signal(signals)
}

/// The database, and the connections to it that nobody is using.
struct Sessions {
    options: PgConnectOptions,
    idle: RefCell<Vec<PgConnection>>,
}

/// One statement, one transaction: outside of a block that is what PostgreSQL does by itself.
async fn answer_query(sessions: &Sessions, query: &Query) -> Result<Rows, DbError> {
    // The server ends a statement after 60 seconds; if it does not say so, it is gone.
    let silence = async {
        Timer::after(Duration::from_secs(70)).await;
        Err(sqlx::Error::Io(ErrorKind::TimedOut.into()))
    };
    let rows = ask(sessions, query).or(silence).await;
    rows.map_err(|error| db_error(&error))
}

/// A connection that met any trouble is not used again.
async fn ask(sessions: &Sessions, query: &Query) -> sqlx::Result<Rows> {
    let idle = sessions.idle.borrow_mut().pop();
    let mut connection = match idle {
        Some(connection) => connection,
        None => {
            let mut connection = PgConnection::connect_with(&sessions.options).await?;
            connection.execute(session_settings()).await?;
            connection
        }
    };
    // The text is the same for every query of its kind, and sqlx keeps it prepared.
    let mut statement = sqlx::query(AssertSqlSafe(query.sql().to_owned()));
    for param in query.params() {
        statement = match param {
            Param::Binary(binary) => statement.bind(Raw(binary)),
            Param::Int(number) => statement.bind(number),
            Param::Ints(numbers) => statement.bind(numbers),
            Param::Text(text) => statement.bind(text),
            Param::Texts(texts) => statement.bind(texts),
        };
    }
    let rows = statement.fetch_all(&mut connection).await?;
    sessions.idle.borrow_mut().push(connection);
    let texts = |row: &PgRow| (0..row.len()).map(|column| row.try_get(column)).collect();
    rows.iter().map(texts).collect()
}

/// A value that the core has written as PostgreSQL reads it.
struct Raw(Binary);

impl Type<Postgres> for Raw {
    /// Unknown: each value tells its own.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Raw {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.0.type_oid)))
    }
}

/// Only what PostgreSQL itself says has an SQLSTATE. Of everything else it is not known what became
/// of the statement.
fn db_error(error: &sqlx::Error) -> DbError {
    let refusal = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    match refusal {
        Some(refusal) => DbError::refused(
            refusal.code(),
            refusal.message(),
            refusal.detail(),
            refusal.hint(),
        ),
        None => DbError::unanswered(error.to_string()),
    }
}

/// The next notification's payload, or `None` when listening begins anew: something may have been
/// missed before.
async fn listen(pool: PgPool, listener: Option<PgListener>) -> Input {
    if let Some(mut listener) = listener
        && let Ok(Some(notification)) = listener.try_recv().await
    {
        let payload = notification.payload().to_owned();
        return Input::Heard(Some(listener), Some(payload));
    }
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&pool).await
            && listener.listen(CHANNEL).await.is_ok()
        {
            return Input::Heard(Some(listener), None);
        }
        Timer::after(Duration::from_secs(1)).await;
    }
}

/// Every status is an answer, a redirect is one, too, and no proxy is asked.
fn agent() -> ureq::Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls.build())
        .build();
    ureq::Agent::with_parts(config, DefaultConnector::default(), Names::default())
}

/// What comes of a call. This shell has no models of its own.
fn reply(agent: &ureq::Agent, call: Call) -> Reply {
    match call {
        Call::Build(_) => Reply::Build(Err(DbError::unanswered("worker-smol builds no indexes"))),
        Call::Compute(work) => Reply::Compute(Box::new(work.run())),
        Call::File(_) => {
            let reason = "worker-smol reads no files".to_owned();
            Reply::File(Err(FileError::Refused(reason)))
        }
        Call::Http(request) => Reply::Http(answer_request(agent, *request)),
        Call::Model(_) => {
            let reason = "worker-smol has no local models".to_owned();
            Reply::Model(Err(ModelError::Model(reason)))
        }
        Call::Parse(_) => {
            let reason = "worker-smol parses no documents".to_owned();
            Reply::Parse(Err(DocumentError::Machine(reason)))
        }
    }
}

/// The secret's value goes out through `authorize`; `Intake` sees to it that it does not come back.
fn answer_request(agent: &ureq::Agent, request: Request) -> Result<Received, RequestError> {
    let timeout = request.timeout;
    let (request, intake) = authorize(request, &Environment)?;
    let request = agent
        .configure_request(request)
        .timeout_global(Some(timeout))
        .build();
    let answer = read(agent, request, &intake);
    intake.take(answer)
}

/// No further than what was asked for can take.
fn read(
    agent: &ureq::Agent,
    request: http::Request<impl ureq::AsSendBody>,
    intake: &Intake,
) -> Result<Response, RequestError> {
    let (parts, body) = agent.run(request).map_err(request_error)?.into_parts();
    let bytes_max = intake.bytes_max(parts.status) as u64;
    let mut whole = vec![];
    let read = body.into_reader().take(bytes_max).read_to_end(&mut whole);
    read.map_err(|error| request_error(error.into()))?;
    Ok(Response::from_parts(parts, whole))
}

/// The system's resolver, with what the core allows of its answers.
#[derive(Debug, Default)]
struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &http::Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        if uri.host().is_some_and(is_own_endpoint) {
            return Ok(found);
        }
        let allowed = allowed_addresses(found.iter().copied())
            .map_err(|reason| std::io::Error::new(ErrorKind::ConnectionRefused, reason))?;
        let mut addresses = self.empty();
        for address in allowed {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

fn request_error(error: ureq::Error) -> RequestError {
    use ureq::Error::{ConnectionFailed, HostNotFound, Io, Timeout};
    let reason = error.to_string();
    if matches!(error, Timeout(_)) {
        RequestError::Timeout
    } else if matches!(error, ConnectionFailed | HostNotFound)
        || matches!(&error, Io(error) if error.kind() == ErrorKind::ConnectionRefused)
    {
        RequestError::Connect(reason)
    } else {
        RequestError::Broken(reason)
    }
}
