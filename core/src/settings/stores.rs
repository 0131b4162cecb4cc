//! Where object stores are, and which of them this worker has credentials for.

mod azure;

use http::Uri;

use super::AwsSource;
use crate::address::operators_url;
pub(crate) use azure::{AzureAccess, AzureStore, CONNECTION, field_of_connection};
pub use azure::{AzureSecret, EntraProof};

/// The object stores that documents may be loaded from: each, or what to do so that it may be. They hold no secrets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreSettings {
    pub(crate) azure: Result<AzureStore, String>,
    pub(crate) google: Result<GoogleStore, String>,
    pub(crate) s3: Result<S3Store, String>,
}

/// Amazon S3, or a server that speaks its protocol.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct S3Store {
    /// Another server than Amazon's.
    pub(crate) endpoint: Option<String>,
    /// Another Security Token Service than Amazon's.
    pub(crate) sts: Option<String>,
    pub(crate) region: Option<String>,
    /// Where keys are issued, if they are neither in variables nor in a file.
    pub(crate) source: Option<AwsSource>,
    /// What a role wants to be told by those who take it on.
    pub(crate) external_id: Option<String>,
    /// Requests are not signed: only what everybody may read is loaded.
    pub(crate) is_anonymous: bool,
}

/// Google Cloud Storage, or its emulator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct GoogleStore {
    pub(crate) endpoint: String,
    pub(crate) access: GoogleAccess,
}

/// What requests to Google show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum GoogleAccess {
    /// Nothing: the emulator does not ask.
    Nothing,
    /// A token of the machine, from this URL.
    Machine(Uri),
    /// A token of the service account whose key this variable has.
    Account(&'static str),
}

const GOOGLE_KEY: &str = "GOOGLE_APPLICATION_CREDENTIALS";

impl Default for StoreSettings {
    fn default() -> Self {
        Self::of(|_| None, |_| false)
    }
}

impl StoreSettings {
    /// The stores of an environment. `value` is that of a variable, `has` says whether a secret is set, also in a file.
    pub(crate) fn of(value: impl Fn(&str) -> Option<String>, has: impl Fn(&str) -> bool) -> Self {
        Self {
            azure: azure::azure(&value, &has),
            google: google(&value, &has),
            s3: s3(&value, &has),
        }
    }
}

fn s3(
    value: &impl Fn(&str) -> Option<String>,
    has: &impl Fn(&str) -> bool,
) -> Result<S3Store, String> {
    let is_anonymous = value("AWS_NO_SIGN_REQUEST").is_some_and(|value| is_yes(&value));
    let has_keys = has("AWS_ACCESS_KEY_ID") && has("AWS_SECRET_ACCESS_KEY");
    if !is_anonymous && !has_keys {
        return Err(
            "this worker has no credentials for S3: let its operator set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_EC2_METADATA_DISABLED=false on an instance of EC2 that has a \
             role; or AWS_NO_SIGN_REQUEST=yes for what everybody may read"
                .to_owned(),
        );
    }
    let first = |names: &[&str]| names.iter().find_map(|name| value(name));
    Ok(S3Store {
        endpoint: endpoint(value, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])?,
        sts: endpoint(value, &["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"])?,
        region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"])
            .map(|region| plain_region(&region).ok_or("AWS_REGION is not the name of a region"))
            .transpose()?,
        source: AwsSource::of(value).filter(|_| !is_anonymous),
        external_id: value("AWS_ASSUME_ROLE_EXTERNAL_ID"),
        is_anonymous,
    })
}

fn is_yes(value: &str) -> bool {
    matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "1" | "on" | "true" | "yes"
    )
}

/// The name of a region, which becomes a part of a host's name.
pub(crate) fn plain_region(name: &str) -> Option<String> {
    let name = name.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_name = (1..=40).contains(&name.len()) && name.chars().all(is_plain);
    is_name.then(|| name.to_owned())
}

