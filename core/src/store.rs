//! Object stores: the addresses of objects, the requests for them, and what the answers mean.

mod allowed;
mod azure;
mod google;
mod instance;
mod s3;
mod tokens;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use crate::cut::cut;
use crate::request::{Received, Request, RequestError, Response};
use crate::settings::DocumentSettings;
use crate::time::Time;
pub(crate) use tokens::TokenOf;
use tokens::Tokens;

/// An object of a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Object {
    store: Store,
    /// S3 and Google say bucket, Azure says container.
    bucket: String,
    /// Its name within the bucket, which may contain slashes.
    key: String,
    /// Of S3: the role with which it is read.
    role: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Store {
    Azure,
    Google,
    S3,
}

impl Store {
    fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "abfs" | "abfss" | "az" | "azure" => Some(Self::Azure),
            "gs" => Some(Self::Google),
            "s3" | "s3a" | "s3n" => Some(Self::S3),
            _ => None,
        }
    }

    /// The usual one of its schemes.
    const fn scheme(self) -> &'static str {
        match self {
            Self::Azure => "az",
            Self::Google => "gs",
            Self::S3 => "s3",
        }
    }

    /// Nobody's keys are longer.
    const KEY_BYTES_MAX: usize = 4096;
}

impl Object {
    /// Reads the rest of an address after `scheme://`. `None`: the scheme is that of no object store.
    pub(crate) fn parse(
        scheme: &str,
        rest: &str,
        role: Option<&str>,
        settings: &DocumentSettings,
    ) -> Option<Result<Self, String>> {
        let store = Store::of(scheme)?;
        Some(Self::of(store, rest, role, settings))
    }

    fn of(
        store: Store,
        rest: &str,
        role: Option<&str>,
        settings: &DocumentSettings,
    ) -> Result<Self, String> {
        let scheme = store.scheme();
        let stores = &settings.stores;
        match store {
            Store::Azure => stores.azure.as_ref().map(|_| ()),
            Store::Google => stores.google.as_ref().map(|_| ()),
            Store::S3 => stores.s3.as_ref().map(|_| ()),
        }
        .map_err(Clone::clone)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = match store {
            Store::Azure => azure::container(bucket, stores)?,
            Store::Google | Store::S3 => bucket,
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '$');
        let is_name = (1..=255).contains(&bucket.len()) && bucket.chars().all(is_part);
        if !is_name || bucket.starts_with('.') || key.is_empty() {
            return Err(format!(
                "the address of an object is {scheme}://bucket/key, with the bucket's plain name"
            ));
        }
        // Programs on the way resolve such parts, and the object would be another one.
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("an object with . or .. between slashes is not loaded".to_owned());
        }
        if key.len() > Store::KEY_BYTES_MAX {
            return Err("the name of the object is too long".to_owned());
        }
        let object = Self {
            store,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            role: role.filter(|_| store == Store::S3).map(str::to_owned),
        };
        if !allowed::is_allowed(&object, &settings.allowed) {
            return Err(format!(
                "{scheme}://{bucket} is not one of the places that the worker's operator allows: its --allow-uri \
                 names others of {scheme}://"
            ));
        }
        Ok(object)
    }

    /// The key, percent-encoded; `keeps` are characters that stay.
    fn encoded(&self, keeps: &str) -> String {
        let mut encoded = String::with_capacity(self.key.len());
        for byte in self.key.bytes() {
            let c = char::from(byte);
            if byte.is_ascii_alphanumeric() || "-._~".contains(c) || keeps.contains(c) {
                encoded.push(c);
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    }

    /// What a message says of it: its bucket, and not its key, which stands in the row.
    fn shown(&self) -> String {
        format!("{}://{}", self.store.scheme(), self.bucket)
    }
}

/// What a request for an object asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    Object,
    /// A token, which requests for objects carry.
    Token(TokenOf),
}

/// What came of it.
pub(crate) enum Heard {
    /// Ask once more: with what was learned, or with a new token. The text says why the last answer was none.
    Again(String),
    Object(Response),
    /// It is the version that was asked against.
    Unchanged,
}

/// What a worker has learned of object stores: tokens that were issued to it, and where buckets are.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    tokens: Tokens,
    /// The regions of buckets that are not where this worker looks first.
    regions: BTreeMap<String, String>,
}

/// An answer with a token is not longer.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// So many regions of buckets are remembered.
const REGIONS_MAX: usize = 1000;

