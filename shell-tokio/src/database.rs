//! PostgreSQL through sqlx: statements, notifications, the installation.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::str::FromStr as _;
use std::time::Duration;

use pgai_core::{Binary, CHANNEL, DbError, Param, Query, Rows, session_settings};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgListener,
    PgPoolOptions, PgRow, PgSeverity, PgTypeInfo,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Postgres, Row as _, Type,
};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use crate::program::Failure;

/// How the sessions call themselves, unless the URL says otherwise.
const APPLICATION_NAME: &str = "pgai-worker-rs";

/// Statements run side by side; further ones wait for their turn.
const CONNECTIONS_MAX: usize = 4;

/// After this the server is not there. It includes the name's resolution and the handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The server ends a statement after 60 seconds: if it has not said so by now, there is no server.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(70);

/// Between two attempts to listen.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// A silent listening connection is asked this often whether it is still one.
const LISTEN_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Reads a URL; what it does not say comes from libpq's environment variables and its password file.
///
/// # Errors
/// If it is no URL of a PostgreSQL database. The message does not repeat the URL, which may hold a
/// password.
pub fn options(url: &str) -> Result<PgConnectOptions, Failure> {
    let wrong = |reason: String| {
        Failure::Usage(format!(
            "the database URL is malformed ({reason}); it looks like postgres://user:password@host:5432/name"
        ))
    };
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(wrong("it must begin with postgres://".to_owned()));
    }
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| wrong(root_cause(&error)))?
        .disable_statement_logging();
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name(APPLICATION_NAME),
    })
}

/// A few connections, each made when it is first needed.
#[derive(Debug)]
pub struct Database {
    options: PgConnectOptions,
    idle: Mutex<Vec<PgConnection>>,
    turns: Semaphore,
}

impl Database {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            idle: Mutex::default(),
            turns: Semaphore::new(CONNECTIONS_MAX),
        }
    }

    /// Runs a statement in a transaction of its own.
    ///
    /// # Errors
    /// If PostgreSQL refuses it, or if it is not known what became of it.
    pub async fn answer(&self, query: &Query) -> Result<Rows, DbError> {
        // The semaphore is never closed; without a turn the statement would only be early.
        let _turn = self.turns.acquire().await;
        let answer = within(STATEMENT_TIMEOUT, "the statement", self.ask(query)).await;
        if let Err(DbError { sqlstate: None, .. }) = answer {
            self.drop_idle().await;
        }
        answer
    }

    /// A connection that broke, or whose answer is not waited for, is dropped.
    async fn ask(&self, query: &Query) -> Result<Rows, DbError> {
        let idle = self.idle.lock().await.pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        let answer = statement(query).fetch_all(&mut connection).await;
        if answer.as_ref().err().is_none_or(leaves_the_session) {
            self.idle.lock().await.push(connection);
        } else {
            self.drop_idle().await;
        }
        answer
            .and_then(|rows| rows.iter().map(texts).collect())
            .map_err(db_error)
    }

    /// What ended one session has most likely ended the others, too.
    async fn drop_idle(&self) {
        self.idle.lock().await.clear();
    }
}

/// Listens on the core's channel for as long as the receiver lives: a payload for every
/// notification, and `None` whenever listening begins, because something may have been missed.
#[must_use]
pub fn listen(options: PgConnectOptions) -> mpsc::Receiver<Option<String>> {
    let (wakes, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        while !wakes.is_closed() {
            // Statements meet the same trouble, and the core tells of it.
            let Err(_trouble) = listen_once(&options, &wakes).await;
            sleep(LISTEN_PAUSE).await;
        }
    });
    receiver
}