fn google(
    value: &impl Fn(&str) -> Option<String>,
    has: &impl Fn(&str) -> bool,
) -> Result<GoogleStore, String> {
    const EMULATOR: &str = "STORAGE_EMULATOR_HOST";
    if let Some(host) = value(EMULATOR) {
        // Some libraries want the scheme, others do not.
        let url = match host.contains("://") {
            true => host,
            false => format!("http://{host}"),
        };
        let endpoint = base(&url).ok_or_else(|| format!("{EMULATOR} is no URL of a server"))?;
        let access = GoogleAccess::Nothing;
        return Ok(GoogleStore { endpoint, access });
    }
    let place = endpoint(value, &["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"])?;
    let place = place.as_deref().unwrap_or("https://storage.googleapis.com");
    // gcloud wants the path of the interface in it.
    let endpoint = place.trim_end_matches("/storage/v1").to_owned();
    let access = if has(GOOGLE_KEY) {
        GoogleAccess::Account(GOOGLE_KEY)
    } else if let Some(host) = value(METADATA_HOST) {
        let url = metadata_token(&host);
        GoogleAccess::Machine(
            url.ok_or_else(|| format!("{METADATA_HOST} is neither a host nor host:port"))?,
        )
    } else {
        return Err(format!(
            "this worker has no credentials for Google Cloud Storage: let its operator set {GOOGLE_KEY} to the \
             path of a service account's JSON key"
        ));
    };
    Ok(GoogleStore { endpoint, access })
}

/// The variable with which the operator allows the machine's own token; Google's libraries read it, too.
pub(crate) const METADATA_HOST: &str = "GCE_METADATA_HOST";

/// Where a machine of Google's gives out its token, by the value of [`METADATA_HOST`].
pub(crate) fn metadata_token(host: &str) -> Option<Uri> {
    /// The metadata server, whose name is not resolved here: it always has this address.
    const NAME: &str = "metadata.google.internal";
    const ADDRESS: &str = "169.254.169.254";
    const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
    let host = if host == NAME { ADDRESS } else { host };
    operators_url(&format!("http://{host}{PATH}"))
}

/// The URL in the first of these variables that is set.
fn endpoint(
    value: &impl Fn(&str) -> Option<String>,
    names: &[&str],
) -> Result<Option<String>, String> {
    let Some((name, url)) = names.iter().find_map(|name| Some((name, value(name)?))) else {
        return Ok(None);
    };
    match base(&url) {
        Some(url) => Ok(Some(url)),
        None => Err(format!(
            "{name} must be the URL of a server, without a user and without a query: http://minio:9000"
        )),
    }
}

/// A URL of the operator's, without slashes at the end.
fn base(url: &str) -> Option<String> {
    let url = url.trim().trim_end_matches('/');
    let parsed = operators_url(url)?;
    let is_plain = parsed.query().is_none() && !url.contains(['@', '#']);
    is_plain.then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn stores(variables: &[(&str, &str)]) -> StoreSettings {
        let value = |name: &str| {
            let mut all = variables.iter();
            let found = all.find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        StoreSettings::of(value, |name| value(name).is_some())
    }

    #[test]
    fn a_store_is_there_if_its_credentials_are() {
        let none = StoreSettings::default();
        for (reason, words) in [
            (none.s3.unwrap_err(), "AWS_ACCESS_KEY_ID"),
            (none.google.unwrap_err(), "GOOGLE_APPLICATION_CREDENTIALS"),
            (none.azure.unwrap_err(), "AZURE_STORAGE_CONNECTION_STRING"),
        ] {
            assert!(reason.contains(words), "{reason}");
        }
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let all = stores(&[
            keys[0],
            keys[1],
            ("AWS_ENDPOINT_URL", "http://minio:9000/"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("STORAGE_EMULATOR_HOST", "localhost:4443"),
        ]);
        let s3 = all.s3.unwrap();
        assert_eq!(s3.endpoint.as_deref(), Some("http://minio:9000"));
        assert_eq!(s3.sts, s3.endpoint);
        assert_eq!(s3.region.as_deref(), Some("eu-west-1"));
        assert_eq!(all.google.unwrap().endpoint, "http://localhost:4443");
        let wrong = stores(&[
            keys[0],
            keys[1],
            ("AWS_ENDPOINT_URL_S3", "http://u:p@minio"),
        ]);
        let reason = wrong.s3.unwrap_err();
        assert!(reason.contains("AWS_ENDPOINT_URL_S3") && !reason.contains("u:p"));
        let wrong = stores(&[keys[0], keys[1], ("AWS_REGION", "evil.example/")]);
        assert!(wrong.s3.unwrap_err().contains("AWS_REGION"));
    }
}
