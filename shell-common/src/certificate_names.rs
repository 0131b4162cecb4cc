//! Whether a certificate belongs to a host, with libpq's rules: by its alternative names of the
//! host's kind, and by its common name only if there are none of these.

use std::net::IpAddr;

use rustls::pki_types::ServerName;
use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

pub(crate) fn fit(certificate: &Certificate, host: &ServerName<'_>) -> bool {
    let body = &certificate.tbs_certificate;
    let names = match body.get::<SubjectAltName>() {
        Ok(found) => found.map(|(_, names)| names.0).unwrap_or_default(),
        Err(_) => return false,
    };
    let address = if let ServerName::IpAddress(address) = host {
        Some(IpAddr::from(*address))
    } else {
        None
    };
    let host = host.to_str();
    let mut is_decided = false;
    for name in &names {
        let fits = match (name, address) {
            (GeneralName::DnsName(name), _) => {
                is_decided |= address.is_none();
                matches(name.as_str(), &host)
            }
            (GeneralName::IpAddress(found), Some(address)) => {
                is_decided = true;
                match address {
                    IpAddr::V4(address) => found.as_bytes() == address.octets(),
                    IpAddr::V6(address) => found.as_bytes() == address.octets(),
                }
            }
            _ => false,
        };
        if fits {
            return true;
        }
    }
    let mut parts = body.subject.0.iter().flat_map(|part| part.0.iter());
    let common = parts.find(|part| part.oid == COMMON_NAME);
    let common = common.and_then(|part| std::str::from_utf8(part.value.value()).ok());
    !is_decided && common.is_some_and(|name| matches(name, &host))
}

/// A leading `*.` matches one label.
fn matches(pattern: &str, host: &str) -> bool {
    if pattern.contains('\0') {
        return false;
    }
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(end), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !label.is_empty() && !end.is_empty() && end.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, host, fits) in [
            ("db.example", "DB.example", true),
            ("*.example", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*", "db", false),
            ("d*.example", "db.example", false),
            ("db\0.example", "db\0.example", false),
        ] {
            assert_eq!(matches(pattern, host), fits, "{pattern} {host}");
        }
    }
}
