//! placeholder
mod event;
pub mod log;
mod options;
mod output;
mod query;
mod request;
mod settings;
mod sql;
mod time;
mod worker;

pub use event::{Event, Level};
pub use options::{Command, Options, Usage};
pub use output::{Output, Summary};
pub use query::*;
pub use request::*;
pub use settings::{Limits, Secrets, Settings, SettingsError};
pub use time::Time;
pub use worker::Worker;
