//! The addresses of providers: base URLs, and the network addresses of their host names.

mod public;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;

use crate::cut::cut;
pub use public::public_addresses;
pub(crate) use public::{check_name, check_public};

/// The base URL of a provider, read and checked once.
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl {
    /// Without slashes at the end and without a query, so it can be shown.
    text: String,
    /// `api-version=…`, which Azure needs after every path.
    query: Option<String>,
    host: String,
    is_https: bool,
    /// Whether the operator chose it, not the creator of the vectorizer.
    is_operators: bool,
}

impl BaseUrl {
    /// A base URL that the worker's environment names, or a provider's own.
    pub(crate) fn from_operator(text: &str) -> Result<Self, String> {
        let named = Self::from_config(text)?;
        Ok(Self {
            is_operators: true,
            ..named
        })
    }

    /// A base URL from the config of a vectorizer. The error is logged and stored in tables, so
    /// it does not repeat parts that may contain a secret.
    pub(crate) fn from_config(text: &str) -> Result<Self, String> {
        if authority(text).contains('@') {
            return Err(refused("it must not hold a user or a password"));
        }
        if text.contains('#') {
            return Err(refused("it must not hold a fragment (#)"));
        }
        let (base, query) = match text.split_once('?') {
            Some((base, query)) if is_api_version(query) => (base, Some(query.to_owned())),
            Some(_) => return Err(refused("of a query (?) only ?api-version=… is possible")),
            None => (text, None),
        };
        let base = base.trim_end_matches('/');
        // (Perhaps a password with a slash in it ends at an @.)
        let shown = |reason: &str| match base.contains('@') {
            true => refused(reason),
            false => refused(&format!("{:?}: {reason}", cut(base))),
        };
        let uri: Uri = base.parse().map_err(|_| shown("this is no URL"))?;
        let host = match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => bare(host),
            _ => {
                return Err(shown(
                    "a URL begins with http:// or https:// and names a host",
                ));
            }
        };
        check_host(&host).map_err(|reason| shown(&reason))?;
        if !has_plain_port(&uri) {
            return Err(shown("its port is no number"));
        }
        Ok(Self {
            text: base.to_owned(),
            query,
            is_https: uri.scheme_str() == Some("https"),
            host,
            is_operators: false,
        })
    }

    /// The address of a path below it.
    pub(crate) fn endpoint(&self, path: &str) -> Result<Uri, String> {
        let mut url = format!("{}/{path}", self.text);
        if let Some(query) = &self.query {
            url.push('?');
            url.push_str(query);
        }
        url.parse().map_err(|_| refused("this is no URL"))
    }

    /// The address of a path below it, with a version of the interface, which wins over its own.
    pub(crate) fn endpoint_of_version(&self, path: &str, version: &str) -> Result<Uri, String> {
        let base = Self {
            query: Some(format!("api-version={version}")),
            ..self.clone()
        };
        base.endpoint(path)
    }

    /// The address itself.
    pub(crate) fn itself(&self) -> Result<Uri, String> {
        let query = self.query.as_ref();
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let url = format!("{}{query}", self.text).parse();
        url.map_err(|_| refused("this is no URL"))
    }

    /// Without the query.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// In lower case, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn is_https(&self) -> bool {
        self.is_https
    }

    pub(crate) const fn is_operators(&self) -> bool {
        self.is_operators
    }

    /// Whether it is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => plain(address).is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }

    /// Whether the host is a domain or lies below it.
    pub(crate) fn is_within(&self, domain: &str) -> bool {
        let domain = bare(domain);
        let rest = self.host.strip_suffix(&domain);
        !domain.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// A URL of the operator's environment at which tokens are issued to this machine: unlike a provider's, its
/// host may have a link-local address.
pub(crate) fn operators_url(text: &str) -> Option<Uri> {
    let url: Uri = text.trim().parse().ok()?;
    let is_whole = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    is_whole.then_some(url)
}

fn refused(reason: &str) -> String {
    format!("embedding config: base_url: {reason}")
}

/// Whether a port, if it is given, is one.
fn has_plain_port(uri: &Uri) -> bool {
    uri.authority().is_none_or(|authority| {
        let place = authority.as_str().trim_end_matches(':');
        place.len() == authority.host().len() || authority.port_u16().is_some()
    })
}

/// What names the server in the text of a URL: an @ after it belongs to the path.
fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest)
}

/// Whether the query contains a version and nothing else.
fn is_api_version(query: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let version = query.strip_prefix("api-version=");
    version.is_some_and(|version| !version.is_empty() && version.chars().all(is_part))
}

fn bare(host: &str) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).to_ascii_lowercase()
}

/// Rejects hosts that programs parse differently: `0x7f.1` and `134744072` are addresses to
/// some and names to others.
fn check_host(host: &str) -> Result<(), String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return match metadata(address) {
            true => Err(no_provider(address)),
            false => Ok(()),
        };
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let last = host.trim_end_matches('.').rsplit('.').next();
    let is_number = |label: &str| {
        let digits = label.strip_prefix("0x").unwrap_or(label);
        label.starts_with("0x") && digits.chars().all(|c| c.is_ascii_hexdigit())
            || label.chars().all(|c| c.is_ascii_digit())
    };
    if !host.chars().all(is_part) || last.is_none_or(is_number) {
        return Err("its host is neither a name nor an address as usually written".to_owned());
    }
    Ok(())
}

