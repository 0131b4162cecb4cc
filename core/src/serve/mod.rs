//! `worker serve`: searching and embedding over HTTP, and for agents over MCP.
//!
//! The shell reads requests and knows whose they are. A [`Caller`] stands for the role of one token, and makes an
//! [`Exchange`] of each request. That says what to do next, like a [`Task`](crate::Task), and ends with the answer.

mod catalogue;
mod embed;
mod exchange;
mod mcp;
mod options;
mod refused;
mod search;
mod tokens;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::provider::Reranker;
use crate::request::Response;
use crate::settings::Settings;
use crate::time::Time;
use catalogue::Catalogue;
pub use exchange::{Doing, Exchange};
pub use options::{Serve, ServeLimits};
pub use refused::{not_allowed, refusal};
pub use tokens::{Tokens, TokensError};

/// How long the definitions of the vectorizers are used before they are read again.
const FRESH: Duration = Duration::from_secs(10);

/// The description of the interface.
const OPENAPI: &str = include_str!("openapi.json");

/// One database as one of its roles, on whose behalf requests are answered.
#[derive(Debug)]
pub struct Caller {
    settings: Settings,
    limits: ServeLimits,
    reranker: Option<Arc<Reranker>>,
    /// What is known of the vectorizers, and since when.
    known: Mutex<Option<(Time, Arc<Catalogue>)>>,
}

impl Caller {
    /// A caller of whose vectorizers nothing is known yet. The wall time of [`Settings`] is that of [`Time::ZERO`].
    ///
    /// # Errors
    /// If there is no such reranker, or its key is missing.
    pub fn new(
        settings: Settings,
        limits: ServeLimits,
        rerank: Option<&str>,
    ) -> Result<Self, String> {
        let reranker = rerank.map(|name| Reranker::new(name, &settings));
        Ok(Self {
            reranker: reranker.transpose()?.map(Arc::new),
            settings,
            limits,
            known: Mutex::default(),
        })
    }

    /// The vectorizers, if they were read a short while ago.
    fn known(&self, now: Time) -> Option<Arc<Catalogue>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, catalogue) = known.as_ref()?;
        (now.since(*since) < FRESH).then(|| Arc::clone(catalogue))
    }

    fn learn(&self, now: Time, catalogue: Catalogue) -> Arc<Catalogue> {
        let catalogue = Arc::new(catalogue);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((now, Arc::clone(&catalogue)));
        catalogue
    }
}

/// The answer to a request that needs no token, if it is one: the description of the interface, and whether the
/// server answers.
#[must_use]
pub fn open_page(path: &str) -> Option<Response> {
    match path {
        "/healthz" => {
            let mut answer = Response::new(b"ok\n".to_vec());
            let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
            answer
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, kind);
            Some(answer)
        }
        "/openapi.json" => Some(refused::json(http::StatusCode::OK, OPENAPI)),
        _ => None,
    }
}
