//! Providers through ureq.

use std::io::{self, ErrorKind, Read as _};
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{Intake, Received, Request, RequestError, Response, authorize};
use shell_common::proxy::Proxy;
use shell_common::vault::Environment;
use ureq::Error;

use crate::agents::Agents;
use crate::forward::forwarded;
use crate::turns::{Turn, Turns};

/// Sends requests, and keeps connections open for later requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Http {
    agents: Arc<Agents>,
    turns: Arc<Turns>,
}

impl Http {
    /// Sends a request and reads the answer, with any status.
    ///
    /// # Errors
    /// If the answer is not complete within the request's timeout, or if its secret is missing.
    pub fn answer(&self, request: Request) -> Result<Received, RequestError> {
        let how = (request.timeout, request.is_public);
        let (request, intake) = authorize(request, &Environment)?;
        let (answer, mut turn) = match self.read(request, how, &intake) {
            Ok((answer, turn)) => (Ok(answer), Some(turn)),
            Err(error) => (Err(error), None),
        };
        let mut answer = intake.take(answer);
        if let (Ok(received), Some(turn)) = (&mut answer, &mut turn) {
            turn.buffer = received.take_buffer();
        }
        answer
    }

    fn read(
        &self,
        request: ureq::http::Request<Vec<u8>>,
        how: (Duration, bool),
        intake: &Intake,
    ) -> Result<(Response, Turn<'_>), RequestError> {
        let proxy = self.agents.proxies.of(request.uri())?;
        let read = self.read_through(proxy, request, how, intake);
        match proxy {
            Some(proxy) => read.map_err(|error| proxy.blame(error)),
            None => read,
        }
    }

    fn read_through(
        &self,
        proxy: Option<&Proxy>,
        request: ureq::http::Request<Vec<u8>>,
        (timeout, is_public): (Duration, bool),
        intake: &Intake,
    ) -> Result<(Response, Turn<'_>), RequestError> {
        let is_https = request.uri().scheme_str() == Some("https");
        let agent = self.agents.agent(is_https, is_public, proxy)?;
        let request = match proxy {
            Some(proxy) if !is_https => forwarded(request, proxy)?,
            _ => request,
        };
        let request = agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .build();
        let answer = agent.run(request).map_err(request_error)?;
        proxy.map_or(Ok(()), |proxy| proxy.check(answer.status()))?;
        let mut turn = self.turns.take();
        let (parts, body) = answer.into_parts();
        let bytes_max = u64::try_from(intake.bytes_max(parts.status)).unwrap_or(u64::MAX);
        // The length that it promises, so that the body need not grow step by step.
        let length = body.content_length().unwrap_or(0).min(bytes_max);
        let mut whole = std::mem::take(&mut turn.buffer);
        whole.reserve_exact(usize::try_from(length).unwrap_or(0));
        let read = body.into_reader().take(bytes_max).read_to_end(&mut whole);
        read.map_err(|error| request_error(error.into()))?;
        Ok((Response::from_parts(parts, whole), turn))
    }
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
        | Error::ConnectProxyFailed(_)
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
