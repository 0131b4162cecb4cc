//! Providers through ureq.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use pgai_core::{RESPONSE_BYTES_MAX, Request, RequestError, Response, authorize};
use rustls::crypto::ring;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

/// How the worker calls itself.
const USER_AGENT: &str = concat!("pgai-worker-rs/", env!("CARGO_PKG_VERSION"));

/// Sends requests, and keeps a connection open for the next one.
#[derive(Debug)]
pub struct Http(Agent);

impl Default for Http {
    fn default() -> Self {
        Self(agent())
    }
}

impl Http {
    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// If there is no whole answer within the request's time, or if its secret is not there.
    pub fn answer(&self, request: Request) -> Result<Response, RequestError> {
        let timeout = request.timeout;
        let secret = request
            .secret
            .as_ref()
            .and_then(|name| std::env::var(name).ok());
        let request = authorize(request, secret.as_deref())?;
        let request = self
            .0
            .configure_request(request)
            .timeout_global(Some(timeout))
            .build();
        let (parts, mut body) = self.0.run(request).map_err(request_error)?.into_parts();
        let body = body
            .with_config()
            .limit(RESPONSE_BYTES_MAX as u64)
            .read_to_vec()
            .map_err(request_error)?;
        Ok(Response::from_parts(parts, body))
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