impl Stores {
    /// The next request for an object: for what it needs first, or for the object.
    ///
    /// # Errors
    /// If there is none: what to do.
    pub(crate) fn request(
        &self,
        object: &Object,
        settings: &DocumentSettings,
        timeout: Duration,
        now: Time,
    ) -> Result<(Asked, Request), String> {
        let stores = &settings.stores;
        let (asked, mut request) = match object.store {
            Store::Azure => azure::request(object, stores, self.tokens.at(now))?,
            Store::Google => google::request(object, stores, self.tokens.at(now))?,
            Store::S3 => {
                let region = self.regions.get(&object.bucket).map(String::as_str);
                s3::request(object, stores, region, self.tokens.at(now))?
            }
        };
        request.timeout = timeout;
        request.answer_bytes_max = match asked {
            // One byte more than is allowed shows that there is more.
            Asked::Object => settings.bytes_max.saturating_add(1),
            Asked::Token(_) => TOKEN_BYTES_MAX,
        };
        Ok((asked, request))
    }

    /// A request was answered, or not. `wall` is the time since 1970.
    ///
    /// # Errors
    /// Why there is no object, and what to do.
    pub(crate) fn heard(
        &mut self,
        object: &Object,
        asked: Asked,
        answer: Result<Received, RequestError>,
        now: Time,
        wall: Duration,
    ) -> Result<Heard, String> {
        let place = object.shown();
        let received = answer.map_err(|error| match asked {
            Asked::Object => format!("{place}: {error}"),
            Asked::Token(_) => format!("{place}: asking for credentials: {error}"),
        })?;
        if let Some(damage) = received.damage {
            return Err(damage);
        }
        let response = received.response;
        let asked = match asked {
            Asked::Object => return self.object_heard(object, response),
            Asked::Token(asked) => asked,
        };
        let heard = self.tokens.heard(asked, &response, now, wall);
        heard.map_err(|reason| format!("{place}: {reason}"))?;
        Ok(Heard::Again("no request was sent".to_owned()))
    }

    fn object_heard(&mut self, object: &Object, response: Response) -> Result<Heard, String> {
        if response.status().is_success() {
            return Ok(Heard::Object(response));
        }
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Heard::Unchanged);
        }
        let refusal = match object.store {
            Store::Azure => azure::refusal(&response),
            Store::Google => google::refusal(&response),
            Store::S3 => s3::refusal(&response),
        };
        let reason = format!("{}: {}", object.shown(), refusal.reason);
        if let Some(region) = refusal.region {
            if self.regions.len() >= REGIONS_MAX {
                self.regions.clear();
            }
            self.regions.insert(object.bucket.clone(), region);
            return Ok(Heard::Again(reason));
        }
        let is_of_token = refusal.is_of_token && self.tokens.forget(object);
        match is_of_token {
            true => Ok(Heard::Again(reason)),
            false => Err(reason),
        }
    }
}

/// Why a store gives no object.
struct Refusal {
    reason: String,
    /// Where the bucket is instead.
    region: Option<String>,
    /// Whether another token may help.
    is_of_token: bool,
}

impl Refusal {
    /// A status, the store's own word for it, and what to do.
    fn new(status: StatusCode, code: &str, advice: &str) -> Self {
        let colon = if advice.is_empty() { "" } else { ": " };
        let space = if code.is_empty() { "" } else { " " };
        Self {
            reason: format!("{}{space}{}{colon}{advice}", status.as_u16(), cut(code)),
            region: None,
            is_of_token: false,
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A GET request for a URL that was put together from parts that were checked.
fn get(url: &str) -> Result<Request, String> {
    let url: Uri = url.parse().map_err(|_| "the object has no URL")?;
    let mut http = http::Request::new(vec![]);
    *http.uri_mut() = url;
    Ok(Request::new(http, Duration::ZERO, 0))
}

/// A POST request with a form, in the same way.
fn post(url: &str) -> Result<Request, String> {
    let mut request = get(url)?;
    *request.http.method_mut() = Method::POST;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.http.headers_mut().insert(CONTENT_TYPE, form);
    Ok(request)
}

/// The text of an element of a small XML document, which S3 and its Security Token Service answer with.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim().replace("&lt;", "<").replace("&gt;", ">");
    let text = text.replace("&quot;", "\"").replace("&apos;", "'");
    Some(text.replace("&amp;", "&"))
}

/// The settings of a store whose object was checked.
fn known<T>(store: &Result<T, String>) -> Result<&T, String> {
    store.as_ref().map_err(Clone::clone)
}

#[cfg(test)]
mod tests;
