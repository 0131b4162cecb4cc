//! Searching: `ai.search`, `ai.hybrid_search`, and the commands `search` and `evaluate`.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod generated;
mod measure;
