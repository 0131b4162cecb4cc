//! What a provider, a config or a row can cost the worker, and where keys can go: an attack for each
//! bound of docs/security-providers.md, by both workers on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(
    clippy::print_stdout,
    reason = "tests of security tell what they tried"
)]

#[path = "security_bounds/answers.rs"]
mod answers;
#[path = "security_bounds/crashes.rs"]
mod crashes;
#[path = "security_bounds/keys.rs"]
mod keys;
#[path = "security_bounds/memory.rs"]
mod memory;
#[path = "security_bounds/raw.rs"]
mod raw;
#[path = "security_bounds/resolving.rs"]
mod resolving;
#[path = "security_bounds/rows.rs"]
mod rows;

/// The workers that are shipped.
const SHELLS: [&str; 2] = ["worker", "worker-blocking"];
