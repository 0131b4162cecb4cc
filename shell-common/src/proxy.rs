//! Proxies, as the environment names them: which one, if any, is used for a URL. Both workers ask
//! here, because their HTTP libraries disagree about the details.
//!
//! The rules are those of curl. Where curl has none, they are those of Python's requests and of Go:
//! a port in `NO_PROXY`, and that this machine is never reached through a proxy.

mod exceptions;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use pgai_core::{RequestError, is_own_endpoint};

use exceptions::Exceptions;

/// The proxies of a process, and the hosts that are reached without them.
#[derive(Clone, Debug)]
pub struct Proxies {
    /// The proxy for http, or what is wrong with its variable.
    http: Option<Result<Proxy, String>>,
    https: Option<Result<Proxy, String>>,
    exceptions: Exceptions,
}

impl Proxies {
    /// Reads the variables of this process.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables. An empty one counts as not set.
    fn read(environment: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = environment(name)?;
                let value = value.trim();
                (!value.is_empty()).then(|| (*name, value.to_owned()))
            })
        };
        // A web server sets REQUEST_METHOD for a CGI program, and HTTP_PROXY to a client's header
        // `Proxy` (httpoxy).
        let http: &[&str] = if environment("REQUEST_METHOD").is_some() {
            &["http_proxy", "all_proxy", "ALL_PROXY"]
        } else {
            &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        };
        let https = &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let parsed = |(name, value): (&str, String)| {
            // The value may contain a password, so it is not repeated.
            Proxy::parse(&value).map_err(|reason| format!("{name} names no proxy: {reason}"))
        };
        let exceptions = first(&["no_proxy", "NO_PROXY"]);
        Self {
            http: first(http).map(parsed),
            https: first(https).map(parsed),
            exceptions: Exceptions::parse(&exceptions.map(|(_, list)| list).unwrap_or_default()),
        }
    }

    /// The proxy for a URL; `None` if the worker connects to the host itself.
    ///
    /// # Errors
    /// If a proxy is needed and its variable is malformed; the text does not contain the value.
    pub fn of(&self, url: &Uri) -> Result<Option<&Proxy>, RequestError> {
        let is_https = url.scheme_str() == Some("https");
        let (proxy, port) = if is_https {
            (&self.https, 443)
        } else {
            (&self.http, 80)
        };
        let (Some(proxy), Some(host)) = (proxy, url.host()) else {
            return Ok(None);
        };
        let port = url.port_u16().unwrap_or(port);
        // A machine's own endpoint answers to the machine only. Of these addresses, the core uses no others.
        if is_own_endpoint(host) {
            return Ok(None);
        }
        if self.exceptions.contain(host, port) {
            return Ok(None);
        }
        let refused = |reason: &String| RequestError::Connect(reason.clone());
        proxy.as_ref().map(Some).map_err(refused)
    }
}

/// An HTTP proxy.
#[derive(Clone)]
pub struct Proxy {
    /// Whether the worker speaks TLS with the proxy itself.
    pub is_https: bool,
    /// The host; an IPv6 address is in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user and the password.
    pub credentials: Option<(String, String)>,
}

impl Proxy {
    /// Parses `[http[s]://][user[:password]@]host[:port]`. The error does not repeat the text.
    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => {
                return Err("SOCKS is not supported, only http:// and https://".to_owned());
            }
            _ => return Err("its URL must begin with http:// or https://".to_owned()),
        };
        // A password may contain a slash or another @.
        let (userinfo, place) = match rest.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, rest),
        };
        let shape = || "it must look like http://user:password@host:3128".to_owned();
        let place = place.split(['/', '?', '#']).next().unwrap_or_default();
        let url: Uri = format!("http://{place}/").parse().map_err(|_| shape())?;
        let host = url.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(shape)?.to_ascii_lowercase();
        let port = match (place.len() > host.len(), url.port_u16()) {
            (true, Some(port)) => port,
            (true, None) => return Err(shape()),
            (false, _) if is_https => 443,
            (false, _) => 80,
        };
        Ok(Self {
            is_https,
            host,
            port,
            credentials: userinfo.map(credentials).transpose()?,
        })
    }

    /// The URL, without the credentials.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// The value of the header `Proxy-Authorization`.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        let (user, password) = self.credentials.as_ref()?;
        let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Some(format!("Basic {both}"))
    }

    /// Adds to an error that it may be due to the proxy.
    #[must_use]
    pub fn blame(&self, error: RequestError) -> RequestError {
        let through = |reason| format!("through the proxy {self}: {reason}");
        match error {
            RequestError::Broken(reason) => RequestError::Broken(through(reason)),
            RequestError::Connect(reason) => RequestError::Connect(through(reason)),
            error @ (RequestError::Secret(_) | RequestError::Timeout) => error,
        }
    }

    /// Checks that an answer is not a proxy's own: one with the status 407 never is a provider's.
    ///
    /// # Errors
    /// If the proxy has refused the request.
    pub fn check(&self, status: StatusCode) -> Result<(), RequestError> {
        if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Ok(());
        }
        let reason = match self.credentials {
            Some(_) => "it does not accept the user and the password in its URL",
            None => "it requires a user and a password in its URL",
        };
        Err(RequestError::Connect(reason.to_owned()))
    }
}

/// The address, without the credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.url()).finish()
    }
}

