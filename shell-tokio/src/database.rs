//! PostgreSQL through sqlx: statements, notifications, the installation.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{
    BUILD_SETTINGS, Binary, CHANNEL, DbError, IndexBuild, POOLS_STATEMENTS, Param, Query, Rows,
    SESSION_VALUE, refuses_options, refuses_transactions, session_settings, transaction_settings,
};
use shell_common::program::seed;
use shell_common::target::Target;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnection, PgDatabaseError, PgListener, PgPoolOptions, PgRow,
    PgSeverity, PgTypeInfo,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Postgres, Row as _, Type};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use crate::line;

/// The maximum number of concurrent statements; further ones wait.
const CONNECTIONS_MAX: usize = 4;

/// The timeout of a check of the listening connection.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// The server ends a statement after 60 seconds. If it has not answered after this timeout, it is
/// gone.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(70);

/// The pause between two attempts to listen.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// The same behind a pooler, where listening is useless: the worker polls.
const POOLED_PAUSE: Duration = Duration::from_secs(600);

/// SQLSTATE `invalid_sql_statement_name`.
const STATEMENT_LOST: &str = "26000";

/// Why a connection cannot listen.
const POOLED: &str = "the connection has no session of its own";

/// The interval at which an idle listening connection is checked.
const LISTEN_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// A few connections, each opened at first use.
#[derive(Debug)]
pub struct Database {
    target: Arc<Target>,
    idle: Mutex<Vec<Connection>>,
    turns: Semaphore,
}

/// A connection for statements.
#[derive(Debug)]
struct Connection {
    sql: PgConnection,
    /// Whether it has a session of its own: not so behind a pooler.
    is_own: bool,
}

impl Database {
    /// Opens no connection yet.
    #[must_use]
    pub fn new(target: Arc<Target>) -> Self {
        Self::with_connections(target, CONNECTIONS_MAX)
    }

    /// With at most so many connections.
    #[must_use]
    pub fn with_connections(target: Arc<Target>, connections_max: usize) -> Self {
        Self {
            target,
            idle: Mutex::default(),
            turns: Semaphore::new(connections_max),
        }
    }

    /// Runs a statement in a transaction of its own.
    ///
    /// # Errors
    /// If PostgreSQL returns an error, or if the outcome is unknown.
    pub async fn answer(&self, query: &Query) -> Result<Rows, DbError> {
        // The semaphore is never closed; without a turn the statement would only be early.
        let _turn = self.turns.acquire().await;
        let answer = within(STATEMENT_TIMEOUT, "the statement", self.ask(query)).await;
        if let Err(DbError { sqlstate: None, .. }) = answer {
            self.drop_idle().await;
        }
        answer
    }

    /// A broken connection is dropped, and so is one whose answer is no longer awaited.
    async fn ask(&self, query: &Query) -> Result<Rows, DbError> {
        let idle = self.idle.lock().await.pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.target).await?,
        };
        let answer = match query.held() {
            _ if !connection.is_own => ask_pooler(&mut connection.sql, query).await,
            None => {
                statement(query.sql(), query)
                    .fetch_all(&mut connection.sql)
                    .await
            }
            Some((declare, fetch)) => {
                match statement(declare, query).execute(&mut connection.sql).await {
                    // The session goes if this fails, whatever the reason.
                    Ok(_) => match sqlx::raw_sql(fetch).fetch_all(&mut connection.sql).await {
                        Ok(rows) => Ok(rows),
                        Err(error) => {
                            self.drop_idle().await;
                            return Err(db_error(&error));
                        }
                    },
                    Err(error) => Err(error),
                }
            }
        };
        if answer.as_ref().err().is_none_or(leaves_the_session) {
            self.idle.lock().await.push(connection);
        } else {
            self.drop_idle().await;
        }
        answer
            .and_then(|rows| rows.iter().map(texts).collect())
            .map_err(|error| db_error(&error))
    }

    /// Drops idle connections: the cause that ended one session has probably ended the others,
    /// too.
    async fn drop_idle(&self) {
        self.idle.lock().await.clear();
    }
}

