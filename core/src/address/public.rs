//! Addresses of the public internet: the only ones that a URL in a row may lead to.

use std::net::{IpAddr, SocketAddr};

use super::{bare, check_host, metadata, plain};

/// Returns the resolved addresses to which a connection is allowed for a URL that stands in a row: only those of the
/// public internet. Whoever can write rows must not read what only the worker's network can reach.
///
/// # Errors
/// If no address is allowed; the text says why.
pub fn public_addresses(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, String> {
    let (allowed, refused): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| is_public(address.ip()));
    match (refused.first(), allowed.is_empty()) {
        (Some(address), true) => Err(not_public(address.ip())),
        (None, true) => Err("the name has no address".to_owned()),
        (_, false) => Ok(allowed),
    }
}

/// Whether the host of a URL is a name, or an address at which documents may be.
pub(crate) fn check_name(host: &str) -> Result<(), String> {
    check_host(&bare(host))
}

/// Whether a host, if it is written as an address, is one of the public internet.
pub(crate) fn check_public(host: &str) -> Result<(), String> {
    match bare(host).parse() {
        Ok(address) if !is_public(address) => Err(not_public(address)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn not_public(address: IpAddr) -> String {
    format!(
        "{address} is not an address of the public internet: the worker's operator can allow the place with \
         --allow-uri"
    )
}

/// Whether an address is one of the public internet (the registries of special addresses of IANA).
fn is_public(address: IpAddr) -> bool {
    if metadata(address) {
        return false;
    }
    match plain(address) {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            // Shared addresses, protocol assignments, benchmarks, what is reserved.
            let is_special = a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19));
            !is_special
                && !address.is_private()
                && !address.is_loopback()
                && !address.is_link_local()
                && !address.is_documentation()
                && !address.is_multicast()
        }
        IpAddr::V6(address) => {
            let parts = address.segments();
            // 2000::/3 has all that is assigned; 2001::/23 and 2001:db8::/32 are special.
            let is_special = parts[0] == 0x2001 && (parts[1] < 0x0200 || parts[1] == 0x0db8);
            parts[0] & 0xe000 == 0x2000 && !is_special
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for (address, is_allowed) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("100.64.0.1", false),
            ("198.18.0.1", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::10.0.0.1", false),
            ("2002:0a00:0001::1", false),
            ("::ffff:93.184.216.34", true),
        ] {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(is_public(ip), is_allowed, "{address}");
            let found = public_addresses([SocketAddr::new(ip, 443)]);
            assert_eq!(found.is_ok(), is_allowed, "{address}");
        }
    }
}
