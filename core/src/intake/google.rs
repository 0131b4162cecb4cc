//! The request for an access token of a Google service account.
//!
//! Source: "Using OAuth 2.0 for Server to Server Applications" of Google, and RFC 7523.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;

use super::{Http, Vault, value};

/// The statement is valid for this many seconds.
const SECONDS: u64 = 3600;
/// What the token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The parts of a service account's key that are needed.
#[derive(Deserialize)]
struct Account {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    /// Where Google issues tokens for it: the file is the operator's, so it is trusted.
    token_uri: Option<String>,
}

/// Puts the signed statement into the body of a request to the token endpoint. Returns what must not be
/// seen in the answer.
pub(super) fn ask(
    http: &mut Http,
    variable: &str,
    vault: &impl Vault,
) -> Result<Vec<String>, String> {
    let text = value(variable, vault)?;
    let text = if text.starts_with('{') {
        text
    } else {
        vault
            .file(&text)
            .map_err(|reason| format!("the file that {variable} names cannot be read: {reason}"))?
    };
    let account: Account = serde_json::from_str(&text).map_err(|_| {
        format!(
            "{variable} must contain the JSON key of a service account, or the path of its file"
        )
    })?;
    if let Some(place) = account.token_uri {
        *http.uri_mut() = place
            .parse()
            .map_err(|_| format!("the token_uri of {variable} is no URL"))?;
    }
    let issued = vault.wall_time().as_secs();
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id});
    let claims = json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": http.uri().to_string(),
        "iat": issued,
        "exp": issued + SECONDS,
    });
    let part = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = vault
        .sign(&account.private_key, message.as_bytes())
        .map_err(|reason| format!("the private key of {variable} cannot be used: {reason}"))?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    // The grant type is percent-encoded; the rest needs no encoding.
    let body = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={message}.{signature}"
    );
    *http.body_mut() = body.into_bytes();
    Ok(vec![signature])
}
