//! Code that every shell needs, whatever it waits with: the process of a worker, its console, the database's address,
//! proxies, local models, documents, files, and the pages of `--http`.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod certificate_names;
pub mod certificates;
pub mod console;
pub mod documents;
mod env_file;
pub mod models;
pub mod monitoring;
#[cfg(feature = "parquet")]
mod parquet;
pub mod parsing;
pub mod program;
pub mod proxy;
pub mod streams;
pub mod target;
#[cfg(feature = "otel")]
mod telemetry;
mod tls;
pub mod vault;
