//! The arguments of `parse`.

use std::time::Duration;

use super::values::{bytes, duration};

/// The arguments of `parse`. The shell reads and parses the files.
#[derive(clap::Args, Clone, Debug, Eq, PartialEq)]
pub struct Parse {
    /// The files; - is the standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,

    /// Print a line of JSON for each file, with its title and its pages
    #[arg(long)]
    pub json: bool,

    /// The Content-Type of the files, for those whose content and name do not tell their format
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,

    /// The longest time for one file
    #[arg(long, default_value = "60", value_name = "DURATION", value_parser = duration)]
    pub timeout: Duration,

    /// The most memory for one file
    #[arg(long, default_value = "1GB", value_name = "BYTES", value_parser = bytes)]
    pub memory: usize,
}
