//! Google Cloud Storage, through its JSON interface.

use http::{HeaderName, HeaderValue, Uri};

use super::tokens::{TokenOf, Valid};
use super::{Asked, Object, Refusal, get, known, post};
use crate::provider::said;
use crate::request::{Credential, Request, Response};
use crate::settings::{GoogleAccess, StoreSettings};

/// Where Google issues tokens, unless the account's key says otherwise.
const TOKENS: &str = "https://oauth2.googleapis.com/token";

/// The request for an object, or for the token that it takes.
pub(super) fn request(
    object: &Object,
    stores: &StoreSettings,
    tokens: Valid<'_>,
) -> Result<(Asked, Request), String> {
    let store = known(&stores.google)?;
    let token = tokens.get(&TokenOf::Google);
    let ask = |request| Ok((Asked::Token(TokenOf::Google), request));
    match &store.access {
        GoogleAccess::Account(variable) if token.is_none() => return ask(of_account(variable)?),
        GoogleAccess::Machine(url) if token.is_none() => return ask(of_machine(url)?),
        GoogleAccess::Account(_) | GoogleAccess::Machine(_) | GoogleAccess::Nothing => {}
    }
    let (endpoint, bucket) = (&store.endpoint, &object.bucket);
    // The whole name is one part of the path.
    let name = object.encoded("");
    let url = format!("{endpoint}/storage/v1/b/{bucket}/o/{name}?alt=media");
    let mut request = get(&url)?;
    request.credential = token.map(|token| Credential::Token(token.clone()));
    Ok((Asked::Object, request))
}

fn of_account(variable: &str) -> Result<Request, String> {
    let mut request = post(TOKENS)?;
    request.credential = Some(Credential::Google {
        variable: variable.to_owned(),
    });
    Ok(request)
}

fn of_machine(url: &Uri) -> Result<Request, String> {
    let mut request = get(&url.to_string())?;
    let name = HeaderName::from_static("metadata-flavor");
    let google = HeaderValue::from_static("Google");
    request.http.headers_mut().insert(name, google);
    request.credential = Some(Credential::Metadata);
    Ok(request)
}

/// What an answer without an object means.
pub(super) fn refusal(response: &Response) -> Refusal {
    let status = response.status();
    let advice = match status.as_u16() {
        401 => "Google does not accept the worker's token".to_owned(),
        403 => format!(
            "the worker's service account may not read it: allow storage.objects.get: {}",
            said(response.body())
        ),
        404 => "there is no such object or no such bucket".to_owned(),
        _ => said(response.body()),
    };
    let mut refusal = Refusal::new(status, "", &advice);
    refusal.is_of_token = status.as_u16() == 401;
    refusal
}