/// Runs a statement behind a pooler: in a transaction with settings of its own, and without a name.
///
/// If a parameter has a type that the connection has not met yet, such as pgvector's, sqlx asks the server about
/// the type after it has sent the statement, and a statement without a name does not outlive that. Nothing has
/// been done then, and the second time the type is known.
async fn ask_pooler(sql: &mut PgConnection, query: &Query) -> sqlx::Result<Vec<PgRow>> {
    let answer = ask_pooler_once(sql, query).await;
    let is_lost = |error: &PgDatabaseError| error.code() == STATEMENT_LOST;
    match answer {
        Err(error) if postgres_error(&error).is_some_and(is_lost) => {
            ask_pooler_once(sql, query).await
        }
        answer => answer,
    }
}

async fn ask_pooler_once(sql: &mut PgConnection, query: &Query) -> sqlx::Result<Vec<PgRow>> {
    sqlx::raw_sql(transaction_settings())
        .execute(&mut *sql)
        .await?;
    let rows = statement(query.sql(), query)
        .persistent(false)
        .fetch_all(&mut *sql)
        .await;
    let end = if rows.is_ok() { "commit" } else { "rollback" };
    let ended = sqlx::raw_sql(end).execute(sql).await;
    let rows = rows?;
    ended.map(|_| rows)
}

/// Listens on the core's channel while the receiver exists. Sends the payload of every
/// notification, and `None` whenever listening starts, because notifications may have been
/// missed.
#[must_use]
pub fn listen(target: Arc<Target>) -> mpsc::Receiver<Option<String>> {
    let (wakes, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        if target.is_pooled {
            // There is nothing to hear, and the channel must stay open.
            wakes.closed().await;
        }
        while !wakes.is_closed() {
            // Statements meet the same trouble, and the core tells of it.
            let Err(trouble) = listen_once(&target, &wakes).await;
            let is_pooled = refuses_options(&trouble.message) || trouble.message.contains(POOLED);
            sleep(if is_pooled {
                POOLED_PAUSE
            } else {
                LISTEN_PAUSE
            })
            .await;
        }
    });
    receiver
}

async fn listen_once(
    target: &Target,
    wakes: &mpsc::Sender<Option<String>>,
) -> Result<Infallible, DbError> {
    let nonce = seed();
    let listening = |options| async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !has_own_session(connection, nonce).await.unwrap_or(false) {
                        return Err(sqlx::Error::Configuration(POOLED.into()));
                    }
                    connection.execute(session_settings()).await.map(drop)
                })
            })
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    let mut listener = line::reach(target, Some(nonce), listening, message)
        .await
        .map_err(DbError::unanswered)?;
    let gone = |_| DbError::unanswered("the worker has ended");
    wakes.send(None).await.map_err(gone)?;
    loop {
        match timeout(LISTEN_CHECK_INTERVAL, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                let payload = notification.payload().to_owned();
                wakes.send(Some(payload)).await.map_err(gone)?;
            }
            Ok(Ok(None)) => return Err(DbError::unanswered("the connection was lost")),
            Ok(Err(error)) => return Err(connect_error(&error)),
            // A broken network is noticed only by sending something.
            Err(_silence) => {
                let check = async {
                    listener
                        .execute("")
                        .await
                        .map_err(|error| connect_error(&error))
                };
                within(CHECK_TIMEOUT, "the check", check).await?;
            }
        }
    }
}

/// Runs a statement that may take hours, on a connection of its own.
///
/// # Errors
/// If PostgreSQL returns an error, or if the outcome is unknown.
pub async fn build(target: &Target, build: IndexBuild) -> Result<(), DbError> {
    let Connection { mut sql, is_own } = connect(target).await?;
    if is_own {
        let settings = sql.execute(BUILD_SETTINGS).await;
        settings.map_err(|error| connect_error(&error))?;
    }
    // The core writes it, with quoted identifiers.
    let statement = sqlx::raw_sql(AssertSqlSafe(build.sql));
    let built = statement.execute(&mut sql).await;
    built.map(drop).map_err(|error| db_error(&error))
}

/// Runs a script as one transaction and returns the database's name.
///
/// # Errors
/// PostgreSQL's message.
pub async fn install(target: &Target, script: &'static str) -> Result<String, DbError> {
    let connecting = |options| async move { PgConnection::connect_with(&options).await };
    let mut connection = line::reach(target, None, connecting, message)
        .await
        .map_err(DbError::unanswered)?;
    // Several statements in one message are one transaction.
    connection
        .execute(script)
        .await
        .map_err(|error| db_error(&error))?;
    let name = sqlx::query_scalar("select current_database()::text");
    name.fetch_one(&mut connection)
        .await
        .map_err(|error| db_error(&error))
}

