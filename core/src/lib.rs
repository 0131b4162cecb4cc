//! placeholder

mod event;
pub mod log;
mod options;
mod output;
mod provider;
mod query;
mod random;
mod request;
mod retry;
mod reuse;
mod settings;
mod sql;
pub mod text;
mod time;
mod vectorizer;
mod worker;

pub use event::{Event, Level};
pub use options::{Command, Options, Usage};
pub use output::{Output, Summary};
pub use query::*;
pub use request::*;
pub use settings::{Limits, Secrets, Settings, SettingsError};
pub use sql::Plan;
pub use time::Time;
pub use worker::{CHANNEL, Worker};