async fn listen_once(
    options: &PgConnectOptions,
    wakes: &mpsc::Sender<Option<String>>,
) -> Result<Infallible, DbError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(session_settings()).await.map(drop) })
        })
        .connect_lazy_with(options.clone());
    let mut listener = within(CONNECT_TIMEOUT, "the connection", async {
        let mut listener = PgListener::connect_with(&pool)
            .await
            .map_err(connect_error)?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.map_err(connect_error)?;
        Ok(listener)
    })
    .await?;
    let gone = |_| no_answer("the worker has ended");
    wakes.send(None).await.map_err(gone)?;
    loop {
        match timeout(LISTEN_CHECK_INTERVAL, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                let payload = notification.payload().to_owned();
                wakes.send(Some(payload)).await.map_err(gone)?;
            }
            Ok(Ok(None)) => return Err(no_answer("the connection was lost")),
            Ok(Err(error)) => return Err(connect_error(error)),
            // A network that died without a word is noticed only by sending something.
            Err(_silence) => {
                let check = async { listener.execute("").await.map_err(connect_error) };
                within(CONNECT_TIMEOUT, "the check", check).await?;
            }
        }
    }
}

/// Runs a script as one transaction and returns the database's name.
///
/// # Errors
/// PostgreSQL's message.
pub async fn install(options: PgConnectOptions, script: &'static str) -> Result<String, DbError> {
    let mut connection = reach(&options, options.connect()).await?;
    // Several statements in one message are one transaction.
    connection.execute(script).await.map_err(db_error)?;
    let name = sqlx::query_scalar("select current_database()::text");
    name.fetch_one(&mut connection).await.map_err(db_error)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, DbError> {
    reach(options, async {
        let mut connection = PgConnection::connect_with(options).await?;
        connection.execute(session_settings()).await?;
        Ok(connection)
    })
    .await
}

/// Makes a connection in time, or says where that failed.
async fn reach(
    options: &PgConnectOptions,
    connecting: impl Future<Output = sqlx::Result<PgConnection>>,
) -> Result<PgConnection, DbError> {
    let connecting = async { connecting.await.map_err(connect_error) };
    let reached = within(CONNECT_TIMEOUT, "the connection", connecting).await;
    reached.map_err(|error| {
        let (host, port) = (options.get_host(), options.get_port());
        let at = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{host}:{port}"),
        };
        no_answer(format!("{at}: {}", error.message))
    })
}

/// sqlx keeps the statement prepared under its text.
fn statement(query: &Query) -> sqlx::query::Query<'_, Postgres, PgArguments> {
    // The core plans its statements with quoted identifiers, and values only as parameters.
    let statement = sqlx::query(AssertSqlSafe(query.sql().to_owned()));
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
        Err(no_answer(format!(
            "{what} took longer than {} s",
            time.as_secs()
        )))
    })
}

/// Whether the session goes on after this error.
fn leaves_the_session(error: &sqlx::Error) -> bool {
    postgres_error(error).is_some_and(|error| error.severity() == PgSeverity::Error)
}

fn postgres_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref())
}

fn db_error(error: sqlx::Error) -> DbError {
    DbError {
        sqlstate: postgres_error(&error).map(|refusal| refusal.code().to_owned()),
        message: message(&error),
    }
}

/// Without an SQLSTATE, although the server may have said one: what it refuses while a connection
/// is made says nothing of the statement.
fn connect_error(error: sqlx::Error) -> DbError {
    no_answer(message(&error))
}

fn no_answer(message: impl Into<String>) -> DbError {
    DbError {
        sqlstate: None,
        message: message.into(),
    }
}

fn root_cause(mut error: &dyn Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

fn message(error: &sqlx::Error) -> String {
    let Some(refusal) = postgres_error(error) else {
        return error.to_string();
    };
    let mut message = refusal.message().to_owned();
    for (name, text) in [("detail", refusal.detail()), ("hint", refusal.hint())] {
        if let Some(text) = text {
            message.push_str(&format!("; {name}: {text}"));
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_are_understood_and_nothing_else() {
        for url in ["postgres://u:p@h:5433/d", "postgresql://u:p@h:5433/d"] {
            let options = options(url).unwrap();
            assert_eq!(options.get_database(), Some("d"));
            assert_eq!(options.get_port(), 5433);
        }
        for url in ["", "host=h", "mysql://h", "postgres://h:port/d"] {
            assert!(matches!(options(url), Err(Failure::Usage(_))), "{url}");
        }
    }

    #[test]
    fn a_refusal_does_not_show_the_password() {
        for url in ["postgres://u:secret@h:x/d", "mysql://u:secret@h"] {
            let failure = options(url).unwrap_err();
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    }
}
