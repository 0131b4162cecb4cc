//! PostgreSQL through the crate `postgres`: one connection for statements and notifications.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pgai_core::{
    BUILD_SETTINGS, CHANNEL, DbError, IndexBuild, POOLS_STATEMENTS, Param, Query, Rows,
    refuses_transactions, session_settings, transaction_settings,
};
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use postgres::{Client, Row, SimpleQueryMessage, Statement};
use shell_common::target::Target;

use crate::connect::{connect, connect_to_session};

/// The pause between two attempts to connect while no statement is waiting.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of prepared statements; above it, all are prepared again.
const STATEMENTS_MAX: usize = 100;

/// The connection, opened at first use and again after it broke.
pub struct Database {
    target: Target,
    session: Option<Session>,
    /// The time of the next attempt to connect, if the connection is needed for notifications
    /// only.
    connect_after: Instant,
    wakes: VecDeque<Option<String>>,
    /// Only for notifications, if the connection leads through a pooler.
    listener: Option<Box<Self>>,
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Not behind a pooler.
    is_own: bool,
}

impl Database {
    /// Opens no connection yet.
    #[must_use]
    pub fn new(target: Target) -> Self {
        let listener = target.listener.as_deref().cloned();
        Self {
            target,
            listener: listener.map(|listener| Box::new(Self::new(listener))),
            session: None,
            connect_after: Instant::now(),
            wakes: VecDeque::new(),
        }
    }

    /// Runs a statement in a transaction of its own.
    ///
    /// # Errors
    /// If PostgreSQL returns an error, or if the outcome is unknown.
    pub fn answer(&mut self, query: &Query) -> Result<Rows, DbError> {
        let session = self.connected()?;
        let answer = if session.is_own {
            let answer = session.ask(query);
            answer.map_err(|error| db_error(&error))
        } else {
            session.ask_pooler(query)
        };
        // A cursor may be left open.
        if answer.is_err() && query.held().is_some() {
            self.session = None;
        }
        self.drop_if_closed();
        answer
    }

    /// Waits for notifications for at most this time.
    pub fn wait(&mut self, patience: Duration) {
        if let Some(listener) = &mut self.listener {
            return listener.wait(patience);
        }
        let began = Instant::now();
        if self.session.is_none() && began >= self.connect_after {
            // Statements meet the same trouble, and the core tells of it.
            let _ = self.connected();
        }
        let Some(session) = &mut self.session else {
            std::thread::sleep(patience);
            return;
        };
        let next = session.client.notifications().timeout_iter(patience).next();
        if let Ok(Some(notification)) = next {
            self.wakes
                .push_back(Some(notification.payload().to_owned()));
        }
        self.drop_if_closed();
    }

    /// The notifications since the last call: the payload of each, and `None` for every new
    /// connection, because notifications may have been missed before it.
    pub fn wakes(&mut self) -> impl Iterator<Item = Option<String>> {
        if let Some(listener) = &mut self.listener {
            let heard: Vec<_> = listener.wakes().collect();
            self.wakes.extend(heard);
        }
        if let Some(session) = &mut self.session {
            let mut notifications = session.client.notifications();
            // Notifications that arrived with answers: this does not wait, and does not fail if
            // there are none.
            while let Ok(Some(notification)) = notifications.iter().next() {
                self.wakes
                    .push_back(Some(notification.payload().to_owned()));
            }
        }
        self.drop_if_closed();
        self.wakes.drain(..)
    }

    fn connected(&mut self) -> Result<&mut Session, DbError> {
        if self.session.is_none() {
            self.connect_after = Instant::now() + CONNECT_PAUSE;
            let session = Session::begin(&self.target)?;
            self.session = Some(session);
            self.wakes.push_back(None);
        }
        let session = self.session.as_mut();
        session.ok_or_else(|| DbError::unanswered("no connection"))
    }

    fn drop_if_closed(&mut self) {
        self.session.take_if(|session| session.client.is_closed());
    }
}

impl Session {
    fn begin(target: &Target) -> Result<Self, DbError> {
        let (mut client, is_own) = connect_to_session(target).map_err(DbError::unanswered)?;
        let listen = format!("listen {CHANNEL}");
        let settings = [session_settings(), &listen];
        for statement in settings.iter().filter(|_| is_own) {
            let begun = client.batch_execute(statement);
            // What the server says here says nothing of the statement.
            begun.map_err(|error| DbError::unanswered(db_error(&error).message))?;
        }
        Ok(Self {
            client,
            statements: HashMap::new(),
            is_own,
        })
    }

