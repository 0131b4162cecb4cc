//! What `--allow-uri` says of object stores.

use super::{Object, Store};
use crate::document::matches;

/// Whether an object may be read. Without a pattern for its store all that the credentials can read may be; with some,
/// only what one of them matches. Schemes and forms of the same store count as one: nobody gets around a pattern by
/// writing an address in another way.
pub(super) fn is_allowed(object: &Object, patterns: &[String]) -> bool {
    if patterns.iter().any(|pattern| pattern == "*") {
        return true;
    }
    let mut of_store = patterns.iter().filter_map(|pattern| {
        let (scheme, rest) = pattern.split_once("://")?;
        (Store::of(&scheme.to_ascii_lowercase()) == Some(object.store)).then_some(rest)
    });
    let mut is_narrowed = false;
    let is_matched = of_store.any(|rest| {
        is_narrowed = true;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, "*"));
        // Of container@account.dfs.core.windows.net only the container: the account is the worker's.
        let bucket = bucket.split('@').next().unwrap_or_default();
        matches(bucket, &object.bucket) && matches(key, &object.key)
    });
    is_matched || !is_narrowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_narrow_their_own_store() {
        let object = |store, bucket: &str, key: &str| Object {
            store,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            role: None,
        };
        let s3 = object(Store::S3, "reports", "2024/a.pdf");
        let azure = object(Store::Azure, "reports", "a.pdf");
        for (patterns, object, is_wanted) in [
            (&[][..], &s3, true),
            (&["http://minio:9000/*"], &s3, true),
            (&["gs://other/*"], &s3, true),
            (&["s3://reports/*"], &s3, true),
            (&["s3://reports"], &s3, true),
            (&["s3a://rep*/2024/*.pdf"], &s3, true),
            (&["s3://reports/2023/*"], &s3, false),
            (&["s3://other/*"], &s3, false),
            (&["s3://other/*", "s3://reports/*"], &s3, true),
            (&["s3://other/*", "*"], &s3, true),
            (&["s3://"], &s3, false),
            (&["S3://other"], &s3, false),
            (
                &["abfss://reports@acme.dfs.core.windows.net/*"],
                &azure,
                true,
            ),
            (&["az://other/*"], &azure, false),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(is_allowed(object, &patterns), is_wanted, "{patterns:?}");
        }
    }
}
