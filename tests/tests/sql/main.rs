//! The SQL itself: `setup.sql` is what its parts say, installs as users install it, and refuses what
//! cannot work with one clear message.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod creation;
mod python;
mod queue;
mod setup;

use std::fs;
use std::path::Path;

use postgres::Client;
use tests::postgres::{Database, Server};

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql"))
}

fn setup() -> String {
    fs::read_to_string(directory().join("setup.sql")).unwrap()
}

fn installed() -> (Database, Client) {
    let database = Server::shared().database();
    database.install();
    let client = database.client();
    (database, client)
}

/// The message and the SQLSTATE of a statement that must fail.
#[track_caller]
fn refusal(client: &mut Client, sql: &str) -> (String, String) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{sql}: {error:?}"))
        .clone();
    (error.message().to_owned(), error.code().code().to_owned())
}

fn number(client: &mut Client, sql: &str) -> i64 {
    client
        .query_one(sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}
