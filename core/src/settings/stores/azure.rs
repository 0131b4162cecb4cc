//! Azure's blob storage: the account, and what shows Azure who is asking.

use http::Uri;

use super::{base, endpoint};
use crate::address::operators_url;

/// An account of Azure's blob storage, or of its emulator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AzureStore {
    pub(crate) account: String,
    pub(crate) endpoint: String,
    pub(crate) access: AzureAccess,
}

/// What requests to Azure show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum AzureAccess {
    /// A signature.
    Secret(AzureSecret),
    /// A token that Microsoft Entra ID issues at this URL.
    Entra { url: Uri, proof: EntraProof },
    /// A token that Azure's machine or container issues at this URL: the managed identity.
    Machine(Uri),
}

/// What shows Entra ID who is asking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntraProof {
    /// The secret of an application, in `AZURE_CLIENT_SECRET`.
    Secret,
    /// The token of a Kubernetes service account or of another issuer, in the file of
    /// `AZURE_FEDERATED_TOKEN_FILE`: the workload identity.
    Federated,
}

/// What shows Azure who is asking, and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AzureSecret {
    /// The account's key, in this variable.
    Key(String),
    /// The account's key, in the connection string.
    KeyOfConnection,
    /// A shared access signature, in this variable.
    Signature(String),
    /// A shared access signature, in the connection string.
    SignatureOfConnection,
}

/// The variable of Azure's connection strings.
pub(crate) const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";

/// The account that the variables describe, or what to set.
pub(super) fn azure(
    value: &impl Fn(&str) -> Option<String>,
    has: &impl Fn(&str) -> bool,
) -> Result<AzureStore, String> {
    if let Some(connection) = value(CONNECTION) {
        return of_connection(&connection);
    }
    let names = ["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"];
    let account = names.iter().find_map(|name| value(name));
    let keys = ["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"];
    let key = keys.into_iter().find(|name| has(name));
    let signature = Some("AZURE_STORAGE_SAS_TOKEN").filter(|name| has(name));
    let access = match (key, signature) {
        (Some(name), _) => AzureAccess::Secret(AzureSecret::Key(name.to_owned())),
        (None, Some(name)) => AzureAccess::Secret(AzureSecret::Signature(name.to_owned())),
        (None, None) => with_token(value, has)?,
    };
    let account = account.and_then(|account| plain_account(&account));
    let account = account.ok_or(NO_AZURE)?;
    let own = format!("https://{account}.blob.core.windows.net");
    let endpoint = endpoint(value, &["AZURE_STORAGE_BLOB_ENDPOINT"])?;
    Ok(AzureStore {
        endpoint: endpoint.unwrap_or(own),
        account,
        access,
    })
}

/// Access with a token, in the order of Azure's own libraries.
fn with_token(
    value: &impl Fn(&str) -> Option<String>,
    has: &impl Fn(&str) -> bool,
) -> Result<AzureAccess, String> {
    let proof = if has("AZURE_CLIENT_SECRET") {
        Some(EntraProof::Secret)
    } else {
        value("AZURE_FEDERATED_TOKEN_FILE").map(|_| EntraProof::Federated)
    };
    if let Some(proof) = proof {
        let authority = endpoint(value, &["AZURE_AUTHORITY_HOST"])?;
        let authority = authority.unwrap_or_else(|| "https://login.microsoftonline.com".to_owned());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let tenant = value("AZURE_TENANT_ID").filter(|it| it.chars().all(is_plain));
        let tenant = tenant.ok_or("set AZURE_TENANT_ID to the id of the tenant")?;
        if value("AZURE_CLIENT_ID").is_none() {
            return Err("set AZURE_CLIENT_ID to the id of the application".to_owned());
        }
        let url = operators_url(&format!("{authority}/{tenant}/oauth2/v2.0/token"));
        let url = url.ok_or("AZURE_TENANT_ID is not the id of a tenant")?;
        return Ok(AzureAccess::Entra { url, proof });
    }
    let Some(machine) = value(MACHINE) else {
        return Err(NO_AZURE.to_owned());
    };
    let client = value("AZURE_CLIENT_ID").map(|id| format!("&client_id={}", id.trim()));
    let client = client.unwrap_or_default();
    let resource = "api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F";
    let url = operators_url(&format!("{}?{resource}{client}", machine.trim()));
    let url = url.ok_or_else(|| format!("{MACHINE} or AZURE_CLIENT_ID cannot be used in a URL"))?;
    Ok(AzureAccess::Machine(url))
}

/// The variable with which the operator allows the identity of the machine.
const MACHINE: &str = "AZURE_MSI_ENDPOINT";

const NO_AZURE: &str = "this worker has no credentials for Azure: let its operator set \
    AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY (or \
    AZURE_STORAGE_SAS_TOKEN; or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; or AZURE_MSI_ENDPOINT)";

