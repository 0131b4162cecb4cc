//! TLS to PostgreSQL. The rules for trusting a server are those of libpq.

use std::path::Path;
use std::sync::Arc;

use pgai_core::{SslMode, Tls};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::certificate_names;

/// The TLS configuration for a URL; `None` if TLS is never used. `home` is the directory of libpq's
/// default files.
///
/// # Errors
/// If a named file cannot be read, or a required file is missing.
pub(crate) fn client_config(tls: &Tls, home: Option<&str>) -> Result<Option<ClientConfig>, String> {
    let mode = tls.mode.unwrap_or(SslMode::Prefer);
    if mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        authority: authority(tls, mode, home, &provider)?,
        checks_name: mode == SslMode::VerifyFull,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(tls))
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_certificate(tls, home) {
        (Some(cert), Some(key)) => {
            let unreadable = |error| format!("{key}: {error}");
            let key = PrivateKeyDer::from_pem_file(&key).map_err(unreadable)?;
            builder
                .with_client_auth_cert(certificates(&cert)?, key)
                .map_err(|error| error.to_string())?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err("sslcert and sslkey belong together".to_owned()),
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Some(config))
}

fn versions(tls: &Tls) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match (tls.only_1_2, tls.only_1_3) {
        (true, _) => &ALL[1..],
        (_, true) => &ALL[..1],
        (false, false) => &ALL,
    }
}

/// The files of the client's certificate and key; libpq's default files, if they exist and none is
/// named.
fn client_certificate(tls: &Tls, home: Option<&str>) -> (Option<String>, Option<String>) {
    if tls.cert.is_none()
        && tls.key.is_none()
        && let (Some(cert), Some(key)) = (
            default_file(home, "postgresql.crt"),
            default_file(home, "postgresql.key"),
        )
    {
        return (Some(cert), Some(key));
    }
    (tls.cert.clone(), tls.key.clone())
}

fn default_file(home: Option<&str>, name: &str) -> Option<String> {
    let path = format!("{}/.postgresql/{name}", home?);
    Path::new(&path).exists().then_some(path)
}

/// The authority that must have signed the server's certificate; `None` if none is required. As in
/// libpq, an existing file of root certificates is used in every mode.
fn authority(
    tls: &Tls,
    mode: SslMode,
    home: Option<&str>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Authority>, String> {
    let file = tls
        .root_cert
        .clone()
        .or_else(|| default_file(home, "root.crt"));
    let (roots, own) = match file.as_deref() {
        None if mode >= SslMode::VerifyCa => {
            return Err(
                "this sslmode needs the certificates of trusted authorities: name a file of \
                        them with sslrootcert, or take those of the system with sslrootcert=system"
                    .to_owned(),
            );
        }
        None => return Ok(None),
        Some("system") => {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            (roots, vec![])
        }
        Some(path) => {
            let own = certificates(path)?;
            if own.is_empty() {
                return Err(format!("{path} holds no certificate"));
            }
            let mut roots = RootCertStore::empty();
            for certificate in &own {
                let refused = |error| format!("{path}: {error}");
                roots.add(certificate.clone()).map_err(refused)?;
            }
            (roots, own)
        }
    };
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Some(Authority { chains, own }))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{path}: {error}"))
}

/// The certificates that are trusted.
#[derive(Debug)]
struct Authority {
    chains: Arc<WebPkiServerVerifier>,
    /// The certificates of a named file.
    own: Vec<CertificateDer<'static>>,
}

/// Verifies a server's certificate with libpq's rules.
#[derive(Debug)]
struct Verifier {
    authority: Option<Authority>,
    checks_name: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Whether a self-signed certificate is trusted: if it is one of the named certificates, even
    /// if it is not marked as an authority.
    fn is_trusted_itself(
        authority: &Authority,
        end_entity: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<bool, Error> {
        if !authority
            .own
            .iter()
            .any(|own| own.as_ref() == end_entity.as_ref())
        {
            return Ok(false);
        }
        let certificate = parsed(end_entity)?;
        let body = &certificate.tbs_certificate;
        if body.issuer != body.subject {
            return Ok(false);
        }
        let now = now.as_secs();
        if now < body.validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > body.validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired.into());
        }
        Ok(true)
    }
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate.as_ref())
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        if !Self::is_trusted_itself(authority, end_entity, now)? {
            let verdict = authority.chains.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
            // The name is checked last: if this error occurs, all other checks have passed.
            match verdict {
                Ok(_)
                | Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
        if self.checks_name && !certificate_names::fit(&parsed(end_entity)?, server_name) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
