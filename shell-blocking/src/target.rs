//! Where the database is, as a URL says it, and libpq's environment variables where it does not.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use postgres::config::{Host, SslMode};
use postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::program::Failure;
use crate::tls::{Tls, Trust};

/// How the session calls itself, unless the URL says otherwise.
const APPLICATION_NAME: &str = "pgai-worker-rs";

/// After this a server is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After this long without a sign of life from the server's machine the connection is dead: the
/// crate has no timeouts for statements, but a network that is gone must not hold the worker.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A database, and how to connect to it.
#[derive(Clone)]
pub struct Target {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// If it is no URL of a PostgreSQL database, or names certificates that cannot be read. The
    /// message does not repeat the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, Failure> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::read(url, environment).map_err(|reason| {
            Failure::Usage(format!(
                "the database URL is malformed ({reason}); it looks like postgres://user:password@host:5432/name"
            ))
        })
    }

    fn read(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err("it must begin with postgres://".to_owned());
        }
        let (url, mut ssl) = split(url)?;
        let mut config = Config::from_str(&url).map_err(|error| chain(&error))?;
        fill(&mut config, &environment)?;
        config
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(SILENCE_MAX / 2)
            .keepalives_interval(SILENCE_MAX / 6)
            .keepalives_retries(3);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        for (name, variable) in [
            (&mut ssl.mode, "PGSSLMODE"),
            (&mut ssl.root_cert, "PGSSLROOTCERT"),
            (&mut ssl.cert, "PGSSLCERT"),
            (&mut ssl.key, "PGSSLKEY"),
        ] {
            if name.is_none() {
                *name = environment(variable);
            }
        }
        let (mode, trust) = ssl.mode()?;
        config.ssl_mode(mode);
        let tls = Tls {
            trust,
            root_cert: ssl.root_cert,
            cert: ssl.cert,
            key: ssl.key,
        };
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls.client_config()?),
        })
    }

    /// Where the database is, for messages.
    pub(crate) fn address(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate();
        let addresses = hosts.map(|(at, host)| {
            let port = ports.get(at).or_else(|| ports.first()).unwrap_or(&5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(directory) => directory.display().to_string(),
            }
        });
        addresses.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn connect(&self) -> Result<Client, postgres::Error> {
        self.config.connect(self.tls.clone())
    }

    pub(crate) fn connect_with_notices(
        &self,
        warn: fn(message: &str),
    ) -> Result<Client, postgres::Error> {
        let mut config = self.config.clone();
        config.notice_callback(move |notice| {
            if notice.severity() == "WARNING" {
                warn(notice.message());
            }
        });
        config.connect(self.tls.clone())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The crate leaves the password out.
        f.debug_struct("Target")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What the crate `postgres` does not read from a URL.
#[derive(Debug, Default)]
struct Ssl {
    mode: Option<String>,
    root_cert: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl Ssl {
    fn mode(&self) -> Result<(SslMode, Trust), String> {
        Ok(match self.mode.as_deref().unwrap_or("prefer") {
            "allow" | "disable" => (SslMode::Disable, Trust::Anybody),
            "prefer" => (SslMode::Prefer, Trust::Anybody),
            // As in libpq: who names an authority wants it to be asked.
            "require" if self.root_cert.is_some() => (SslMode::Require, Trust::Authority),
            "require" => (SslMode::Require, Trust::Anybody),
            "verify-ca" => (SslMode::Require, Trust::Authority),
            "verify-full" => (SslMode::Require, Trust::NamedByAuthority),
            other => return Err(format!("there is no sslmode {other:?}")),
        })
    }
}

/// Takes the parameters of TLS out of a URL.
fn split(url: &str) -> Result<(String, Ssl), String> {
    let mut ssl = Ssl::default();
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), ssl));
    };
    let mut others = vec![];
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let place = match name {
            "sslmode" => &mut ssl.mode,
            "sslrootcert" => &mut ssl.root_cert,
            "sslcert" => &mut ssl.cert,
            "sslkey" => &mut ssl.key,
            _ => {
                others.push(parameter);
                continue;
            }
        };
        let value = percent_decode_str(value).decode_utf8();
        *place = Some(value.map_err(|error| format!("{name}: {error}"))?.into());
    }
    Ok((format!("{base}?{}", others.join("&")), ssl))
}

/// What the URL does not say.
fn fill(config: &mut Config, environment: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host(environment("PGHOST").as_deref().unwrap_or("localhost"));
    }
    if config.get_ports().is_empty()
        && let Some(port) = environment("PGPORT")
    {
        let port = port.parse();
        config.port(port.map_err(|_| "PGPORT is no port".to_owned())?);
    }
    if config.get_user().is_none()
        && let Some(user) = environment("PGUSER")
    {
        config.user(&user);
    }
    if config.get_password().is_none()
        && let Some(password) = environment("PGPASSWORD")
    {
        config.password(password);
    }
    if config.get_dbname().is_none()
        && let Some(name) = environment("PGDATABASE")
    {
        config.dbname(&name);
    }
    if config.get_application_name().is_none() {
        let name = environment("PGAPPNAME");
        config.application_name(name.as_deref().unwrap_or(APPLICATION_NAME));
    }
    Ok(())
}

/// An error and its causes: the crate says what it did, and the cause says why that failed.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let value = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Target::read(url, value).map(|target| target.config)
    }

    #[test]
    fn both_schemes_are_understood_and_nothing_else() {
        for url in ["postgres://u:p@h:5433/d", "postgresql://u:p@h:5433/d"] {
            let config = read(url, &[]).unwrap();
            assert_eq!(config.get_dbname(), Some("d"));
            assert_eq!(config.get_ports(), [5433]);
            assert_eq!(config.get_application_name(), Some(APPLICATION_NAME));
        }
        for url in [
            "",
            "host=h",
            "mysql://h",
            "postgres://h:port/d",
            "postgres://h?nonsense=1",
        ] {
            assert!(read(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn the_url_wins_over_the_environment() {
        let environment = [
            ("PGUSER", "other"),
            ("PGPASSWORD", "x"),
            ("PGSSLMODE", "disable"),
        ];
        let config = read("postgres://u@h/d?application_name=a%20b", &environment).unwrap();
        assert_eq!(config.get_user(), Some("u"));
        assert_eq!(config.get_password(), Some(&b"x"[..]));
        assert_eq!(config.get_application_name(), Some("a b"));
        assert_eq!(config.get_ssl_mode(), SslMode::Disable);
        let config = read("postgres://u@h/d?sslmode=require", &environment).unwrap();
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn a_refusal_does_not_show_the_password() {
        for url in ["postgres://u:secret@h:x/d", "mysql://u:secret@h"] {
            let failure = Target::parse(url).unwrap_err();
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    }

    #[test]
    fn certificates_that_are_not_there_are_named() {
        let refusal = read(
            "postgres://h/d?sslmode=verify-full&sslrootcert=%2Fno.pem",
            &[],
        );
        assert!(refusal.unwrap_err().contains("/no.pem"));
    }
}
