//! TLS towards PostgreSQL: whom `sslmode` trusts.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Which servers are trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trust {
    /// `prefer`, `require`: the line is encrypted, to whomever.
    Anybody,
    /// `verify-ca`: whoever has a certificate of an authority.
    Authority,
    /// `verify-full`: whose certificate also has the host's name.
    NamedByAuthority,
}

/// What a URL says of TLS, with paths of PEM files.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) trust: Trust,
    /// The authorities; without it, or with `system`, those of the system.
    pub(crate) root_cert: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
}

impl Tls {
    pub(crate) fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.trust {
            Trust::NamedByAuthority => builder.with_root_certificates(self.roots()?),
            Trust::Anybody | Trust::Authority => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(self.verifier(provider)?)),
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let unreadable = |error| format!("{key}: {error}");
                let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable)?;
                builder
                    .with_client_auth_cert(certificates(cert)?, key)
                    .map_err(|error| error.to_string())
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            _ => Err("sslcert and sslkey belong together".to_owned()),
        }
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<AnyName, String> {
        let authority = match self.trust {
            Trust::Anybody => None,
            Trust::Authority | Trust::NamedByAuthority => {
                let roots = Arc::new(self.roots()?);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map(Some)
                    .map_err(|error| error.to_string())?
            }
        };
        Ok(AnyName {
            authority,
            provider,
        })
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        match self.root_cert.as_deref() {
            None | Some("system") => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
            Some(path) => {
                for certificate in certificates(path)? {
                    let refused = |error| format!("{path}: {error}");
                    roots.add(certificate).map_err(refused)?;
                }
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{path}: {error}"))
}

/// Accepts a certificate whatever host it names.
#[derive(Debug)]
struct AnyName {
    /// Who must have signed it; nobody, if `None`.
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
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
        // The name is looked at last: whoever gets there has passed everything else.
        match authority.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
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
