//! The keys of an EC2 instance's role, from version 2 of its metadata service.
//!
//! Source: "Use the Instance Metadata Service to access instance metadata" in the Amazon EC2 User Guide. A token comes
//! first, then the name of the role, then the role's keys.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::get;
use super::tokens::{TokenOf, Valid};
use crate::provider::{IssuedToken, brief};
use crate::request::{Request, Response, Token};

const SEEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const VALID_SECONDS: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
/// The longest that the service allows is six hours; a role may change before that.
const VALID: u16 = 3600;
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// The next request of the three.
pub(super) fn request(endpoint: &str, tokens: Valid<'_>) -> Result<(TokenOf, Request), String> {
    let get = |path: &str| {
        get(&format!("{endpoint}/{path}"))
            .map_err(|_| "AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL".to_owned())
    };
    let Some(Token::Bearer(seen)) = tokens.get(&TokenOf::Instance) else {
        let mut request = get("latest/api/token")?;
        *request.http.method_mut() = Method::PUT;
        let headers = request.http.headers_mut();
        headers.insert(VALID_SECONDS, HeaderValue::from(VALID));
        return Ok((TokenOf::Instance, request));
    };
    let (of, mut request) = match tokens.get(&TokenOf::InstanceRole) {
        Some(Token::Bearer(role)) => (TokenOf::Aws, get(&format!("{ROLES}{role}"))?),
        Some(Token::Aws(_)) | None => (TokenOf::InstanceRole, get(ROLES)?),
    };
    let mut seen = HeaderValue::try_from(seen).map_err(|_| unreadable())?;
    seen.set_sensitive(true);
    request.http.headers_mut().insert(SEEN, seen);
    Ok((of, request))
}

/// The token, or the name of the role: a line of text.
pub(super) fn read(response: &Response) -> Result<IssuedToken, String> {
    let status = response.status();
    let text = String::from_utf8_lossy(response.body());
    if status == http::StatusCode::NOT_FOUND {
        return Err("the EC2 instance has no role: give it an instance profile".to_owned());
    }
    if !status.is_success() {
        let said = brief(&text);
        return Err(format!(
            "the metadata service of the EC2 instance answers {}: {said}",
            status.as_u16()
        ));
    }
    let line = text.lines().next().unwrap_or_default().trim();
    // It becomes a header, or a part of a path.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_/".contains(c);
    if line.is_empty() || !line.chars().all(is_plain) {
        return Err(unreadable());
    }
    Ok(IssuedToken {
        token: Token::Bearer(line.to_owned()),
        valid: Duration::from_secs(VALID.into()).mul_f64(0.9),
    })
}

fn unreadable() -> String {
    "the answer of the EC2 instance's metadata service cannot be read".to_owned()
}
