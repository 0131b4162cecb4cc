//! A database, and how to connect to it: the URL, and the files that it uses.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{ChannelBinding, DatabaseUrl, Host, SslMode, password_for};
use rustls::ClientConfig;

use crate::program::Failure;
use crate::tls;

/// The timeout for connecting to one host, unless the URL contains one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A database, and how to connect to it.
#[derive(Clone)]
pub struct Target {
    /// The values of the URL and the environment.
    pub url: DatabaseUrl,
    /// The TLS configuration; `None` if TLS is never used.
    pub tls: Option<Arc<ClientConfig>>,
    /// Where to listen for notifications, if this leads through a pooler.
    pub listener: Option<Arc<Self>>,
    /// Whether it does, as the operator says: otherwise a shell finds out.
    pub is_pooled: bool,
}

impl Target {
    /// Parses a URL. Values that it does not contain come from libpq's environment variables
    /// and files.
    ///
    /// # Errors
    /// If it is not a URL of a PostgreSQL database, contains a parameter that a worker does not
    /// support, or names certificates that cannot be read. The message does not repeat the URL,
    /// which may contain a password.
    pub fn parse(url: &str) -> Result<Self, Failure> {
        let environment = |name: &str| std::env::var(name).ok();
        Self::read(url, environment).map_err(|reason| {
            Failure::Usage(format!(
                "the database URL is malformed ({reason}); it looks like postgres://user:password@host:5432/name, or host=… dbname=…"
            ))
        })
    }

    fn read(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut url =
            DatabaseUrl::parse(url, &environment, |path| std::fs::read_to_string(path).ok())?;
        let home = environment("HOME").filter(|home| !home.is_empty());
        if url.password.is_none() {
            url.password = password(&url, home.as_deref(), &environment);
        }
        let tls = tls::client_config(&url.tls, home.as_deref())?.map(Arc::new);
        Ok(Self {
            url,
            tls,
            listener: None,
            is_pooled: false,
        })
    }

    /// The attempts to connect to a host, in order: whether each uses TLS.
    pub fn attempts(&self, host: &Host) -> &'static [bool] {
        if host.is_socket() {
            // libpq does not speak TLS through a Unix socket.
            return &[false];
        }
        self.url.tls.mode.unwrap_or(SslMode::Prefer).attempts()
    }

    /// Whether a server without TLS is accepted, too.
    pub fn is_tls_optional(&self) -> bool {
        self.url.tls.mode.unwrap_or(SslMode::Prefer) <= SslMode::Prefer
    }

    /// Whether the URL requires channel binding.
    #[must_use]
    pub fn wants_channel_binding(&self) -> bool {
        self.url.channel_binding == ChannelBinding::Require
    }

    /// The connection timeout for one host.
    pub fn connect_timeout(&self) -> Duration {
        self.url.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.url).finish()
    }
}

/// Whether a server's error, by its SQLSTATE, may depend on the use of TLS: then libpq tries the
/// other way.
pub fn is_about_the_way(sqlstate: Option<&str>) -> bool {
    // invalid_authorization_specification: no entry of pg_hba.conf fits
    matches!(sqlstate, None | Some("28000"))
}

/// Whether another host may accept the connection after this error.
pub fn is_about_the_host(sqlstate: Option<&str>) -> bool {
    // cannot_connect_now, admin_shutdown and their like; too_many_connections
    sqlstate.is_none_or(|code| code.starts_with("57P") || code == "53300")
}

/// The password for the first host in libpq's password file.
fn password(
    url: &DatabaseUrl,
    home: Option<&str>,
    environment: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let named = url.password_file.as_deref().map(PathBuf::from);
    let path = named.or_else(|| Some(PathBuf::from(home?).join(".pgpass")))?;
    if is_open_to_others(&path) {
        return None;
    }
    let file = std::fs::read_to_string(path).ok()?;
    let user = url.user.clone().or_else(|| environment("USER"))?;
    let database = url.database.as_ref().unwrap_or(&user);
    let host = url.hosts.first()?;
    password_for(&file, &host.name, host.port, database, &user)
}

/// Whether other users can read a password file; libpq does not use such a file.
fn is_open_to_others(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_does_not_show_the_password() {
        for url in [
            "postgres://u:secret@h:x/d",
            "mysql://u:secret@h",
            "postgres://u:p@secret@h/d",
        ] {
            let failure = Target::parse(url).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{url}");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    }

    #[test]
    fn certificates_that_are_not_there_are_named() {
        let read = |url| Target::read(url, |_| None).map(drop);
        let refusal = read("postgres://h/d?sslmode=verify-full&sslrootcert=%2Fno.pem");
        assert!(refusal.unwrap_err().contains("/no.pem"));
        let refusal = read("postgres://h/d?sslmode=verify-full");
        assert!(refusal.unwrap_err().contains("sslrootcert"));
    }
}