/// The account that a connection string describes.
fn of_connection(connection: &str) -> Result<AzureStore, String> {
    let field = |name| field_of_connection(connection, name);
    let wrong = |what: &str| format!("{CONNECTION} {what}");
    let secret = if field("AccountKey").is_some() {
        AzureSecret::KeyOfConnection
    } else if field("SharedAccessSignature").is_some() {
        AzureSecret::SignatureOfConnection
    } else {
        return Err(wrong("has neither AccountKey nor SharedAccessSignature"));
    };
    let endpoint = match field("BlobEndpoint") {
        Some(url) => Some(base(url).ok_or_else(|| wrong("has a BlobEndpoint that is no URL"))?),
        None => None,
    };
    let account = match (field("AccountName"), &endpoint) {
        (Some(name), _) => Some(name),
        // https://account.blob.core.windows.net
        (None, Some(url)) => url
            .split("://")
            .nth(1)
            .and_then(|host| host.split('.').next()),
        (None, None) => None,
    };
    let account = account.and_then(plain_account);
    let account = account.ok_or_else(|| wrong("has no AccountName"))?;
    let scheme = field("DefaultEndpointsProtocol").unwrap_or("https");
    let suffix = field("EndpointSuffix").unwrap_or("core.windows.net");
    let own = base(&format!("{scheme}://{account}.blob.{suffix}"));
    let endpoint = endpoint.or(own);
    Ok(AzureStore {
        endpoint: endpoint.ok_or_else(|| wrong("has a wrong EndpointSuffix"))?,
        account,
        access: AzureAccess::Secret(secret),
    })
}

/// The value of a field of a connection string; values may contain `=`.
pub(crate) fn field_of_connection<'a>(connection: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = connection
        .split(';')
        .filter_map(|field| field.split_once('='));
    let found = fields.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
    found
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

fn plain_account(name: &str) -> Option<String> {
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::stores;
    use super::*;

    #[test]
    fn an_account_of_azure_is_named_by_variables_or_by_a_connection_string() {
        let azure = |variables: &[(&str, &str)]| stores(variables).azure;
        let named = azure(&[
            ("AZURE_STORAGE_ACCOUNT", "acme"),
            ("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=x"),
        ]);
        let named = named.unwrap();
        assert_eq!(named.endpoint, "https://acme.blob.core.windows.net");
        assert_eq!(
            named.access,
            AzureAccess::Secret(AzureSecret::Signature("AZURE_STORAGE_SAS_TOKEN".to_owned()))
        );
        for (connection, account, endpoint) in [
            (
                "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a+b/c==;EndpointSuffix=core.chinacloudapi.cn",
                "acme",
                "https://acme.blob.core.chinacloudapi.cn",
            ),
            (
                "AccountName=devstoreaccount1;AccountKey=k==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;",
                "devstoreaccount1",
                "http://127.0.0.1:10000/devstoreaccount1",
            ),
            (
                "BlobEndpoint=https://acme.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=x",
                "acme",
                "https://acme.blob.core.windows.net",
            ),
        ] {
            let found = azure(&[(CONNECTION, connection)]).unwrap();
            assert_eq!((&*found.account, &*found.endpoint), (account, endpoint));
        }
        for connection in ["AccountName=acme", "AccountKey=k", "nothing"] {
            let reason = azure(&[(CONNECTION, connection)]).unwrap_err();
            assert!(reason.contains(CONNECTION), "{reason}");
        }
        assert_eq!(
            field_of_connection("AccountKey=a=b==;x=y", "accountkey"),
            Some("a=b==")
        );
    }

    #[test]
    fn a_token_is_asked_for_where_there_is_no_key() {
        let azure = |variables: &[(&str, &str)]| {
            let account = [("AZURE_STORAGE_ACCOUNT", "acme")];
            stores(&[variables, &account].concat()).azure
        };
        let tenant = [("AZURE_TENANT_ID", "t-1"), ("AZURE_CLIENT_ID", "c-1")];
        let secret = ("AZURE_CLIENT_SECRET", "s");
        let file = ("AZURE_FEDERATED_TOKEN_FILE", "/token");
        let host = ("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn/");
        let machine = (
            MACHINE,
            "http://169.254.169.254/metadata/identity/oauth2/token",
        );
        let of_machine = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01\
                          &resource=https%3A%2F%2Fstorage.azure.com%2F";
        for (variables, proof, place) in [
            (
                vec![tenant[0], tenant[1], secret, file],
                Some(EntraProof::Secret),
                "https://login.microsoftonline.com/t-1/oauth2/v2.0/token".to_owned(),
            ),
            (
                vec![tenant[0], tenant[1], file, host],
                Some(EntraProof::Federated),
                "https://login.chinacloudapi.cn/t-1/oauth2/v2.0/token".to_owned(),
            ),
            (vec![machine], None, of_machine.to_owned()),
            (
                vec![machine, tenant[1]],
                None,
                format!("{of_machine}&client_id=c-1"),
            ),
        ] {
            let url: Uri = place.parse().unwrap();
            let wanted = match proof {
                Some(proof) => AzureAccess::Entra { url, proof },
                None => AzureAccess::Machine(url),
            };
            assert_eq!(azure(&variables).unwrap().access, wanted);
        }
        for (variables, words) in [
            (vec![tenant[0], secret], "AZURE_CLIENT_ID"),
            (vec![tenant[1], secret], "AZURE_TENANT_ID"),
            (
                vec![("AZURE_TENANT_ID", "a/b"), tenant[1], secret],
                "AZURE_TENANT_ID",
            ),
            (vec![(MACHINE, "no url")], MACHINE),
            (
                vec![tenant[0], tenant[1]],
                "AZURE_STORAGE_CONNECTION_STRING",
            ),
        ] {
            let reason = azure(&variables).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
