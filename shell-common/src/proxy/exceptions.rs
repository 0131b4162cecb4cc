//! The hosts that are reached without a proxy: this machine, and the list in `NO_PROXY`.

use std::net::{IpAddr, Ipv4Addr};

/// A parsed `NO_PROXY`.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceptions(Vec<Exception>);

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Exception {
    /// An address, with any port or with this one.
    Address(IpAddr, Option<u16>),
    /// Every host: `*`.
    All,
    /// A domain and what lies below it, with any port or with this one.
    Domain(String, Option<u16>),
    /// The addresses that begin with so many bits of this one.
    Network(IpAddr, u8),
}

impl Exceptions {
    /// Parses a list. Its entries are separated by commas or spaces.
    pub(super) fn parse(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        Self(entries.filter_map(Exception::parse).collect())
    }

    /// Whether the host is reached without a proxy. An IPv6 address may have brackets.
    pub(super) fn contain(&self, host: &str, port: u16) -> bool {
        let host = domain(host);
        let address = address(&host);
        let is_this_machine = match address {
            Some(address) => address.is_loopback(),
            None => host == "localhost",
        };
        let mut exceptions = self.0.iter();
        is_this_machine || exceptions.any(|exception| exception.applies(&host, address, port))
    }
}

impl Exception {
    /// `None` if the entry is empty.
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((network, bits)) = entry.split_once('/')
            && let (Some(network), Ok(bits)) = (address(network), bits.parse())
        {
            return Some(Self::Network(network, bits));
        }
        if let Some(address) = address(entry) {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (entry, None),
            },
            None => (entry, None),
        };
        if let Some(address) = address(host) {
            return Some(Self::Address(address, port));
        }
        let host = host.strip_prefix('*').unwrap_or(host);
        let domain = domain(host.trim_start_matches('.'));
        (!domain.is_empty()).then_some(Self::Domain(domain, port))
    }

    fn applies(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::Address(own, own_port) => {
                address == Some(*own) && own_port.is_none_or(|own| own == port)
            }
            Self::All => true,
            Self::Domain(own, own_port) => {
                let above = host.strip_suffix(&**own);
                address.is_none()
                    && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
                    && own_port.is_none_or(|own| own == port)
            }
            Self::Network(own, bits) => address.is_some_and(|address| within(address, *own, *bits)),
        }
    }
}

/// In lower case, without the dot that a complete domain may end with.
fn domain(text: &str) -> String {
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

/// An address, with brackets or without. An IPv6 address that contains an IPv4 address is that one.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address: IpAddr = inner.unwrap_or(text).parse().ok()?;
    Some(address.to_canonical())
}

/// Whether the first bits of two addresses are equal.
fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let differing = |bits_max: u8, difference: u128| {
        bits <= bits_max && (bits == 0 || difference >> (bits_max - bits) == 0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let number = |address: Ipv4Addr| u128::from(u32::from(address));
            differing(32, number(a) ^ number(b))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => differing(128, u128::from(a) ^ u128::from(b)),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_read_as_curl_and_requests_read_it() {
        for (list, host, is_direct) in [
            ("", "example.com", false),
            ("*", "example.com", true),
            ("x.com,*", "10.0.0.1", true),
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com", true),
            ("Example.Com", "example.com", true),
            ("example.com", "api.example.com", true),
            ("example.com", "a.b.example.com", true),
            ("example.com", "notexample.com", false),
            ("example.com", "example.com.evil.org", false),
            ("example.com", "com", false),
            (".example.com", "api.example.com", true),
            (".example.com", "example.com", true),
            (".example.com", "notexample.com", false),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "notexample.com", false),
            ("example.com.", "example.com", true),
            ("example.com", "example.com.", true),
            ("x.com, example.com", "example.com", true),
            ("x.com example.com", "example.com", true),
            (" ,, ,", "example.com", false),
            (".", "example.com", false),
            ("example.com:80", "example.com", true),
            ("example.com:80", "api.example.com", true),
            ("example.com:81", "example.com", false),
            ("example.com:http", "example.com", false),
            ("ollama", "ollama", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.12", false),
            ("10.0.0.1", "0.10.0.0.1", false),
            ("0.0.1", "10.0.0.1", false),
            ("10.0.0.1:80", "10.0.0.1", true),
            ("10.0.0.1:81", "10.0.0.1", false),
            ("10.0.0.1", "[::ffff:10.0.0.1]", true),
            ("fd12::1", "[fd12::1]", true),
            ("FD12:0::1", "[fd12::1]", true),
            ("[fd12::1]", "[fd12::1]", true),
            ("[fd12::1]:80", "[fd12::1]", true),
            ("[fd12::1]:81", "[fd12::1]", false),
            ("fd12::1", "[fd12::2]", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.7/32", "10.0.0.7", true),
            ("10.0.0.7/32", "10.0.0.6", false),
            ("10.0.0.6/31", "10.0.0.7", true),
            ("0.0.0.0/0", "11.0.0.0", true),
            ("0.0.0.0/0", "[fd12::1]", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("fd12::/16", "[fd12:1::1]", true),
            ("fd12::/16", "[fd13::1]", false),
            ("::/0", "[fd12::1]", true),
            ("10.0.0.0/8", "ten.example.com", false),
        ] {
            let found = Exceptions::parse(list).contain(host, 80);
            assert_eq!(found, is_direct, "NO_PROXY={list:?}, {host}");
        }
    }

    #[test]
    fn this_machine_is_always_reached_without_a_proxy() {
        for (host, is_direct) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example.com", false),
            ("0.0.0.0", false),
            ("192.168.0.1", false),
            ("ollama", false),
        ] {
            assert_eq!(Exceptions::default().contain(host, 80), is_direct, "{host}");
        }
    }
}
