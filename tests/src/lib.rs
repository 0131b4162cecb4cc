//! What the tests and benches are made of.

pub mod browser;
pub mod cranfield;
pub mod fuzz;
pub mod hand;
pub mod measure;
pub mod minilm;
mod nobody;
pub mod pdf;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod python;
pub mod replay;
pub mod role;
pub mod shell_smol;
pub mod site;
pub mod squid;
pub mod stage;
pub mod stub;
pub mod world;
