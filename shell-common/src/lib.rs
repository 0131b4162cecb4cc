//! What every shell needs, and what has to do neither with tokio nor with threads: the process around a
//! worker, its console, where its database is, and models in its own process.

mod certificate_names;
pub mod console;
pub mod models;
pub mod program;
pub mod target;
mod tls;