async fn connect(target: &Target) -> Result<Connection, DbError> {
    let nonce = seed();
    let is_pooled = target.is_pooled;
    match open(target, Some(nonce).filter(|_| !is_pooled)).await {
        Ok(sql) if is_pooled => return Ok(Connection { sql, is_own: false }),
        Ok(mut sql) => {
            let is_own = has_own_session(&mut sql, nonce).await;
            if is_own.map_err(DbError::unanswered)? {
                let settings = sql.execute(session_settings()).await;
                settings.map_err(|error| connect_error(&error))?;
                return Ok(Connection { sql, is_own: true });
            }
        }
        Err(reason) if refuses_options(&reason) => {}
        Err(reason) => return Err(DbError::unanswered(reason)),
    }
    let sql = open(target, None).await.map_err(DbError::unanswered)?;
    Ok(Connection { sql, is_own: false })
}

/// Connects, with the option that shows whether the session is the connection's own.
async fn open(target: &Target, nonce: Option<u64>) -> Result<PgConnection, String> {
    let connecting = |options| async move {
        let mut connection = PgConnection::connect_with(&options).await?;
        if target.url.read_write && is_read_only(&mut connection).await? {
            return Err(sqlx::Error::Configuration(
                "the server takes no writes".into(),
            ));
        }
        Ok(connection)
    };
    line::reach(target, nonce, connecting, message).await
}

/// Whether the option of the connection has reached the session.
async fn has_own_session(sql: &mut PgConnection, nonce: u64) -> Result<bool, String> {
    // A simple query: a statement with a name would stay in the session.
    let row = sqlx::raw_sql(SESSION_VALUE).fetch_one(sql).await;
    let row = row.map_err(|error| message(&error))?;
    let value: Option<String> = row.try_get(0).map_err(|error| message(&error))?;
    Ok(value == Some(nonce.to_string()))
}

async fn is_read_only(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let recovers = sqlx::raw_sql("select pg_is_in_recovery()::text");
    let row = recovers.fetch_one(connection).await?;
    Ok(row.try_get::<String, _>(0)? == "true")
}

/// sqlx keeps the statement prepared under its text.
fn statement<'a>(sql: &str, query: &'a Query) -> sqlx::query::Query<'a, Postgres, PgArguments> {
    // The core plans its statements with quoted identifiers, and values only as parameters.
    let statement = sqlx::query(AssertSqlSafe(sql.to_owned()));
    query
        .params()
        .into_iter()
        .fold(statement, |statement, param| match param {
            Param::Binary(binary) => statement.bind(Raw(binary)),
            Param::Int(number) => statement.bind(number),
            Param::Ints(numbers) => statement.bind(numbers),
            Param::Text(text) => statement.bind(text),
            Param::Texts(texts) => statement.bind(texts),
        })
}

/// A value in PostgreSQL's binary format, from the core.
struct Raw(Binary);

impl Type<Postgres> for Raw {
    /// Unknown: each value has its own type.
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

    fn size_hint(&self) -> usize {
        self.0.bytes.len()
    }
}

fn texts(row: &PgRow) -> sqlx::Result<Vec<Option<String>>> {
    (0..row.len()).map(|column| row.try_get(column)).collect()
}

async fn within<T>(
    time: Duration,
    what: &str,
    work: impl Future<Output = Result<T, DbError>>,
) -> Result<T, DbError> {
    timeout(time, work).await.unwrap_or_else(|_| {
        Err(DbError::unanswered(format!(
            "{what} took longer than {} s",
            time.as_secs()
        )))
    })
}

/// Whether the session is usable after this error.
fn leaves_the_session(error: &sqlx::Error) -> bool {
    postgres_error(error).is_some_and(|error| error.severity() == PgSeverity::Error)
}

fn postgres_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref())
}

fn db_error(error: &sqlx::Error) -> DbError {
    match postgres_error(error) {
        Some(refusal) if refuses_transactions(refusal.message()) => {
            DbError::unanswered(POOLS_STATEMENTS)
        }
        Some(refusal) => DbError::refused(
            refusal.code(),
            refusal.message(),
            refusal.detail(),
            refusal.hint(),
        ),
        None => DbError::unanswered(error.to_string()),
    }
}

/// Without an SQLSTATE, even if the server sent one: an error while a connection is opened says
/// nothing about the statement.
fn connect_error(error: &sqlx::Error) -> DbError {
    DbError::unanswered(message(error))
}

fn message(error: &sqlx::Error) -> String {
    db_error(error).message
}
