//! A role of one test's own, that connects as itself.

use postgres::{Client, NoTls};

use crate::postgres::Database;

/// A role that may log in, dropped with all that it owns and was granted when this is dropped.
pub struct Role {
    /// Its name, which needs no quotes.
    pub name: String,
    /// A connection as this role.
    pub client: Client,
    /// The URL of the database, as this role.
    pub url: String,
    /// A superuser's URL.
    admin: String,
}

impl Role {
    /// A new role. Roles belong to the whole server: its name ends with that of the database.
    #[track_caller]
    pub fn new(database: &Database, name: &str) -> Self {
        let name = format!("{name}_{}", database.name());
        database
            .client()
            .batch_execute(&format!("create role {name} login"))
            .expect("creating a role");
        let url = database.url().replace("postgres@", &format!("{name}@"));
        assert_ne!(url, database.url());
        let client = Client::connect(&url, NoTls).expect("connecting as a role");
        let admin = database.url().to_owned();
        Self {
            name,
            client,
            url,
            admin,
        }
    }

    /// Runs what must work.
    #[track_caller]
    pub fn may(&mut self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql) {
            panic!("{}: {sql}: {error:?}", self.name);
        }
    }

    /// Runs what must be refused for want of rights, and returns message and hint.
    #[track_caller]
    pub fn may_not(&mut self, sql: &str) -> String {
        let (code, message) = self.fails(sql);
        assert_eq!(code, "42501", "{}: {sql}: {message}", self.name);
        message
    }

    /// Runs what must fail: SQLSTATE, and message with hint.
    #[track_caller]
    pub fn fails(&mut self, sql: &str) -> (String, String) {
        refused(&mut self.client, sql)
    }

    /// The one number that a query returns.
    #[track_caller]
    pub fn number(&mut self, sql: &str) -> i64 {
        match self.client.query_one(sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{}: {sql}: {error:?}", self.name),
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let drop = format!("drop owned by {0} cascade; drop role {0}", self.name);
        if let Ok(mut admin) = Client::connect(&self.admin, NoTls) {
            // What is left goes with the test's database.
            admin.batch_execute(&drop).ok();
        }
    }
}

/// Runs what must fail: SQLSTATE, and message with hint.
///
/// # Panics
///
/// If it works.
#[track_caller]
#[allow(
    clippy::print_stdout,
    reason = "a test that fails shows what was tried"
)]
pub fn refused(client: &mut Client, sql: &str) -> (String, String) {
    println!("tried: {sql}");
    let Err(error) = client.batch_execute(sql) else {
        panic!("this worked: {sql}");
    };
    let error = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{sql}: {error}"));
    let message = format!("{} {}", error.message(), error.hint().unwrap_or_default());
    (error.code().code().to_owned(), message)
}
