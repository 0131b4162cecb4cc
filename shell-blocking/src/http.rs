//! Providers through ureq, on a thread of its own.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use pgai_core::{RESPONSE_BYTES_MAX, Request, RequestError, RequestTicket, Response, authorize};
use rustls::crypto::ring;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use crate::program::Failure;

/// How the worker calls itself.
const USER_AGENT: &str = concat!("pgai-worker-rs/", env!("CARGO_PKG_VERSION"));

type Answer = (RequestTicket, Result<Response, RequestError>);

/// Sends requests one after the other, while the caller does something else.
#[derive(Debug)]
pub struct Http {
    requests: Sender<(RequestTicket, Request)>,
    answers: Receiver<Answer>,
    in_flight: usize,
}

impl Http {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has none.
    pub fn start() -> Result<Self, Failure> {
        let (requests, sent) = mpsc::channel();
        let (answered, answers) = mpsc::channel();
        thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                let agent = agent();
                for (ticket, request) in sent {
                    let answer = answer(&agent, request);
                    if answered.send((ticket, answer)).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Failure::Failed(format!("starting a thread: {error}")))?;
        Ok(Self {
            requests,
            answers,
            in_flight: 0,
        })
    }

    /// Sends a request, after those that were sent before.
    ///
    /// # Panics
    /// If the thread has died.
    pub fn send(&mut self, ticket: RequestTicket, request: Request) {
        self.in_flight += 1;
        let sent = self.requests.send((ticket, request));
        sent.expect("the thread that talks to providers lives");
    }

    /// Whether an answer is outstanding.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// Waits for an answer, at most this long.
    ///
    /// # Panics
    /// If the thread has died.
    pub fn wait(&mut self, patience: Duration) -> Option<Answer> {
        match self.answers.recv_timeout(patience) {
            Ok(answer) => {
                self.in_flight -= 1;
                Some(answer)
            }
            Err(RecvTimeoutError::Timeout) => None,
            // It took a ticket with it: the worker would wait for ever.
            Err(RecvTimeoutError::Disconnected) => panic!("the thread for requests has died"),
        }
    }
}

fn agent() -> Agent {
    let tls = TlsConfig::builder()
        // The system's certificates, because a company may have its own.
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls)
        .user_agent(USER_AGENT)
        .build()
        .new_agent()
}

/// Sends a request and reads the answer, whatever its status.
fn answer(agent: &Agent, request: Request) -> Result<Response, RequestError> {
    let timeout = request.timeout;
    let secret = request
        .secret
        .as_ref()
        .and_then(|name| std::env::var(name).ok());
    let request = authorize(request, secret.as_deref())?;
    let request = agent
        .configure_request(request)
        .timeout_global(Some(timeout))
        .build();
    let (parts, mut body) = agent.run(request).map_err(request_error)?.into_parts();
    let body = body
        .with_config()
        .limit(RESPONSE_BYTES_MAX as u64)
        .read_to_vec()
        .map_err(request_error)?;
    Ok(Response::from_parts(parts, body))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the crate may get further errors"
)]
fn request_error(error: Error) -> RequestError {
    let reason = error.to_string();
    match &error {
        Error::Timeout(_) => RequestError::Timeout,
        Error::Io(error) if error.kind() == ErrorKind::TimedOut => RequestError::Timeout,
        Error::Io(error) if is_about_connecting(error) => RequestError::Connect(reason),
        Error::BadUri(_)
        | Error::ConnectionFailed
        | Error::HostNotFound
        | Error::Rustls(_)
        | Error::Tls(_) => RequestError::Connect(reason),
        _ => RequestError::Broken(reason),
    }
}

fn is_about_connecting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrNotAvailable
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    ) || error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
        // A name that is not found has no kind of its own.
        || error.to_string().contains("failed to lookup address")
}
