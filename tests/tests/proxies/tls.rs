//! TLS in front of servers that have none.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};

/// The certificate of a server with this name or `localhost`, its authority, and another authority.
pub(crate) struct Certificates(tempfile::TempDir);

impl Certificates {
    pub(crate) fn for_name(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            let output = Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(directory.path())
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "openssl {arguments}: {error}");
        };
        for key in ["ca", "other-ca", "server"] {
            openssl(&format!(
                "ecparam -name prime256v1 -genkey -noout -out {key}.key"
            ));
        }
        for ca in ["ca", "other-ca"] {
            openssl(&format!(
                "req -x509 -new -key {ca}.key -subj /CN={ca} -days 30 -out {ca}.crt"
            ));
        }
        let names = format!("subjectAltName=DNS:{name},DNS:localhost");
        fs::write(directory.path().join("names"), names).unwrap();
        openssl(&format!(
            "req -new -key server.key -subj /CN={name} -out server.csr"
        ));
        openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
             -extfile names -out server.crt",
        );
        let authorities = directory.path().join("authorities");
        fs::create_dir(&authorities).unwrap();
        fs::copy(directory.path().join("ca.crt"), authorities.join("ca.crt")).unwrap();
        Self(directory)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// A server that speaks TLS, and passes on to another one what it reads. It runs until the test ends.
pub(crate) struct Front(u16);

impl Front {
    pub(crate) fn start(certificates: &Certificates, target: String) -> Self {
        let chain = CertificateDer::pem_file_iter(certificates.file("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (config, target) = (Arc::clone(&config), target.clone());
                thread::spawn(move || {
                    let tls = ServerConnection::new(config).unwrap();
                    pass_on(StreamOwned::new(tls, client?), TcpStream::connect(target)?)
                });
            }
        });
        Self(port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0
    }
}

/// Passes bytes on in both directions, a few milliseconds in each, until one side ends.
fn pass_on(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    mut target: TcpStream,
) -> io::Result<()> {
    let patience = Some(Duration::from_millis(5));
    client.sock.set_read_timeout(patience)?;
    target.set_read_timeout(patience)?;
    while move_some(&mut client, &mut target)? && move_some(&mut target, &mut client)? {}
    Ok(())
}

/// Whether the source has not ended.
fn move_some(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut bytes = [0; 16 * 1_024];
    match from.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(count) => {
            to.write_all(&bytes[..count])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
