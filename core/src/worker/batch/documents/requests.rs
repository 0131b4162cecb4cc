//! The requests for documents, and what their answers mean.

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, StatusCode, Uri};

use super::{ASKED_MAX, REDIRECTS_MAX, Redirects};
use crate::call::Call;
use crate::document::{FileRequest, FileVersion, Place, condition, of_headers, too_large};
use crate::packing::Packing;
use crate::request::{Received, Request, RequestError, Response};
use crate::settings::DocumentSettings;
use crate::store::{Asked, Heard, Object, Stores};
use crate::time::Time;

/// The call that loads a document, and what it asks of an object store.
pub(super) fn load(
    place: &Place,
    (name, known): (&str, Option<&str>),
    settings: &DocumentSettings,
    stores: &Stores,
    (now, timeout): (Time, Duration),
) -> Result<(Asked, Call), String> {
    let packing = Packing::of(name).map(|(packing, _)| packing);
    match place {
        Place::File(path) => {
            let request = FileRequest {
                directory: settings.directory.clone().unwrap_or_default(),
                path: path.clone(),
                bytes_max: settings.bytes_max,
                packing,
                known: known.and_then(FileVersion::parse),
            };
            Ok((Asked::Object, Call::File(request)))
        }
        Place::Store(object) => {
            let (asked, mut request) = stores.request(object, settings, timeout, now)?;
            if asked == Asked::Object {
                request.packing = packing;
                unless(&mut request, known);
            }
            Ok((asked, Call::from(request)))
        }
        Place::Web { url, is_public } => {
            let mut http = http::Request::new(vec![]);
            *http.uri_mut() = url.clone();
            // One byte more than is allowed shows that there is more.
            let bytes_max = settings.bytes_max.saturating_add(1);
            let mut request = Request::new(http, timeout, bytes_max);
            request.is_public = *is_public;
            request.packing = packing;
            unless(&mut request, known);
            Ok((Asked::Object, Call::from(request)))
        }
    }
}

/// Asks for a document only if it is not the version that is known.
fn unless(request: &mut Request, known: Option<&str>) {
    if let Some((name, value)) = known.and_then(condition) {
        request.http.headers_mut().insert(name, value);
    }
}

/// What a server's answer means.
pub(super) enum Judged {
    Document {
        bytes: Vec<u8>,
        content_type: Option<String>,
        /// What tells this version from others.
        version: Option<String>,
    },
    Elsewhere(Place),
    /// It is the version that is known.
    Unchanged,
}

/// What the answer of an object store means.
pub(super) fn of_store(
    heard: Heard,
    object: &Object,
    (asked, known): (Redirects, Option<&str>),
    settings: &DocumentSettings,
) -> Result<Judged, String> {
    match heard {
        Heard::Again(why) if asked >= ASKED_MAX => Err(why),
        Heard::Again(_) => Ok(Judged::Elsewhere(Place::Store(object.clone()))),
        Heard::Object(response) => document(response, known, settings),
        Heard::Unchanged if known.is_some() => Ok(Judged::Unchanged),
        Heard::Unchanged => Err(UNASKED.to_owned()),
    }
}

/// What the answer of a server of the web means.
pub(super) fn of_web(
    url: &Uri,
    (redirects, known): (Redirects, Option<&str>),
    settings: &DocumentSettings,
    answer: Result<Received, RequestError>,
) -> Result<Judged, String> {
    let host = url.host().unwrap_or_default();
    let received = answer.map_err(|error| format!("{host}: {error}"))?;
    if let Some(damage) = received.damage {
        return Err(damage);
    }
    let response = received.response;
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        return match known {
            Some(_) => Ok(Judged::Unchanged),
            None => Err(format!("{host}: {UNASKED}")),
        };
    }
    if status.is_redirection()
        && let Some(to) = header(&response, &LOCATION)
    {
        if redirects >= REDIRECTS_MAX {
            return Err(format!("{host} redirects more than {REDIRECTS_MAX} times"));
        }
        return Place::redirected(url, &to, &settings.allowed).map(Judged::Elsewhere);
    }
    if !status.is_success() {
        let meaning = match status.as_u16() {
            401 | 403 => ": the document may not be read without a login",
            404 | 410 => ": there is no such document",
            _ => "",
        };
        return Err(format!("{host} answers {status}{meaning}"));
    }
    document(response, known, settings)
}

const UNASKED: &str =
    "the server answers 304, as if it had been asked for another version than one that is known";

/// The document that a server sends. Some send it whatever they are asked.
fn document(
    response: Response,
    known: Option<&str>,
    settings: &DocumentSettings,
) -> Result<Judged, String> {
    let version = of_headers(response.headers());
    if known.is_some() && version.as_deref() == known {
        return Ok(Judged::Unchanged);
    }
    if response.body().len() > settings.bytes_max {
        return Err(too_large(settings.bytes_max));
    }
    Ok(Judged::Document {
        content_type: header(&response, &CONTENT_TYPE),
        version,
        bytes: response.into_body(),
    })
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    let value = response.headers().get(name)?;
    value.to_str().ok().map(str::to_owned)
}
