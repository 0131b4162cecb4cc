//! How to connect to the database: a URL as in libpq, and libpq's environment variables for values
//! that the URL does not contain.
//!
//! Messages repeat only the names of a URL's parameters: a password with an unescaped `@` or `/`
//! may end up anywhere in the URL.

mod pairs;
mod parameters;
mod password_file;
mod service;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parameters::Use;

pub use password_file::password_for;

/// The values of a URL and the environment, with libpq's defaults. Debug output does not contain the
/// password.
#[derive(Clone)]
pub struct DatabaseUrl {
    /// The possible hosts of the server, in the order in which they are tried; never empty.
    pub hosts: Vec<Host>,
    /// The role, if one is named.
    pub user: Option<String>,
    /// The password, if one is given.
    pub password: Option<String>,
    /// The database, if one is named.
    pub database: Option<String>,
    /// The session's `application_name`.
    pub application_name: String,
    /// Command-line options for the server, such as `-c timezone=CET`.
    pub options: Option<String>,
    /// A password file, if it is not libpq's default.
    pub password_file: Option<String>,
    /// How TLS is used.
    pub tls: Tls,
    /// Whether the authentication must be bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// The timeout for connecting to one host; at least 2 seconds, as in libpq. `None` if
    /// neither URL nor environment sets it.
    pub connect_timeout: Option<Duration>,
    /// Whether the server must accept writes.
    pub read_write: bool,
    /// The settings of TCP keepalives.
    pub keepalives: Keepalives,
    /// How long sent data may stay unacknowledged.
    pub tcp_user_timeout: Option<Duration>,
}

/// One possible host of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// A name, an address, or the directory of a Unix socket (it begins with `/`). The certificate is
    /// checked for this name.
    pub name: String,
    /// The address, so that the name need not be resolved.
    pub address: Option<String>,
    /// The port.
    pub port: u16,
}

/// The URL's `keepalives…` parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalives {
    /// Whether keepalives are sent.
    pub are_on: bool,
    /// The idle time before the first keepalive.
    pub idle: Option<Duration>,
    /// The time between two keepalives.
    pub interval: Option<Duration>,
    /// The number of unanswered keepalives that end the connection.
    pub count: Option<u32>,
}

/// The URL's `ssl…` parameters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// `sslmode`; `None` if neither URL nor environment sets it.
    pub mode: Option<SslMode>,
    /// `sslrootcert`: a file of certificates, or `system`.
    pub root_cert: Option<String>,
    /// `sslcert`: a file with the client's certificate.
    pub cert: Option<String>,
    /// `sslkey`: a file with the client's key.
    pub key: Option<String>,
    /// `sslnegotiation=direct`: TLS starts at once, without a request in PostgreSQL's protocol.
    pub direct: bool,
    /// `ssl_min_protocol_version` is TLSv1.3.
    pub only_1_3: bool,
    /// `ssl_max_protocol_version` is TLSv1.2.
    pub only_1_2: bool,
}

/// The URL's `sslmode`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server rejects the connection without it.
    Allow,
    /// TLS if the server supports it.
    Prefer,
    /// TLS; the certificate is checked only if a root certificate file exists.
    Require,
    /// TLS; the certificate must be signed by a trusted authority.
    VerifyCa,
    /// TLS; the certificate must also match the host's name.
    VerifyFull,
}

/// The URL's `channel_binding`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If both sides support it.
    Prefer,
    /// Required.
    Require,
}

/// The default `application_name` of sessions.
const APPLICATION_NAME: &str = "pgai-worker-rs";

/// The values of the service that is named, from the first file that has it. What is named beside it goes first, what is
/// in the environment comes after it.
fn of_service(
    values: &BTreeMap<&str, String>,
    environment: impl Fn(&str) -> Option<String>,
    file: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<&'static str, String>, String> {
    let value = |name: &str, variable| {
        let value = values.get(name).cloned().or_else(|| environment(variable));
        value.filter(|value| !value.is_empty())
    };
    let Some(service) = value("service", "PGSERVICE") else {
        return Ok(BTreeMap::new());
    };
    let paths = service::paths(value("servicefile", "PGSERVICEFILE"), &environment);
    let files = paths.iter().filter_map(|path| file(path));
    let found = files
        .filter_map(|file| service::read(&file, &service))
        .next();
    found.unwrap_or_else(|| {
        Err(format!(
            "the service {service} is not in {}",
            paths.join(" or ")
        ))
    })
}

