//! Amazon S3, and servers that speak its protocol.

use super::tokens::{TokenOf, Valid};
use super::{Asked, Object, Refusal, element, get, header, instance, known, post};
use crate::provider::brief;
use crate::request::{AwsCredential, Credential, Request, Response, Token};
use crate::settings::{AwsSource, S3Store, StoreSettings, plain_region};

/// Where a bucket is looked for first. If it is elsewhere, S3 says where.
const REGION: &str = "us-east-1";
/// What pgai calls the sessions of its roles: the trust policy of a role may want this name.
const SESSION: &str = "timescale-vectorizer";

/// The request for an object, or for the keys that it takes. `region` is the bucket's, if it is known.
pub(super) fn request(
    object: &Object,
    stores: &StoreSettings,
    region: Option<&str>,
    tokens: Valid<'_>,
) -> Result<(Asked, Request), String> {
    let store = known(&stores.s3)?;
    if store.is_anonymous {
        return anonymous(object, store, region);
    }
    let issued = tokens.get(&TokenOf::Aws);
    if let (Some(source), None) = (&store.source, issued) {
        let (of, request) = keys(store, source, tokens)?;
        return Ok((Asked::Token(of), request));
    }
    let of_role = match &object.role {
        None => issued,
        Some(role) => {
            let of = TokenOf::Role(role.clone());
            match tokens.get(&of) {
                Some(token) => Some(token),
                None => return Ok((Asked::Token(of), assume(store, role, issued)?)),
            }
        }
    };
    let region = region.or(store.region.as_deref()).unwrap_or(REGION);
    let mut request = get(&url(object, store, region))?;
    request.credential = Some(credential("s3", region, of_role));
    Ok((Asked::Object, request))
}

/// The request for an object that everybody may read.
fn anonymous(
    object: &Object,
    store: &S3Store,
    region: Option<&str>,
) -> Result<(Asked, Request), String> {
    if object.role.is_some() {
        return Err(
            "a role is taken on with credentials, and AWS_NO_SIGN_REQUEST says that there are none"
                .to_owned(),
        );
    }
    let region = region.or(store.region.as_deref()).unwrap_or(REGION);
    Ok((Asked::Object, get(&url(object, store, region))?))
}

fn url(object: &Object, store: &S3Store, region: &str) -> String {
    let (bucket, key) = (&object.bucket, object.encoded("/"));
    if let Some(endpoint) = &store.endpoint {
        return format!("{endpoint}/{bucket}/{key}");
    }
    let host = format!("s3.{region}.{}", domain(region));
    // A certificate is for one label before the host.
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (3..=63).contains(&bucket.len()) && bucket.chars().all(is_label) {
        format!("https://{bucket}.{host}/{key}")
    } else {
        format!("https://{host}/{bucket}/{key}")
    }
}

fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// What requests are signed with: the worker's own keys, or those that were issued.
fn credential(service: &'static str, region: &str, issued: Option<&Token>) -> Credential {
    Credential::Aws(AwsCredential {
        key_id: None,
        variable: "AWS_SECRET_ACCESS_KEY".to_owned(),
        region: region.to_owned(),
        service,
        issued: match issued {
            Some(Token::Aws(keys)) => Some(keys.clone()),
            Some(Token::Bearer(_)) | None => None,
        },
    })
}

/// The request for keys of the worker's own, or for what it needs first.
fn keys(
    store: &S3Store,
    source: &AwsSource,
    tokens: Valid<'_>,
) -> Result<(TokenOf, Request), String> {
    let (mut request, credential) = match source {
        AwsSource::Container(url) => (get(url)?, Credential::Container),
        AwsSource::Instance(endpoint) => return instance::request(endpoint, tokens),
        AwsSource::WebIdentity => (post(&sts(store))?, Credential::WebIdentity),
    };
    request.credential = Some(credential);
    Ok((TokenOf::Aws, request))
}

/// The request for keys of a role.
fn assume(store: &S3Store, role: &str, issued: Option<&Token>) -> Result<Request, String> {
    let mut request = post(&sts(store))?;
    let mut body = "Action=AssumeRole&Version=2011-06-15".to_owned();
    let external = store.external_id.as_deref();
    let fields = [
        ("RoleArn", Some(role)),
        ("RoleSessionName", Some(SESSION)),
        ("ExternalId", external),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            let mut form = percent_encoded(value);
            form.insert_str(0, &format!("&{name}="));
            body.push_str(&form);
        }
    }
    *request.http.body_mut() = body.into_bytes();
    let region = store.region.as_deref().unwrap_or(REGION);
    request.credential = Some(credential("sts", region, issued));
    Ok(request)
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    text.bytes()
        .for_each(|byte| crate::intake::encode(&mut encoded, byte));
    encoded
}

/// Where AWS issues keys.
fn sts(store: &S3Store) -> String {
    if let Some(url) = &store.sts {
        return format!("{url}/");
    }
    match &store.region {
        Some(region) => format!("https://sts.{region}.{}/", domain(region)),
        None => "https://sts.amazonaws.com/".to_owned(),
    }
}

/// What an answer without an object means.
pub(super) fn refusal(response: &Response) -> Refusal {
    let status = response.status();
    let xml = String::from_utf8_lossy(response.body());
    let code = element(&xml, "Code").unwrap_or_default();
    let advice = match code.as_str() {
        "AccessDenied" | "AllAccessDisabled" => {
            "the worker's credentials may not read it: allow s3:GetObject. Without s3:ListBucket this is also the \
             answer for what does not exist"
        }
        "ExpiredToken" | "TokenRefreshRequired" => {
            "the worker's session token has run out: give it new credentials"
        }
        "InvalidAccessKeyId" | "InvalidToken" => {
            "the store does not know the worker's credentials: check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN"
        }
        "InvalidObjectState" => {
            "the object is in an archive: restore it, or move it to another storage class"
        }
        "NoSuchBucket" => "there is no such bucket",
        "NoSuchKey" => "there is no such object",
        "RequestTimeTooSkewed" => "the clock of the worker's machine is wrong: set it",
        "SignatureDoesNotMatch" => {
            "the secret key does not belong to the id of the key: check AWS_SECRET_ACCESS_KEY"
        }
        _ if status.as_u16() == 403 => "the worker's credentials may not read it",
        _ if status.as_u16() == 404 => "there is no such object",
        _ => "",
    };
    let mut refusal = Refusal::new(status, &code, advice);
    if advice.is_empty()
        && let Some(message) = element(&xml, "Message")
    {
        refusal.reason = format!("{}: {}", refusal.reason, brief(&message));
    }
    refusal.is_of_token = matches!(
        code.as_str(),
        "ExpiredToken" | "InvalidAccessKeyId" | "InvalidToken" | "TokenRefreshRequired"
    );
    let is_elsewhere = matches!(status.as_u16(), 301 | 307)
        || matches!(
            code.as_str(),
            "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"
        );
    if is_elsewhere {
        let region = header(response.headers(), "x-amz-bucket-region");
        let region = region
            .map(str::to_owned)
            .or_else(|| element(&xml, "Region"));
        refusal.region = region.and_then(|region| plain_region(&region));
    }
    refusal
}