    /// Runs a statement behind a pooler: in a transaction with settings of its own, and without a name.
    fn ask_pooler(&mut self, query: &Query) -> Result<Rows, DbError> {
        // A pooler that refuses transactions closes the connection, and its message may be lost.
        self.client
            .batch_execute(transaction_settings())
            .map_err(|error| match error.as_db_error() {
                Some(refusal) if !refuses_transactions(refusal.message()) => db_error(&error),
                _ => DbError::unanswered(format!("{}: perhaps {POOLS_STATEMENTS}", chain(&error))),
            })?;
        let params = query.params();
        let values: Vec<_> = params.iter().map(Value).collect();
        let typed: Vec<_> = values
            .iter()
            .map(|value| (value as &(dyn ToSql + Sync), value.kind()))
            .collect();
        let rows = self.client.query_typed(query.sql(), &typed);
        let end = if rows.is_ok() { "commit" } else { "rollback" };
        let ended = self.client.batch_execute(end);
        let rows = rows.and_then(|rows| ended.map(|()| rows));
        let rows = rows.and_then(|rows| rows.iter().map(texts).collect());
        rows.map_err(|error| db_error(&error))
    }

    fn ask(&mut self, query: &Query) -> Result<Rows, postgres::Error> {
        let held = query.held();
        let sql = match held {
            Some((declare, _)) => declare,
            None => query.sql(),
        };
        let statement = match self.statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                if self.statements.len() >= STATEMENTS_MAX {
                    self.statements.clear();
                }
                let statement = self.client.prepare(sql)?;
                self.statements.insert(sql.to_owned(), statement.clone());
                statement
            }
        };
        let params = query.params();
        let params: Vec<_> = params.iter().map(Value).collect();
        let params: Vec<_> = params
            .iter()
            .map(|param| param as &(dyn ToSql + Sync))
            .collect();
        let rows = self.client.query(&statement, &params)?;
        let Some((_, fetch)) = held else {
            return rows.iter().map(texts).collect();
        };
        let mut rows = vec![];
        for message in self.client.simple_query(fetch)? {
            if let SimpleQueryMessage::Row(row) = message {
                let texts = (0..row.len()).map(|column| row.get(column).map(str::to_owned));
                rows.push(texts.collect());
            }
        }
        Ok(rows)
    }
}

/// Runs a statement that may take hours, on a connection of its own, and blocks the caller.
///
/// # Errors
/// If PostgreSQL returns an error, or if the outcome is unknown.
pub(crate) fn build(target: &Target, build: &IndexBuild) -> Result<(), DbError> {
    let (mut client, is_own) = connect_to_session(target).map_err(DbError::unanswered)?;
    if is_own {
        for settings in [session_settings(), BUILD_SETTINGS] {
            let begun = client.batch_execute(settings);
            begun.map_err(|error| DbError::unanswered(db_error(&error).message))?;
        }
    }
    let built = client.batch_execute(&build.sql);
    built.map_err(|error| db_error(&error))
}

/// Runs a script as one transaction and returns the database's name. The server's warnings are
/// passed to `warn`.
///
/// # Errors
/// PostgreSQL's message.
pub fn install(target: &Target, script: &str, warn: fn(message: &str)) -> Result<String, DbError> {
    let mut client = connect(target, Some(warn)).map_err(DbError::unanswered)?;
    // Several statements in one message are one transaction.
    client
        .batch_execute(script)
        .map_err(|error| db_error(&error))?;
    let row = client
        .query_one("select current_database()::text", &[])
        .map_err(|error| db_error(&error))?;
    row.try_get(0).map_err(|error| db_error(&error))
}

/// A parameter in the form that the crate `postgres` accepts.
#[derive(Debug)]
struct Value<'a>(&'a Param);

impl Value<'_> {
    /// The type that it has in a statement without a name.
    fn kind(&self) -> Type {
        match self.0 {
            Param::Binary(binary) => {
                let (name, schema) = ("vector".to_owned(), String::new());
                Type::new(name, binary.type_oid, Kind::Simple, schema)
            }
            Param::Int(_) => Type::INT8,
            Param::Ints(_) => Type::INT8_ARRAY,
            Param::Text(_) => Type::TEXT,
            Param::Texts(_) => Type::TEXT_ARRAY,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Param::Binary(binary) => {
                out.extend_from_slice(&binary.bytes);
                Ok(IsNull::No)
            }
            Param::Int(number) => number.to_sql_checked(kind, out),
            Param::Ints(numbers) => numbers.to_sql_checked(kind, out),
            Param::Text(text) => text.to_sql_checked(kind, out),
            Param::Texts(texts) => texts.to_sql_checked(kind, out),
        }
    }

    /// The other implementations check the type themselves.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn texts(row: &Row) -> Result<Vec<Option<String>>, postgres::Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect()
}

pub(crate) fn db_error(error: &postgres::Error) -> DbError {
    match error.as_db_error() {
        Some(refusal) => DbError::refused(
            refusal.code().code(),
            refusal.message(),
            refusal.detail(),
            refusal.hint(),
        ),
        None => DbError::unanswered(chain(error)),
    }
}

/// An error and its causes: the crate's error says what it did, and the cause says why that
/// failed.
fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    message
}
