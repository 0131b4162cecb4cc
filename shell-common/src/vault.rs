//! The secrets of this process: environment variables, and files that they name.

use std::time::Duration;

use pgai_core::Vault;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::console;

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment;

impl Vault for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        let set = |name: &str| {
            let value = std::env::var(name).ok();
            value.filter(|value| !value.trim().is_empty())
        };
        set(name).or_else(|| std::fs::read_to_string(set(&format!("{name}_FILE"))?.trim()).ok())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn wall_time(&self) -> Duration {
        console::wall_time()
    }

    fn sign(&self, key: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "it is not in PEM")?;
        let key = any_supported_type(&key).map_err(|error| error.to_string())?;
        let signer = key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or("it is not an RSA key")?;
        signer.sign(message).map_err(|error| error.to_string())
    }
}
