//! Connections through a pooler, which gives a session to several clients in turn.

use crate::sql;

/// Begins a transaction with the settings of [`session_settings`](crate::session_settings) for it alone,
/// in one simple query. A shell runs it before each statement on a connection without a session of its
/// own (see [`session_option`]), and `commit` or `rollback` after it. There it prepares no statement by
/// name, does not listen, and changes nothing else that outlives the transaction, because a pooler may
/// give the session to another client.
#[must_use]
pub const fn transaction_settings() -> &'static str {
    sql::TRANSACTION
}

/// The startup option that shows whether a connection has a session of its own: a pooler refuses it, or
/// does not hand it on.
#[must_use]
pub fn session_option(nonce: u64) -> String {
    format!("-c ai.session={nonce}")
}

/// What returns the value of [`session_option`], as a simple query.
pub const SESSION_VALUE: &str = "select current_setting('ai.session', true)";

/// Whether a pooler has refused to begin a transaction: it gives each statement to another session.
#[must_use]
pub fn refuses_transactions(message: &str) -> bool {
    message.contains("transaction blocks not allowed")
}

/// What an operator can do then.
pub const POOLS_STATEMENTS: &str = "the pooler gives each statement to another session (pool_mode = \
    statement), and a worker needs transactions: let it connect to PostgreSQL itself, or to a pool with \
    pool_mode = transaction or session";

/// Whether a server, or rather a pooler, has refused [`session_option`]: each has its own words.
#[must_use]
pub fn refuses_options(message: &str) -> bool {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let is_about_options = has(&[
        "startup parameter",
        "command-line option",
        "options",
        "ai.session",
    ]);
    is_about_options
        && has(&[
            "n't support",
            "not allowed",
            "not permitted",
            "not support",
            "unknown",
            "unrecognized",
            "unsupported",
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poolers_refuse_options_in_their_own_words() {
        for message in [
            "127.0.0.1:6432: unsupported startup parameter: options",
            "unsupported startup parameter in options: ai.session",
            "Feature not supported: RDS Proxy currently doesn't support command-line options.",
            "unrecognized configuration parameter \"ai.session\"",
        ] {
            assert!(refuses_options(message), "{message}");
        }
        for message in [
            "password authentication failed for user \"u\"",
            "database \"options\" does not exist",
            "the server does not support TLS",
            "connection refused",
        ] {
            assert!(!refuses_options(message), "{message}");
        }
    }
}
