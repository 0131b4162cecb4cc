//! Signature Version 4 of Amazon Web Services.
//!
//! Source: "Create a signed AWS API request" in the IAM User Guide. Every header that the request has when
//! it is signed is signed.

use http::{HeaderName, Uri};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::hmac::hmac;
use super::{Http, Vault, encode, put, put_form, value};
use crate::request::{AwsCredential, AwsKeys};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// The hash of the body, which only this service wants to see.
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const S3: &str = "s3";
const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Headers that a shell or a proxy may change on the way.
const UNSIGNED: [&str; 2] = ["accept-encoding", "user-agent"];

/// Signs a request. Returns what must not be seen in the answer.
pub(super) fn sign(
    http: &mut Http,
    credential: &AwsCredential,
    vault: &impl Vault,
) -> Result<Vec<String>, String> {
    let keys = match &credential.issued {
        Some(keys) => keys.clone(),
        None => keys(credential, vault)?,
    };
    let time = Timestamp::from_second(i64::try_from(vault.wall_time().as_secs()).unwrap_or(0))
        .map_err(|error| format!("the clock is wrong: {error}"))?;
    let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
    keys.sign(http, credential, &time)?;
    Ok(std::iter::once(keys.secret).chain(keys.session).collect())
}

/// The keys of the environment, or of a profile file, as AWS's own programs look for them.
fn keys(credential: &AwsCredential, vault: &impl Vault) -> Result<AwsKeys, String> {
    let set = |name: &str| {
        let value = vault.variable(name)?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let Some(secret) = set(&credential.variable) else {
        return profile(vault);
    };
    Ok(match &credential.key_id {
        Some(id) => AwsKeys {
            id: id.clone(),
            secret,
            session: None,
        },
        None => AwsKeys {
            id: value("AWS_ACCESS_KEY_ID", vault)?,
            secret,
            session: set("AWS_SESSION_TOKEN"),
        },
    })
}

/// The keys of the profile that `AWS_PROFILE` names, or of `default`.
fn profile(vault: &impl Vault) -> Result<AwsKeys, String> {
    let name = vault.variable("AWS_PROFILE");
    let name = name.unwrap_or_else(|| "default".to_owned());
    let path = vault.variable("AWS_SHARED_CREDENTIALS_FILE").or_else(|| {
        let home = vault.variable("HOME")?;
        Some(format!("{home}/.aws/credentials"))
    });
    let path = path.ok_or("ApiKeyNotFoundError: AWS_SECRET_ACCESS_KEY is not set")?;
    let text = vault
        .file(&path)
        .map_err(|reason| format!("the profile file {path} cannot be read: {reason}"))?;
    let section = format!("[{name}]");
    let lines = text.lines().map(str::trim);
    let lines = lines.skip_while(|line| *line != section).skip(1);
    let lines: Vec<(&str, &str)> = lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let field = |name: &str| {
        let mut lines = lines.iter();
        let line = lines.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(line.1.to_owned())
    };
    match (field("aws_access_key_id"), field("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Ok(AwsKeys {
            id,
            secret,
            session: field("aws_session_token"),
        }),
        _ => Err(format!(
            "ApiKeyNotFoundError: the profile {name} of {path} has no aws_access_key_id and aws_secret_access_key"
        )),
    }
}

/// Puts a request for keys into the body: a role, and a token that shows who is asking
/// (AssumeRoleWithWebIdentity of AWS's Security Token Service).
pub(super) fn ask_for_keys(http: &mut Http, vault: &impl Vault) -> Result<Vec<String>, String> {
    let role = value("AWS_ROLE_ARN", vault)?;
    let path = value("AWS_WEB_IDENTITY_TOKEN_FILE", vault)?;
    let token = vault.file(&path).map_err(|reason| {
        format!("the file that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read: {reason}")
    })?;
    let token = token.trim();
    let session = vault.variable("AWS_ROLE_SESSION_NAME");
    let session = session.unwrap_or_else(|| "pgai-worker".to_owned());
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", &role),
        ("RoleSessionName", &session),
        ("WebIdentityToken", token),
    ];
    put_form(http, &fields);
    Ok(vec![token.to_owned()])
}

/// Lets a request for keys carry the token that the container was given, if any.
pub(super) fn ask_in_container(http: &mut Http, vault: &impl Vault) -> Result<Vec<String>, String> {
    const VARIABLE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
    let Some(token) = vault.variable(VARIABLE) else {
        return Ok(vec![]);
    };
    let token = token.trim();
    let broken = || format!("the value of {VARIABLE} holds characters that no header may carry");
    put(http, &http::header::AUTHORIZATION, token).ok_or_else(broken)?;
    Ok(vec![token.to_owned()])
}

impl AwsKeys {
    /// `time` is in ISO 8601 without punctuation, in UTC.
    fn sign(&self, http: &mut Http, credential: &AwsCredential, time: &str) -> Result<(), String> {
        let broken = || "an AWS key holds characters that no header may carry".to_owned();
        put(http, &DATE, time).ok_or_else(broken)?;
        if let Some(session) = &self.session {
            put(http, &SESSION, session).ok_or_else(broken)?;
        }
        if credential.service == S3 {
            let body = hash(http.body());
            put(http, &CONTENT, &body).ok_or_else(broken)?;
        }
        let (names, request) = canonical(http, credential.service);
        let date = time.get(..8).unwrap_or_default();
        let (region, service) = (&credential.region, credential.service);
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hash(request.as_bytes()));
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), date);
        for part in [region, service, "aws4_request"] {
            key = hmac(&key, part);
        }
        let signature = hexadecimal(&hmac(&key, &to_sign));
        let id = &self.id;
        let value = format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        put(http, &http::header::AUTHORIZATION, &value).ok_or_else(broken)
    }
}

/// The names of the signed headers, and the request in its canonical form.
fn canonical(http: &Http, service: &str) -> (String, String) {
    let host = http.uri().authority().map_or("", |host| host.as_str());
    let mut headers: Vec<(&str, String)> = vec![("host", host.to_owned())];
    for name in http.headers().keys() {
        if UNSIGNED.contains(&name.as_str()) {
            continue;
        }
        let values = http.headers().get_all(name).iter();
        let values: Vec<String> = values
            .map(|value| one_space(&String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.push((name.as_str(), values.join(",")));
    }
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let path = match service {
        S3 => http.uri().path().to_owned(),
        _ => path(http.uri()),
    };
    let query = query(http.uri());
    let (method, body) = (http.method(), hash(http.body()));
    let request = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}");
    (names, request)
}

/// A value of a header with single spaces.
fn one_space(value: &str) -> String {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// The path, encoded once more, as every service but S3 wants it.
fn path(uri: &Uri) -> String {
    let mut path = String::new();
    for byte in uri.path().bytes() {
        match byte {
            b'/' => path.push('/'),
            byte => encode(&mut path, byte),
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// The parts of the query in order.
fn query(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let parts = query.split('&').filter(|part| !part.is_empty());
    let mut parts: Vec<(&str, &str)> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    parts.sort_unstable();
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parts.join("&")
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