impl DatabaseUrl {
    /// Reads a URL, or pairs such as `host=h dbname=d`. `environment` looks a variable up, and `file` reads a file, if it
    /// is there.
    ///
    /// # Errors
    /// A message that says what is wrong with the URL. It repeats only names of parameters.
    pub fn parse(
        url: &str,
        environment: impl Fn(&str) -> Option<String>,
        file: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut values = if pairs::are_in(url) {
            pairs::read(url)?
        } else {
            parameters::of_url(url)?
        };
        for (name, value) in of_service(&values, &environment, file)? {
            values.entry(name).or_insert(value);
        }
        for parameter in parameters::ALL {
            if let (Some(variable), false) =
                (parameter.variable, values.contains_key(parameter.name))
                && let Some(value) = environment(variable).filter(|value| !value.is_empty())
            {
                values.insert(parameter.name, value);
            }
        }
        for (name, value) in &values {
            if let Some(Use::Refused { unless, reason }) = parameters::usage(name)
                && !unless.contains(&value.as_str())
            {
                return Err(format!("{name} cannot be used here: {reason}"));
            }
        }
        let mut url = Self::from_values(&values)?;
        // As libpq: it wins over what `options` says.
        if let Some(zone) = environment("PGTZ").filter(|zone| !zone.is_empty()) {
            let zone = zone.replace('\\', "\\\\").replace(' ', "\\ ");
            let options = url.options.take().unwrap_or_default();
            url.options = Some(
                format!("{options} -c TimeZone={zone}")
                    .trim_start()
                    .to_owned(),
            );
        }
        Ok(url)
    }

    fn from_values(values: &BTreeMap<&str, String>) -> Result<Self, String> {
        let text = |name: &str| values.get(name).filter(|value| !value.is_empty()).cloned();
        let number = |name: &str| {
            let value = text(name).map(|value| value.trim().parse::<i64>());
            value
                .transpose()
                .map_err(|_| format!("{name} must be a number"))
        };
        let seconds = |name: &str| {
            let number = number(name)?.filter(|number| *number > 0);
            Ok::<_, String>(number.map(|number| Duration::from_secs(number.unsigned_abs())))
        };
        let named = text("application_name").or_else(|| text("fallback_application_name"));
        let user_timeout = number("tcp_user_timeout")?.filter(|ms| *ms > 0);
        Ok(Self {
            hosts: hosts(values)?,
            user: text("user"),
            password: text("password"),
            database: text("dbname"),
            application_name: named.unwrap_or_else(|| APPLICATION_NAME.to_owned()),
            options: text("options"),
            password_file: text("passfile"),
            tls: tls(values)?,
            channel_binding: match text("channel_binding").as_deref() {
                None | Some("prefer") => ChannelBinding::Prefer,
                Some("disable") => ChannelBinding::Disable,
                Some("require") => ChannelBinding::Require,
                Some(_) => return Err(one_of("channel_binding", "disable, prefer or require")),
            },
            // libpq rounds one second up to two.
            connect_timeout: seconds("connect_timeout")?
                .map(|time| time.max(Duration::from_secs(2))),
            read_write: match text("target_session_attrs").as_deref() {
                None | Some("any") => false,
                Some("read-write" | "primary") => true,
                Some("read-only" | "standby" | "prefer-standby") => {
                    return Err("target_session_attrs must be any, read-write or primary: \
                                a worker writes"
                        .to_owned());
                }
                Some(_) => {
                    return Err(one_of("target_session_attrs", "any, read-write or primary"));
                }
            },
            keepalives: Keepalives {
                are_on: number("keepalives")? != Some(0),
                idle: seconds("keepalives_idle")?,
                interval: seconds("keepalives_interval")?,
                count: number("keepalives_count")?
                    .and_then(|count| u32::try_from(count).ok())
                    .filter(|count| *count > 0),
            },
            tcp_user_timeout: user_timeout.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        })
    }

    /// Where the server is, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(Host::to_string).collect();
        hosts.join(", ")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, port) = (&self.name, self.port);
        if self.is_socket() {
            write!(f, "{name}/.s.PGSQL.{port}")
        } else if name.contains(':') {
            write!(f, "[{name}]:{port}")
        } else {
            write!(f, "{name}:{port}")
        }
    }
}

impl Host {
    /// Whether it is the directory of a Unix socket.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with('/')
    }
}

