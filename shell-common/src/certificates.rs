//! The authorities whose certificates a provider may have.

use std::env::split_paths;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

/// The variables that name a file of authorities, in the order in which they are asked. OpenSSL reads
/// the first one, Python's requests the second, and curl the third.
const FILES: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

/// The variable that names directories of authorities.
const DIRECTORIES: &str = "SSL_CERT_DIR";

/// The certificates of the authorities that the environment names; those of the system, if it names
/// none. A company may have its own.
///
/// What cannot be read is left out: a provider that needs it cannot be verified, and the error says
/// so.
///
/// # Errors
/// If variables are set, and no certificate can be read from where they point.
pub fn authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    let places = places(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    if places.is_empty() {
        return Ok(load_native_certs().certs);
    }
    read(&places)
}

/// TLS for clients of HTTP that trust these authorities, or none where TLS is not needed: reading them takes time and
/// memory.
///
/// # Errors
/// As [`authorities`].
pub fn client_config(is_needed: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if is_needed {
        roots.add_parsable_certificates(authorities()?);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The files and directories that variables name, each with its variable.
fn places(environment: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, PathBuf)> {
    let file = FILES.into_iter().find_map(|name| {
        let path = environment(name)?;
        Some((name, PathBuf::from(path)))
    });
    let directories = environment(DIRECTORIES).unwrap_or_default();
    let directories = split_paths(&directories)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| (DIRECTORIES, path));
    file.into_iter().chain(directories).collect()
}

fn read(places: &[(&'static str, PathBuf)]) -> Result<Vec<CertificateDer<'static>>, String> {
    let (mut all, mut reasons) = (vec![], vec![]);
    for (name, path) in places {
        let found = load(path);
        if found.certs.is_empty() {
            let reason = match found.errors.first() {
                Some(error) => error.to_string(),
                None => "it contains no certificate".to_owned(),
            };
            reasons.push(format!("{name}={}: {reason}", path.display()));
        }
        all.extend(found.certs);
    }
    if all.is_empty() {
        return Err(reasons.join("; "));
    }
    Ok(all)
}

/// Reads a file, or the files of a directory, which requests accepts in its variable, too.
fn load(path: &Path) -> CertificateResult {
    if path.is_dir() {
        load_certs_from_paths(None, Some(path))
    } else {
        load_certs_from_paths(Some(path), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_variable_names_the_file_and_another_one_the_directories() {
        let (a, b, c, d) = (
            ("SSL_CERT_FILE", "a"),
            ("REQUESTS_CA_BUNDLE", "b"),
            ("CURL_CA_BUNDLE", "c"),
            ("SSL_CERT_DIR", "d::e"),
        );
        let (in_d, in_e) = (("SSL_CERT_DIR", "d"), ("SSL_CERT_DIR", "e"));
        for (variables, expected) in [
            (&[][..], &[][..]),
            (&[c], &[c]),
            (&[c, b], &[b]),
            (&[c, b, a], &[a]),
            (&[d], &[in_d, in_e]),
            (&[b, d], &[b, in_d, in_e]),
        ] {
            let found = places(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            });
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, path)| (*name, PathBuf::from(path)))
                .collect();
            assert_eq!(found, expected, "{variables:?}");
        }
    }

    #[test]
    fn that_nothing_can_be_read_is_an_error_that_names_the_variables() {
        let error = read(&[
            ("SSL_CERT_FILE", "/no.pem".into()),
            ("SSL_CERT_DIR", "/no".into()),
        ]);
        let error = error.unwrap_err();
        assert!(error.contains("SSL_CERT_FILE=/no.pem: "), "{error}");
        assert!(error.contains("SSL_CERT_DIR=/no: "), "{error}");
        let error = read(&[("CURL_CA_BUNDLE", file!().into())]).unwrap_err();
        assert!(error.contains("CURL_CA_BUNDLE="), "{error}");
    }
}
