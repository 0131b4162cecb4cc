//! Signatures of Azure's storage, and requests for tokens.
//!
//! Sources: "Authorize with Shared Key" in the reference of Azure Storage, for versions from 2015-02-21 on; "OAuth 2.0
//! client credentials flow on the Microsoft identity platform".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderName, Uri};
use jiff::Timestamp;

use super::hmac::hmac;
use super::{Http, Vault, put, put_form, value};
use crate::request::AzureCredential;
use crate::settings::{AzureSecret, CONNECTION, EntraProof, field_of_connection};

const DATE: HeaderName = HeaderName::from_static("x-ms-date");

/// Signs a request, or lets its URL carry a signature that the operator was given. Returns what must not be seen in
/// the answer.
pub(super) fn sign(
    http: &mut Http,
    credential: &AzureCredential,
    vault: &impl Vault,
) -> Result<Vec<String>, String> {
    let of_connection = |field: &str| {
        let connection = value(CONNECTION, vault)?;
        let found = field_of_connection(&connection, field).map(str::to_owned);
        found.ok_or_else(|| format!("{CONNECTION} has no {field}"))
    };
    match &credential.secret {
        AzureSecret::Key(name) => {
            shared_key(http, &credential.account, &value(name, vault)?, name, vault)
        }
        AzureSecret::KeyOfConnection => {
            let key = of_connection("AccountKey")?;
            shared_key(http, &credential.account, &key, CONNECTION, vault)
        }
        AzureSecret::Signature(name) => carry(http, &value(name, vault)?, name),
        AzureSecret::SignatureOfConnection => {
            carry(http, &of_connection("SharedAccessSignature")?, CONNECTION)
        }
    }
}

/// Puts a request for a token into the body. Returns what must not be seen in the answer.
pub(super) fn ask(
    http: &mut Http,
    proof: EntraProof,
    vault: &impl Vault,
) -> Result<Vec<String>, String> {
    const FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
    let client = value("AZURE_CLIENT_ID", vault)?;
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", &client),
        ("scope", "https://storage.azure.com/.default"),
    ];
    let secret = match proof {
        EntraProof::Secret => value("AZURE_CLIENT_SECRET", vault)?,
        EntraProof::Federated => {
            let token = vault.file(&value(FILE, vault)?);
            let token = token
                .map_err(|reason| format!("the file that {FILE} names cannot be read: {reason}"))?;
            token.trim().to_owned()
        }
    };
    match proof {
        EntraProof::Secret => fields.push(("client_secret", &secret)),
        EntraProof::Federated => fields.extend([
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &secret),
        ]),
    }
    put_form(http, &fields);
    Ok(vec![secret])
}

fn carry(http: &mut Http, signature: &str, name: &str) -> Result<Vec<String>, String> {
    let signature = signature.trim_start_matches('?');
    let url: Result<Uri, _> = format!("{}?{signature}", http.uri()).parse();
    *http.uri_mut() = url.map_err(|_| format!("the signature of {name} fits in no URL"))?;
    let mut fields = signature.split('&');
    let secret = fields.find_map(|field| field.strip_prefix("sig="));
    Ok(vec![secret.unwrap_or(signature).to_owned()])
}

fn shared_key(
    http: &mut Http,
    account: &str,
    key: &str,
    name: &str,
    vault: &impl Vault,
) -> Result<Vec<String>, String> {
    let secret = STANDARD.decode(key);
    let secret = secret.map_err(|_| format!("the account's key of {name} is not in Base64"))?;
    let time = Timestamp::from_second(i64::try_from(vault.wall_time().as_secs()).unwrap_or(0))
        .map_err(|error| format!("the clock is wrong: {error}"))?;
    let time = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let broken = || "the signature holds characters that no header may carry".to_owned();
    put(http, &DATE, &time).ok_or_else(broken)?;
    let signature = STANDARD.encode(hmac(&secret, &to_sign(http, account)));
    let value = format!("SharedKey {account}:{signature}");
    put(http, &AUTHORIZATION, &value).ok_or_else(broken)?;
    Ok(vec![key.to_owned()])
}

/// The text that is signed, of a request without a body.
fn to_sign(http: &Http, account: &str) -> String {
    let mut headers: Vec<(&str, &str)> = http
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .collect();
    headers.sort_unstable();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    // Twelve headers have fixed places; it may have two of them, If-Modified-Since and If-None-Match.
    let said = |name| {
        http.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let since = said(IF_MODIFIED_SINCE).unwrap_or_default();
    let none_match = said(IF_NONE_MATCH).unwrap_or_default();
    let (method, none) = (http.method(), "\n".repeat(7));
    let path = http.uri().path();
    format!("{method}{none}{since}\n\n{none_match}\n\n\n{headers}/{account}{path}")
}
