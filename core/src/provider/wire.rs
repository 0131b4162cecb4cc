//! How a provider is called over HTTP: where the texts stand in the body, and what is added to it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use serde_json::{Map, Value, json};

use super::Purpose;
use super::answer::{AnswerFormat, Reader};
use crate::request::{Credential, Request};

/// A provider that accepts JSON over HTTP.
#[derive(Clone, Debug)]
pub(super) struct HttpWire {
    pub(super) url: http::Uri,
    /// The body, without the texts.
    pub(super) body: Map<String, Value>,
    pub(super) texts: Texts,
    /// Members with another value if a question is embedded, not a document: in the body, or in the object
    /// of each text.
    pub(super) question: Vec<(&'static str, Value)>,
    pub(super) answer: AnswerFormat,
    pub(super) credential: Option<Credential>,
    /// The request for a token, before anything else is requested.
    pub(super) token: Option<TokenSource>,
    /// The URL of the request that makes it pull its model.
    pub(super) pull: Option<http::Uri>,
    /// The URL at which the server says how large requests may be.
    pub(super) info: Option<http::Uri>,
}

/// Where tokens come from.
#[derive(Clone, Debug)]
pub(super) struct TokenSource {
    pub(super) url: http::Uri,
    pub(super) credential: Credential,
}

/// Where the texts stand.
#[derive(Clone, Debug)]
pub(super) enum Texts {
    /// In an array of this name.
    Array(&'static str),
    /// In an array of this name, each within an object.
    Objects {
        array: &'static str,
        /// The object, without the text.
        object: Map<String, Value>,
        put: fn(&mut Map<String, Value>, &str),
    },
    /// One text for each request.
    One(fn(&mut Map<String, Value>, &str)),
}

/// The content type of requests for tokens (RFC 6749, section 4).
const FORM: &str = "application/x-www-form-urlencoded";
/// Without this header, Google's metadata server does not answer.
const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");

/// An answer without vectors is not longer.
const OTHER_BYTES_MAX: usize = 64 * 1024;

impl HttpWire {
    /// The usual wire: a body with the texts in `input`, and an answer as OpenAI's.
    pub(super) const fn new(
        url: http::Uri,
        body: Map<String, Value>,
        answer: AnswerFormat,
        credential: Option<Credential>,
    ) -> Self {
        Self {
            url,
            body,
            texts: Texts::Array("input"),
            question: vec![],
            answer,
            credential,
            token: None,
            pull: None,
            info: None,
        }
    }

    /// The request that embeds these texts, without the optional parameters of these names.
    pub(super) fn request(
        &self,
        texts: &[Arc<str>],
        purpose: Purpose,
        timeout: Duration,
        without: &[&'static str],
        reader: Reader,
    ) -> Request {
        let mut body = self.body.clone();
        without.iter().for_each(|name| drop(body.remove(*name)));
        let asks = |object: &mut Map<String, Value>| {
            if purpose == Purpose::Query {
                for (name, value) in &self.question {
                    object.insert((*name).to_owned(), value.clone());
                }
            }
        };
        match &self.texts {
            Texts::Array(name) => {
                asks(&mut body);
                let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
                body.insert((*name).to_owned(), texts.into());
            }
            Texts::One(put) => {
                asks(&mut body);
                texts.iter().for_each(|text| put(&mut body, text));
            }
            Texts::Objects { array, object, put } => {
                let objects = texts.iter().map(|text| {
                    let mut object = object.clone();
                    without.iter().for_each(|name| drop(object.remove(*name)));
                    asks(&mut object);
                    put(&mut object, text);
                    Value::Object(object)
                });
                let objects = objects.collect();
                body.insert((*array).to_owned(), Value::Array(objects));
            }
        }
        let mut request = post(&self.url, body, timeout, reader.bytes_max());
        request.reader = Some(reader);
        request.credential.clone_from(&self.credential);
        request
    }

    /// Whether requests have this optional parameter.
    pub(super) fn sends(&self, parameter: &str) -> bool {
        let in_object = match &self.texts {
            Texts::Objects { object, .. } => object.contains_key(parameter),
            Texts::Array(_) | Texts::One(_) => false,
        };
        self.body.contains_key(parameter) || in_object
    }

    /// The request that makes the provider pull this model, if it can.
    pub(super) fn pull(&self, model: &str, timeout: Duration) -> Option<Request> {
        let body = json!({"model": model, "stream": false});
        Some(post(self.pull.as_ref()?, body, timeout, OTHER_BYTES_MAX))
    }

    /// The request for the limits of the server, if it has such a page.
    pub(super) fn info(&self, timeout: Duration) -> Option<Request> {
        let mut http = http::Request::new(vec![]);
        *http.uri_mut() = self.info.clone()?;
        let mut request = Request::new(http, timeout, OTHER_BYTES_MAX);
        request.credential.clone_from(&self.credential);
        Some(request)
    }

    /// The request for a token, if the provider wants one.
    pub(super) fn token(&self, timeout: Duration) -> Option<Request> {
        let source = self.token.as_ref()?;
        let mut http = http::Request::new(vec![]);
        *http.uri_mut() = source.url.clone();
        let headers = http.headers_mut();
        match source.credential {
            Credential::Container => {}
            Credential::Metadata => {
                headers.insert(METADATA_FLAVOR, HeaderValue::from_static("Google"));
            }
            Credential::Aws(_)
            | Credential::Azure(_)
            | Credential::Entra(_)
            | Credential::Google { .. }
            | Credential::Ibm { .. }
            | Credential::Key(_)
            | Credential::Token(_)
            | Credential::WebIdentity => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
                *http.method_mut() = http::Method::POST;
            }
        }
        let mut request = Request::new(http, timeout, OTHER_BYTES_MAX);
        request.credential = Some(source.credential.clone());
        Some(request)
    }

    /// The host and the path, for messages.
    pub(super) fn place(&self) -> String {
        let host = self.url.authority().map_or("", |host| host.as_str());
        format!("{host}{}", self.url.path())
    }
}

/// A POST with a JSON body. The URL was checked when the provider was made.
pub(super) fn post(
    url: &http::Uri,
    body: impl Into<Value>,
    timeout: Duration,
    answer_bytes_max: usize,
) -> Request {
    let body: Value = body.into();
    let mut http = http::Request::new(body.to_string().into_bytes());
    *http.method_mut() = http::Method::POST;
    *http.uri_mut() = url.clone();
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        http.headers_mut().insert(name, value);
    }
    Request::new(http, timeout, answer_bytes_max)
}

const HEADERS: [(HeaderName, &str); 2] = [
    (header::CONTENT_TYPE, "application/json"),
    (header::ACCEPT_ENCODING, "gzip, deflate"),
];
