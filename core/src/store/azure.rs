//! Azure's blob storage.

use http::{HeaderName, HeaderValue};

use super::{Object, Refusal, element, get, header, known};
use crate::cut::cut;
use crate::provider::brief;
use crate::request::{AzureCredential, Credential, Request, Response};
use crate::settings::StoreSettings;

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

pub(super) fn request(object: &Object, stores: &StoreSettings) -> Result<Request, String> {
    let store = known(&stores.azure)?;
    let (endpoint, container) = (&store.endpoint, &object.bucket);
    let mut request = get(&format!("{endpoint}/{container}/{}", object.encoded("/")))?;
    let version = HeaderValue::from_static("2021-08-06");
    request.http.headers_mut().insert(VERSION, version);
    request.credential = Some(Credential::Azure(AzureCredential {
        account: store.account.clone(),
        secret: store.secret.clone(),
    }));
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
        "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "InsufficientAccountPermissions" => {
            "the worker's credentials may not read it: allow reading, and the worker's network"
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
    if advice.is_empty()
        && let Some(message) = element(&xml, "Message")
    {
        refusal.reason = format!("{}: {}", refusal.reason, brief(&message));
    }
    refusal
}
