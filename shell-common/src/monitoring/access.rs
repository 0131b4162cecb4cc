//! Who may ask what.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) reason: &'static str,
}

/// The header that a request must have if it changes something: a page of another site cannot send it.
const INTENT: &str = "x-pgai-action";

const fn refused(status: StatusCode, reason: &'static str) -> Refused {
    Refused { status, reason }
}

/// Whether a request may read.
///
/// A browser on this machine could be led here by a foreign page, under a name that its owner has pointed at
/// this machine. So without a token the name must be this machine's own.
pub(super) fn may_read(headers: &HeaderMap, token: Option<&str>) -> Result<(), Refused> {
    match token {
        Some(token) if carries(headers, token) => Ok(()),
        Some(_) => Err(refused(
            StatusCode::UNAUTHORIZED,
            "a token is needed: as a bearer token, or as the password",
        )),
        None if is_addressed_here(headers) => Ok(()),
        None => Err(refused(
            StatusCode::FORBIDDEN,
            "ask for 127.0.0.1 or localhost, or let the worker have a token: PGAI_HTTP_TOKEN",
        )),
    }
}

/// Whether a request that may read may change something, too.
pub(super) fn may_act(request: &Parts, has_actions: bool) -> Result<(), Refused> {
    if !has_actions {
        return Err(refused(
            StatusCode::FORBIDDEN,
            "this worker was not started with --http-actions",
        ));
    }
    let headers = &request.headers;
    let origin = headers.get(ORIGIN).map(|origin| origin.as_bytes());
    let origin = origin.and_then(|origin| origin.rsplit(|byte| *byte == b'/').next());
    let host = headers.get(HOST).map(|host| host.as_bytes());
    if !headers.contains_key(INTENT) || origin.is_some() && origin != host {
        return Err(refused(
            StatusCode::FORBIDDEN,
            "only the status page itself, or a request with the header X-Pgai-Action, may do this",
        ));
    }
    Ok(())
}

fn carries(headers: &HeaderMap, token: &str) -> bool {
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, given)) = value.and_then(|value| value.split_once(' ')) else {
        return false;
    };
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_same(given.as_bytes(), token.as_bytes());
    }
    let given = STANDARD.decode(given).unwrap_or_default();
    let password = given.splitn(2, |byte| *byte == b':').nth(1);
    scheme.eq_ignore_ascii_case("basic")
        && password.is_some_and(|password| is_same(password, token.as_bytes()))
}

/// Takes as long for any text of a length, so that the time tells nothing of the token.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differing = given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && differing == 0
}

fn is_addressed_here(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority: Option<http::uri::Authority> = host.and_then(|host| host.parse().ok());
    authority.is_some_and(|authority| {
        let host = authority.host();
        let ip = host.trim_start_matches('[').trim_end_matches(']');
        let ip: Option<std::net::IpAddr> = ip.parse().ok();
        host.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn reads(headers: &[(&str, &str)], token: Option<&str>) -> bool {
        may_read(&parts(headers).headers, token).is_ok()
    }

    #[test]
    fn a_token_is_a_bearer_token_or_a_password() {
        for (value, is_good) in [
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Basic cGdhaTpzM2NyZXQ=", true),
            ("Basic OnMzY3JldA==", true),
            ("Bearer s3cre", false),
            ("Bearer s3crett", false),
            ("Bearer", false),
            ("Basic czNjcmV0", false),
            ("Digest s3cret", false),
        ] {
            let headers = [("authorization", value)];
            assert_eq!(reads(&headers, Some("s3cret")), is_good, "{value}");
        }
        assert!(!reads(&[("host", "localhost")], Some("s3cret")));
    }

    #[test]
    fn without_a_token_only_this_machine_is_asked_for() {
        for (host, is_good) in [
            ("localhost:9187", true),
            ("127.0.0.1:9187", true),
            ("[::1]:9187", true),
            ("LOCALHOST", true),
            ("evil.example:9187", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.1:9187", false),
        ] {
            assert_eq!(reads(&[("host", host)], None), is_good, "{host}");
        }
        assert!(!reads(&[], None));
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        let own = ("origin", "http://127.0.0.1:9187");
        let host = ("host", "127.0.0.1:9187");
        let intent = ("x-pgai-action", "yes");
        for (headers, is_good) in [
            (vec![host, own, intent], true),
            (vec![host, intent], true),
            (vec![host, own], false),
            (vec![host, ("origin", "http://evil.example"), intent], false),
            (vec![host, ("origin", "null"), intent], false),
        ] {
            assert_eq!(
                may_act(&parts(&headers), true).is_ok(),
                is_good,
                "{headers:?}"
            );
            assert!(may_act(&parts(&headers), false).is_err());
        }
    }
}