/// Returns the resolved addresses to which a connection is allowed. A shell calls this before it
/// connects, also if it sends no secret: a cloud's metadata service returns credentials to any
/// client.
///
/// # Errors
/// If no address is allowed; the text says why.
pub fn allowed_addresses(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, String> {
    let (refused, allowed): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| metadata(address.ip()));
    match (refused.first(), allowed.is_empty()) {
        (Some(address), true) => Err(format!("the name is that of {}", no_provider(address.ip()))),
        (None, true) => Err("the name has no address".to_owned()),
        (_, false) => Ok(allowed),
    }
}

/// Whether the host of a URL is written as an address to which providers' names may not lead. The core makes
/// such a URL only for an endpoint of the worker's own machine which the operator's environment names, so a
/// shell connects to it, and not through a proxy.
#[must_use]
pub fn is_own_endpoint(host: &str) -> bool {
    bare(host).parse().is_ok_and(metadata)
}

fn no_provider(address: IpAddr) -> String {
    format!("{address}, a link-local address or a metadata service: nothing is asked there")
}

/// Whether an address is link-local, or that of a cloud's metadata service.
fn metadata(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(address) => {
            // Alibaba Cloud, Azure's wire server, Oracle Cloud.
            let known = [[100, 100, 100, 200], [168, 63, 129, 16], [192, 0, 0, 192]];
            // 169.254.0.0/16 has those of all others.
            address.is_link_local() || known.contains(&address.octets())
        }
        IpAddr::V6(address) => {
            let parts = address.segments();
            // Those of AWS (fd00:ec2::/32) and of Google Cloud (fd20:ce::/32).
            let known = [[0xfd00, 0x0ec2], [0xfd20, 0x00ce]];
            address.is_unicast_link_local() || known.contains(&[parts[0], parts[1]])
        }
    }
}

/// The IPv4 address that an IPv6 address embeds, if any: mapped, compatible, NAT64, 6to4.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        _ if v6 == Ipv6Addr::LOCALHOST || v6.is_unspecified() => address,
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_stays_behind_the_path() {
        let url = BaseUrl::from_config("https://r.openai.azure.com/openai/v1/?api-version=preview");
        let url = url.unwrap();
        assert_eq!(
            url.endpoint("embeddings").unwrap(),
            "https://r.openai.azure.com/openai/v1/embeddings?api-version=preview"
        );
        assert_eq!(url.as_str(), "https://r.openai.azure.com/openai/v1");
    }

    #[test]
    fn a_path_may_have_an_at_sign() {
        let url = BaseUrl::from_config("https://host.example/a@b/v1?api-version=1").unwrap();
        assert_eq!(url.host(), "host.example");
        assert_eq!(
            url.endpoint("embeddings").unwrap(),
            "https://host.example/a@b/v1/embeddings?api-version=1"
        );
    }

    #[test]
    fn what_else_a_url_may_hold_is_refused_without_being_repeated() {
        for url in [
            "https://user:hunter2@api.openai.com",
            "https://user:hunter2@api.openai.com/a@b/v1",
            "https://user:hunter2/x@api.openai.com/v1",
            "https://evil.example\\hunter2@api.openai.com/v1",
            "user:hunter2@api.openai.com",
            "user:hunter2/x@api.openai.com",
            "https://api.openai.com/v1?key=hunter2",
            "https://api.openai.com/v1?api-version=1&key=hunter2",
            "https://api.openai.com/v1?api-version=1?hunter2",
            "https://api.openai.com/v1#hunter2",
            "https://evil.example/?@api.openai.com/hunter2",
            "https://evil.example#@api.openai.com/hunter2",
        ] {
            let error = BaseUrl::from_config(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("base_url"), "{error}");
        }
    }

    #[test]
    fn hosts_that_can_be_read_in_two_ways_are_refused() {
        for host in [
            "134744072",
            "0x08080808",
            "0x7f.1",
            "127.1",
            "1.2.3.4.",
            "010.1.1.1",
            "evil.example\\.openai.com",
            "%6c%6f",
            "a b",
            "ﾂ.example",
        ] {
            let url = format!("http://{host}/v1");
            assert!(BaseUrl::from_config(&url).is_err(), "{url}");
        }
        for host in [
            "ollama",
            "a_b",
            "x1",
            "host.docker.internal",
            "10.0.0.1",
            "[fd12::1]",
        ] {
            BaseUrl::from_config(&format!("http://{host}:1/v1")).unwrap();
        }
    }

    #[test]
    fn metadata_services_are_refused_however_they_are_written() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "[fe80::1]",
            "[febf::1]",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[::a9fe:a9fe]",
            "[64:ff9b::169.254.169.254]",
            "[2002:a9fe:a9fe::1]",
        ] {
            let error = BaseUrl::from_config(&format!("http://{host}/latest")).unwrap_err();
            assert!(error.contains("metadata"), "{host}: {error}");
            let address = SocketAddr::new(bare(host).parse().unwrap(), 80);
            allowed_addresses([address]).unwrap_err();
        }
    }

    #[test]
    fn of_several_addresses_the_others_stay() {
        let [bad, good] = ["169.254.0.1:80", "192.168.1.2:80"].map(|text| text.parse().unwrap());
        assert_eq!(allowed_addresses([bad, good]), Ok(vec![good]));
        assert!(allowed_addresses([]).is_err());
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for (host, is_loopback) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("ollama", false),
        ] {
            let url = BaseUrl::from_config(&format!("http://{host}")).unwrap();
            assert_eq!(url.is_loopback(), is_loopback, "{host}");
        }
    }
}
