//! Azure's blob storage.

use http::{HeaderName, HeaderValue, Uri};

use super::tokens::{TokenOf, Valid};
use super::{Asked, Object, Refusal, element, get, header, known, post};
use crate::cut::cut;
use crate::provider::brief;
use crate::request::{AzureCredential, Credential, Request, Response};
use crate::settings::{AzureAccess, StoreSettings};

/// The version of the interface: requests have this header, and it decides how they are signed.
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");

/// The container of an address: `container`, or `container@account.dfs.core.windows.net`.
pub(super) fn container<'a>(authority: &'a str, stores: &StoreSettings) -> Result<&'a str, String> {
    let Some((container, host)) = authority.split_once('@') else {
        return Ok(authority);
    };
    let named = host.split('.').next().unwrap_or_default();
    let account = &known(&stores.azure)?.account;
    // Another account must not see this one's signatures.
    if !named.eq_ignore_ascii_case(account) {
        return Err(format!(
            "the address names the account {} of Azure, and this worker has the credentials of {account}",
            cut(named)
        ));
    }
    Ok(container)
}

/// The request for a blob, or for the token that it takes.
pub(super) fn request(
    object: &Object,
    stores: &StoreSettings,
    tokens: Valid<'_>,
) -> Result<(Asked, Request), String> {
    let store = known(&stores.azure)?;
    let token = tokens.get(&TokenOf::Azure);
    let credential = match (&store.access, token) {
        (AzureAccess::Secret(secret), _) => Credential::Azure(AzureCredential {
            account: store.account.clone(),
            secret: secret.clone(),
        }),
        (_, Some(token)) => Credential::Token(token.clone()),
        (AzureAccess::Entra { url, proof }, None) => {
            let mut request = post(&url.to_string())?;
            request.credential = Some(Credential::Entra(*proof));
            return Ok((Asked::Token(TokenOf::Azure), request));
        }
        (AzureAccess::Machine(url), None) => {
            return Ok((Asked::Token(TokenOf::Azure), of_machine(url)?));
        }
    };
    let (endpoint, container) = (&store.endpoint, &object.bucket);
    let mut request = get(&format!("{endpoint}/{container}/{}", object.encoded("/")))?;
    let version = HeaderValue::from_static("2021-08-06");
    request.http.headers_mut().insert(VERSION, version);
    request.credential = Some(credential);
    Ok((Asked::Object, request))
}

/// The token of the managed identity: only a process of the machine can ask for it.
fn of_machine(url: &Uri) -> Result<Request, String> {
    let mut request = get(&url.to_string())?;
    let name = HeaderName::from_static("metadata");
    request
        .http
        .headers_mut()
        .insert(name, HeaderValue::from_static("true"));
    Ok(request)
}

/// What an answer without a blob means.
pub(super) fn refusal(response: &Response) -> Refusal {
    let xml = String::from_utf8_lossy(response.body());
    let code = header(response.headers(), "x-ms-error-code").map(str::to_owned);
    let code = code.or_else(|| element(&xml, "Code")).unwrap_or_default();
    let advice = match code.as_str() {
        "AuthenticationFailed" => {
            "Azure does not accept the worker's key or signature: check AZURE_STORAGE_KEY, \
             AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_TOKEN, and the clock of the worker's machine"
        }
        "InvalidAuthenticationInfo" => {
            "Azure does not accept the worker's token: check AZURE_TENANT_ID"
        }
        "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "InsufficientAccountPermissions" => {
            "the worker's credentials may not read it: allow reading (the role Storage Blob Data Reader), and the \
             worker's network"
        }
        "BlobArchived" => "the blob is in an archive: move it to another access tier",
        "BlobNotFound" => "there is no such blob",
        "ContainerNotFound" => "there is no such container",
        _ => match response.status().as_u16() {
            403 => "the worker's credentials may not read it",
            404 => "there is no such blob or no such container",
            _ => "",
        },
    };
    let mut refusal = Refusal::new(response.status(), &code, advice);
    refusal.is_of_token = response.status().as_u16() == 401;
    if advice.is_empty()
        && let Some(message) = element(&xml, "Message")
    {
        refusal.reason = format!("{}: {}", refusal.reason, brief(&message));
    }
    refusal
}