impl SslMode {
    /// The attempts to connect, in order: whether each uses TLS.
    #[must_use]
    pub const fn attempts(self) -> &'static [bool] {
        match self {
            Self::Disable => &[false],
            Self::Allow => &[false, true],
            Self::Prefer => &[true, false],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[true],
        }
    }
}

fn hosts(values: &BTreeMap<&str, String>) -> Result<Vec<Host>, String> {
    let list = |name: &str| -> Vec<String> {
        let value = values.get(name).filter(|value| !value.is_empty());
        value.map_or_else(Vec::new, |value| {
            value.split(',').map(str::to_owned).collect()
        })
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = if addresses.is_empty() {
        names.len()
    } else {
        addresses.len()
    }
    .max(1);
    if !names.is_empty() && names.len() != count {
        return Err("host and hostaddr must name as many places".to_owned());
    }
    if ports.len() > 1 && ports.len() != count {
        return Err("there must be one port, or one for each host".to_owned());
    }
    let host = |at: usize| {
        let port = ports
            .get(at)
            .or_else(|| ports.first().filter(|_| ports.len() == 1));
        let port = match port.map(String::as_str) {
            None | Some("") => 5432,
            Some(port) => port
                .trim()
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(
                    "the port is no port number; where it is part of the password, \
                 percent-encode the characters : / ? # @ in that",
                )?,
        };
        let address = addresses
            .get(at)
            .filter(|address| !address.is_empty())
            .cloned();
        let name = names.get(at).filter(|name| !name.is_empty()).cloned();
        Ok(Host {
            name: name
                .or_else(|| address.clone())
                .unwrap_or_else(|| "localhost".to_owned()),
            address,
            port,
        })
    };
    (0..count).map(host).collect()
}

fn tls(values: &BTreeMap<&str, String>) -> Result<Tls, String> {
    let text = |name: &str| values.get(name).filter(|value| !value.is_empty()).cloned();
    let version = |name: &str| match text(name).map(|it| it.to_ascii_lowercase()).as_deref() {
        None => Ok(None),
        Some("tlsv1" | "tlsv1.1") => Ok(Some(1)),
        Some("tlsv1.2") => Ok(Some(2)),
        Some("tlsv1.3") => Ok(Some(3)),
        Some(_) => Err(one_of(name, "TLSv1.2 or TLSv1.3")),
    };
    let oldest = version("ssl_min_protocol_version")?;
    let newest = version("ssl_max_protocol_version")?;
    if newest == Some(1) || (oldest == Some(3) && newest == Some(2)) {
        return Err("no version of TLS is left: only 1.2 and 1.3 can be spoken".to_owned());
    }
    let mode = match text("sslmode").as_deref() {
        None => None,
        Some("disable") => Some(SslMode::Disable),
        Some("allow") => Some(SslMode::Allow),
        Some("prefer") => Some(SslMode::Prefer),
        Some("require") => Some(SslMode::Require),
        Some("verify-ca") => Some(SslMode::VerifyCa),
        Some("verify-full") => Some(SslMode::VerifyFull),
        Some(_) => {
            let modes = "disable, allow, prefer, require, verify-ca or verify-full";
            return Err(one_of("sslmode", modes));
        }
    };
    let direct = match text("sslnegotiation").as_deref() {
        None | Some("postgres") => false,
        Some("direct") if mode < Some(SslMode::Require) => {
            return Err("sslnegotiation=direct needs sslmode=require or stronger".to_owned());
        }
        Some("direct") => true,
        Some(_) => return Err(one_of("sslnegotiation", "postgres or direct")),
    };
    let root_cert = text("sslrootcert");
    let is_weak = mode.is_some_and(|mode| mode < SslMode::VerifyFull);
    if root_cert.as_deref() == Some("system") && is_weak {
        return Err(
            "this sslmode is too weak for sslrootcert=system: use sslmode=verify-full".to_owned(),
        );
    }
    Ok(Tls {
        mode: match root_cert.as_deref() {
            Some("system") => Some(SslMode::VerifyFull),
            _ => mode,
        },
        root_cert,
        cert: text("sslcert"),
        key: text("sslkey"),
        direct,
        only_1_3: oldest == Some(3),
        only_1_2: newest == Some(2),
    })
}

fn one_of(name: &str, values: &str) -> String {
    format!("{name} must be {values}")
}

#[cfg(test)]
mod tests;
