//! Providers through reqwest.

use std::error::Error;
use std::net::ToSocketAddrs as _;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgai_core::{
    Intake, Received, Request, RequestError, Response, allowed_addresses, authorize,
    public_addresses,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use shell_common::certificates::client_config;
use shell_common::proxy::{Proxies, Proxy};
use shell_common::vault::Environment;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The `User-Agent` header.
const USER_AGENT: &str = concat!("pgai-worker-rs/", env!("CARGO_PKG_VERSION"));

/// The number of answers that are read at a time. The others wait in the system's buffers or on the
/// network, and use no memory here.
const ANSWERS_MAX: usize = 2;

/// The maximum time that an answer without progress delays the next one.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);

/// Permission to read an answer: when it is dropped, the next answer may be read.
pub type Turn = Option<OwnedSemaphorePermit>;

/// Sends requests, and keeps connections open for later requests.
#[derive(Debug)]
pub struct Http {
    turns: Arc<Semaphore>,
    proxies: Proxies,
    /// Clients for http and https. Each is created at first use, because the certificates of
    /// authorities need some memory, and may be missing if they are not needed.
    direct: [OnceLock<Client>; 2],
    /// The same for requests that may go to public addresses only.
    public: [OnceLock<Client>; 2],
    /// The same through proxies.
    proxied: [OnceLock<Client>; 2],
}

impl Default for Http {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(ANSWERS_MAX)),
            proxies: Proxies::from_environment(),
            direct: Default::default(),
            public: Default::default(),
            proxied: Default::default(),
        }
    }
}

impl Http {
    /// Sends a request and reads the answer, with any status. The caller keeps the turn as long as
    /// the answer.
    pub async fn answer(&self, request: Request) -> (Result<Received, RequestError>, Turn) {
        match self.received(request).await {
            Ok((answer, turn)) => (answer, turn),
            Err(error) => (Err(error), None),
        }
    }

    async fn received(
        &self,
        request: Request,
    ) -> Result<(Result<Received, RequestError>, Turn), RequestError> {
        let patience = request.timeout;
        let is_public = request.is_public;
        let (request, intake) = authorize(request, &Environment)?;
        let proxy = self.proxies.of(request.uri())?;
        let is_https = request.uri().scheme_str() == Some("https");
        let client = self.client(is_https, is_public, proxy)?;
        let mut request = reqwest::Request::try_from(request).map_err(request_error)?;
        *request.timeout_mut() = Some(patience);
        let answer = self.read(client, proxy, request, &intake).await;
        let answer = match proxy {
            Some(proxy) => answer.map_err(|error| proxy.blame(error)),
            None => answer,
        };
        let (answer, turn) = match answer {
            Ok((response, turn)) => (Ok(response), turn),
            Err(error) => (Err(error), None),
        };
        let bytes = answer.as_ref().map_or(0, |answer| answer.body().len());
        let mut answer = if Intake::is_long(bytes) {
            let taken = spawn_blocking(move || intake.take(answer));
            taken
                .await
                .unwrap_or_else(|error| resume_unwind(error.into_panic()))
        } else {
            intake.take(answer)
        };
        if let Ok(received) = &mut answer {
            drop(received.take_buffer());
        }
        Ok((answer, turn))
    }

    async fn read(
        &self,
        client: &Client,
        proxy: Option<&Proxy>,
        request: reqwest::Request,
        intake: &Intake,
    ) -> Result<(Response, Turn), RequestError> {
        let mut answer = client.execute(request).await.map_err(request_error)?;
        proxy.map_or(Ok(()), |proxy| proxy.check(answer.status()))?;
        // The semaphore is never closed; without a turn the answer is only read early.
        let turn = timeout(ANSWER_PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok);

        let bytes_max = intake.bytes_max(answer.status());
        // The length that it promises, so that the body need not grow step by step.
        let length = answer
            .content_length()
            .and_then(|n| usize::try_from(n).ok());
        let body = Vec::with_capacity(length.unwrap_or(0).min(bytes_max));
        let mut response = Response::new(body);
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        while response.body().len() < bytes_max
            && let Some(chunk) = answer.chunk().await.map_err(request_error)?
        {
            let room = bytes_max - response.body().len();
            response
                .body_mut()
                .extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok((response, turn))
    }

    /// The client for a scheme and the proxy that [`Proxies::of`] returns for its URLs.
    fn client(
        &self,
        is_https: bool,
        is_public: bool,
        proxy: Option<&Proxy>,
    ) -> Result<&Client, RequestError> {
        let places = match proxy {
            Some(_) => &self.proxied,
            None if is_public => &self.public,
            None => &self.direct,
        };
        let place = &places[usize::from(is_https)];
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let needs_tls = is_https || proxy.is_some_and(|proxy| proxy.is_https);
        let builder = builder(needs_tls).map_err(RequestError::Connect)?;
        let builder = match proxy {
            // The only name to resolve is the proxy's. The operator chose it: it may have any
            // address.
            Some(proxy) => builder.proxy(all_through(proxy).map_err(request_error)?),
            None => builder
                .no_proxy()
                .dns_resolver(Arc::new(Names { is_public })),
        };
        let client = builder.build().map_err(request_error)?;
        Ok(place.get_or_init(|| client))
    }
}

fn builder(needs_tls: bool) -> Result<ClientBuilder, String> {
    Ok(Client::builder()
        .tls_backend_preconfigured(client_config(needs_tls)?)
        .redirect(Policy::none())
        .user_agent(USER_AGENT))
}

fn all_through(proxy: &Proxy) -> reqwest::Result<reqwest::Proxy> {
    let all = reqwest::Proxy::all(proxy.url())?;
    let authorization = proxy.authorization();
    let header = authorization.and_then(|value| HeaderValue::try_from(value).ok());
    Ok(match header {
        Some(mut value) => {
            value.set_sensitive(true);
            all.custom_http_auth(value)
        }
        None => all,
    })
}

/// The system's resolver, restricted to the addresses that the core allows.
struct Names {
    is_public: bool,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let is_public = self.is_public;
        Box::pin(async move {
            let found = spawn_blocking(move || (name.as_str(), 0).to_socket_addrs()).await??;
            let allowed = match is_public {
                true => public_addresses(found)?,
                false => allowed_addresses(found)?,
            };
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// Without the URL, which the core knows.
fn request_error(error: reqwest::Error) -> RequestError {
    let error = error.without_url();
    if error.is_timeout() {
        return RequestError::Timeout;
    }
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason.push_str(&format!(": {error}"));
        cause = error.source();
    }
    if error.is_connect() || error.is_builder() {
        RequestError::Connect(reason)
    } else {
        RequestError::Broken(reason)
    }
}
