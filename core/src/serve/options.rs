//! The arguments of `serve`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::options::{at_least_one, bytes, duration, listening};

/// The arguments of `serve`. The shell listens, and reads the file.
#[derive(clap::Args, Clone, Debug, Eq, PartialEq)]
pub struct Serve {
    /// Listen at this port of this machine, or at this address: 9188, 0.0.0.0:9188
    #[arg(long, default_value = "9188", value_name = "ADDR", value_parser = listening)]
    pub listen: SocketAddr,

    /// A file with a line for each token that clients may send: the token, a space, and the database URL of the role
    /// that it stands for
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<String>,

    /// Serve one agent over standard input and output, with MCP, as the role of --db-url; not over HTTP
    #[arg(long, conflicts_with = "tokens")]
    pub mcp: bool,

    /// The connections to the database for each role
    #[arg(long, default_value = "4", value_name = "N", value_parser = at_least_one)]
    pub connections: usize,

    /// The reranker for searches that ask for one: see `search --rerank`
    #[arg(long, value_name = "MODEL")]
    pub rerank: Option<String>,

    /// The limits on requests.
    #[command(flatten)]
    pub limits: ServeLimits,
}

/// What a request may ask for.
#[derive(clap::Args, Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServeLimits {
    /// The most results of a search
    #[arg(long, default_value = "100", value_name = "K", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_k: u32,

    /// The longest body of a request
    #[arg(long, default_value = "1MB", value_name = "BYTES", value_parser = bytes)]
    pub max_body: usize,

    /// The most requests of a role that are worked on at a time; others wait
    #[arg(long, default_value = "16", value_name = "N", value_parser = at_least_one)]
    pub max_requests: usize,

    /// The longest time for a request, with its wait
    #[arg(long, default_value = "30", value_name = "DURATION", value_parser = duration)]
    pub timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            max_k: 100,
            max_body: 1 << 20,
            max_requests: 16,
            timeout: Duration::from_secs(30),
        }
    }
}