fn credentials(userinfo: &str) -> Result<(String, String), String> {
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        let decoded = decoded.map_err(|_| "its user or password is not UTF-8")?;
        // Such a character would end the header.
        if decoded.contains(char::is_control) {
            return Err("its user or password contains a control character");
        }
        Ok(decoded.into_owned())
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    Ok((decoded(user)?, decoded(password)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn of(proxies: &Proxies, url: &str) -> String {
        match proxies.of(&url.parse().unwrap()) {
            Ok(Some(proxy)) => proxy.url(),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_scheme_decides_which_variable_is_used() {
        let (a, b) = (("HTTP_PROXY", "a"), ("HTTPS_PROXY", "b"));
        for (variables, http, https) in [
            (&[][..], "none", "none"),
            (&[a], "http://a:80", "none"),
            (&[b], "none", "http://b:80"),
            (&[a, b], "http://a:80", "http://b:80"),
            (&[a, ("http_proxy", "c")], "http://c:80", "none"),
            (&[b, ("https_proxy", "c")], "none", "http://c:80"),
            (&[("ALL_PROXY", "c")], "http://c:80", "http://c:80"),
            (&[a, ("ALL_PROXY", "c")], "http://a:80", "http://c:80"),
            (
                &[("ALL_PROXY", "c"), ("all_proxy", "d")],
                "http://d:80",
                "http://d:80",
            ),
            (&[a, ("http_proxy", " ")], "http://a:80", "none"),
            (&[a, ("REQUEST_METHOD", "GET")], "none", "none"),
            (
                &[("http_proxy", "c"), ("REQUEST_METHOD", "GET")],
                "http://c:80",
                "none",
            ),
        ] {
            let proxies = proxies(variables);
            assert_eq!(of(&proxies, "http://provider"), http, "{variables:?}");
            assert_eq!(of(&proxies, "https://provider"), https, "{variables:?}");
        }
    }

    #[test]
    fn this_machine_and_what_no_proxy_names_are_reached_without_one() {
        let proxies = proxies(&[
            ("ALL_PROXY", "a"),
            ("NO_PROXY", "x.com, y.com:443"),
            ("no_proxy", ""),
        ]);
        for (url, is_direct) in [
            ("http://x.com/v1", true),
            ("http://y.com/v1", false),
            ("https://y.com/v1", true),
            ("https://y.com:444/v1", false),
            ("http://localhost:11434", true),
            ("http://[::1]:11434", true),
            ("http://z.com", false),
        ] {
            assert_eq!(of(&proxies, url) == "none", is_direct, "{url}");
        }
    }

    #[test]
    fn urls_of_proxies_are_read_as_curl_reads_them() {
        let sesame = ("user", "sesame");
        for (text, url, credentials) in [
            ("proxy", "http://proxy:80", None),
            ("proxy:3128", "http://proxy:3128", None),
            ("http://Proxy:3128/", "http://proxy:3128", None),
            ("HTTPS://proxy", "https://proxy:443", None),
            ("https://proxy:8443/path?query", "https://proxy:8443", None),
            ("10.0.0.1:3128", "http://10.0.0.1:3128", None),
            ("http://[fd12::1]", "http://[fd12::1]:80", None),
            ("http://[fd12::1]:3128", "http://[fd12::1]:3128", None),
            ("user:sesame@proxy", "http://proxy:80", Some(sesame)),
            ("http://user:sesame@p:1", "http://p:1", Some(sesame)),
            ("http://user@p:1", "http://p:1", Some(("user", ""))),
            ("u%40d:s%3A%2f%25@p", "http://p:80", Some(("u@d", "s:/%"))),
            ("http://u:a/b@c:d@p", "http://p:80", Some(("u", "a/b@c:d"))),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!(proxy.url(), url, "{text}");
            let found = proxy.credentials.as_ref().map(|(u, p)| (&**u, &**p));
            assert_eq!(found, credentials, "{text}");
        }
        let proxy = Proxy::parse("Aladdin:open%20sesame@p").unwrap();
        let authorization = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned());
        assert_eq!(proxy.authorization(), authorization);
    }

    #[test]
    fn what_is_wrong_with_a_proxy_is_said_without_its_password() {
        for (text, reason) in [
            ("socks5://u:sesame@p:1080", "SOCKS"),
            ("ftp://u:sesame@p", "http://"),
            ("http://u:sesame@", "look like"),
            ("http://u:sesame@:3128", "look like"),
            ("http://u:sesame@p:", "look like"),
            ("http://u:sesame@p:port", "look like"),
            ("http://u:sesame@p:65536", "look like"),
            ("http://u:sesame@p q", "look like"),
            ("http://u:sesame%FF@p", "UTF-8"),
            ("http://u:sesame%0d%0aX@p", "control"),
        ] {
            let proxies = proxies(&[("HTTPS_PROXY", text)]);
            let error = of(&proxies, "https://provider");
            assert!(error.contains("HTTPS_PROXY names no proxy"), "{error}");
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("sesame"), "{error}");
            // Others do not need it.
            assert_eq!(of(&proxies, "http://provider"), "none");
            assert_eq!(of(&proxies, "https://localhost"), "none");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let proxies = proxies(&[("ALL_PROXY", "http://user:sesame@proxy:3128")]);
        let proxy = Proxy::parse("http://user:sesame@proxy:3128").unwrap();
        let refusal = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        for text in [
            format!("{proxies:?}"),
            format!("{proxy:?}"),
            proxy.to_string(),
            proxy.blame(proxy.check(refusal).unwrap_err()).to_string(),
            proxy.url(),
        ] {
            assert!(text.contains("proxy:3128"), "{text}");
            assert!(
                !text.contains("sesame") && !text.contains("user:"),
                "{text}"
            );
        }
    }
}
