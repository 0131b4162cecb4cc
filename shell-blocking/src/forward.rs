//! Requests for http through a proxy: the proxy gets the request itself, with the whole URL in its
//! first line (RFC 9112, absolute-form).
//!
//! ureq uses `CONNECT` also for http, which proxies usually allow for port 443 only. So the request
//! is one to the proxy, with the URL as its path, and its connection takes away the slash before it.

use pgai_core::RequestError;
use shell_common::proxy::Proxy;
use ureq::Error;
use ureq::http::header::{HOST, PROXY_AUTHORIZATION};
use ureq::http::{HeaderValue, Request, Uri};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Makes a request for a URL with http one to the proxy. It is to be sent over a connection of
/// [`Forward`].
pub(crate) fn forwarded(
    request: Request<Vec<u8>>,
    proxy: &Proxy,
) -> Result<Request<Vec<u8>>, RequestError> {
    let refused = |error: &dyn std::error::Error| RequestError::Connect(error.to_string());
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.authority().map_or("", |host| host.as_str());
    let host = HeaderValue::from_str(host).map_err(|error| refused(&error))?;
    parts.headers.insert(HOST, host);
    if let Some(value) = proxy.authorization() {
        let mut value = HeaderValue::from_str(&value).map_err(|error| refused(&error))?;
        value.set_sensitive(true);
        parts.headers.insert(PROXY_AUTHORIZATION, value);
    }
    let url: Result<Uri, _> = format!("{}/{}", proxy.url(), parts.uri).parse();
    parts.uri = url.map_err(|error| refused(&error))?;
    Ok(Request::from_parts(parts, body))
}

/// Connects to a proxy that gets the requests themselves.
#[derive(Debug)]
pub(crate) struct Forward;

impl<In: Transport> Connector<In> for Forward {
    type Out = Forwarding<In>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|connection| Forwarding {
            connection,
            is_between_requests: true,
        }))
    }
}

/// A connection to a proxy.
#[derive(Debug)]
pub(crate) struct Forwarding<T> {
    connection: T,
    /// Whether the next bytes to send begin a request.
    is_between_requests: bool,
}

impl<T: Transport> Transport for Forwarding<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut amount = amount;
        if std::mem::take(&mut self.is_between_requests) {
            amount = absolute(&mut self.connection.buffers().output()[..amount]);
        }
        self.connection.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.is_between_requests = true;
        self.connection.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}

/// Takes away the slash before the URL, and returns the number of bytes that remain.
fn absolute(request: &mut [u8]) -> usize {
    let end = request.len();
    match request.iter().position(|byte| *byte == b' ') {
        Some(space) if request[space + 1..].starts_with(b"/http://") => {
            request.copy_within(space + 2.., space + 1);
            end - 1
        }
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_the_target() {
        for (request, expected) in [
            (
                "POST /http://h:1/api/embed HTTP/1.1\r\nhost: h:1\r\n",
                "POST http://h:1/api/embed HTTP/1.1\r\nhost: h:1\r\n",
            ),
            ("GET /path HTTP/1.1\r\n", "GET /path HTTP/1.1\r\n"),
            ("GET ", "GET "),
            ("", ""),
        ] {
            let mut bytes = request.as_bytes().to_vec();
            let length = absolute(&mut bytes);
            assert_eq!(&bytes[..length], expected.as_bytes());
        }
    }
}
