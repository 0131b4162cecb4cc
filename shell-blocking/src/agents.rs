//! The agents of ureq: one for each way to a provider.

use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};

use pgai_core::{RequestError, allowed_addresses, is_own_endpoint, public_addresses};
use rustls::crypto::ring;
use shell_common::certificates::authorities;
use shell_common::proxy::{Proxies, Proxy};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector as _, DefaultConnector, NextTimeout};
use ureq::{Agent, Error, ProxyProtocol};

use crate::forward::Forward;

/// The `User-Agent` header.
const USER_AGENT: &str = concat!("pgai-worker-rs/", env!("CARGO_PKG_VERSION"));

/// Bytes of a connection's buffers, a fifth of ureq's own, which take a megabyte for four connections. The headers
/// of an answer must fit into the first one.
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 16 * 1024;

/// Agents, each created at first use, because the certificates of authorities need some memory, and
/// may be missing if they are not needed.
#[derive(Debug)]
pub(crate) struct Agents {
    pub(crate) proxies: Proxies,
    plain: OnceLock<Agent>,
    secure: OnceLock<Agent>,
    /// For http and https, to addresses of the public internet only.
    public: [OnceLock<Agent>; 2],
    /// For http: the proxy gets the request itself.
    forward: OnceLock<Agent>,
    /// For https: the proxy gets `CONNECT`, and passes on what it cannot read.
    tunnel: OnceLock<Agent>,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            proxies: Proxies::from_environment(),
            plain: OnceLock::new(),
            secure: OnceLock::new(),
            public: Default::default(),
            forward: OnceLock::new(),
            tunnel: OnceLock::new(),
        }
    }
}

impl Agents {
    /// The agent for a scheme and the proxy that [`Proxies::of`] returns for its URLs.
    pub(crate) fn agent(
        &self,
        is_https: bool,
        is_public: bool,
        proxy: Option<&Proxy>,
    ) -> Result<&Agent, RequestError> {
        let place = match (is_https, proxy) {
            (_, None) if is_public => &self.public[usize::from(is_https)],
            (false, None) => &self.plain,
            (true, None) => &self.secure,
            (false, Some(_)) => &self.forward,
            (true, Some(_)) => &self.tunnel,
        };
        if let Some(agent) = place.get() {
            return Ok(agent);
        }
        let needs_tls = is_https || proxy.is_some_and(|proxy| proxy.is_https);
        let tls = tls(needs_tls).map_err(RequestError::Connect)?;
        let tunnel = proxy.filter(|_| is_https).map(tunnel).transpose();
        let tunnel = tunnel.map_err(|error| RequestError::Connect(error.to_string()))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(tunnel)
            .tls_config(tls)
            .user_agent(USER_AGENT)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .build();
        let connector = DefaultConnector::default();
        let agent = match (is_https, proxy) {
            (_, None) => {
                let names = Names {
                    system: DefaultResolver::default(),
                    is_public,
                };
                Agent::with_parts(config, connector, names)
            }
            // The only name to resolve is the proxy's. The operator chose it: it may have any
            // address.
            (false, Some(_)) => {
                Agent::with_parts(config, connector.chain(Forward), DefaultResolver::default())
            }
            (true, Some(_)) => Agent::with_parts(config, connector, DefaultResolver::default()),
        };
        Ok(place.get_or_init(|| agent))
    }
}

fn tls(is_needed: bool) -> Result<TlsConfig, String> {
    let roots = if is_needed { authorities()? } else { vec![] };
    let roots = roots
        .iter()
        .map(|root| Certificate::from_der(root).to_owned());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build())
}

/// ureq uses `CONNECT` for each request to its proxies.
fn tunnel(proxy: &Proxy) -> Result<ureq::Proxy, Error> {
    let protocol = if proxy.is_https {
        ProxyProtocol::Https
    } else {
        ProxyProtocol::Http
    };
    let mut builder = ureq::Proxy::builder(protocol)
        .host(&proxy.host)
        .port(proxy.port);
    if let Some((user, password)) = &proxy.credentials {
        builder = builder.username(user).password(password);
    }
    builder.build()
}

/// The system's resolver, restricted to the addresses that the core allows.
#[derive(Debug)]
struct Names {
    system: DefaultResolver,
    is_public: bool,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        // Written as an address, it is the core's choice: no name leads there.
        if uri.host().is_some_and(is_own_endpoint) {
            return Ok(found);
        }
        let addresses = found.iter().copied();
        let allowed = match self.is_public {
            true => public_addresses(addresses),
            false => allowed_addresses(addresses),
        };
        let allowed = allowed
            .map_err(|reason| Error::Io(io::Error::new(ErrorKind::AddrNotAvailable, reason)))?;
        let mut addresses = self.empty();
        // Of those that were found, so there is room.
        allowed
            .into_iter()
            .for_each(|address| addresses.push(address));
        Ok(addresses)
    }
}
