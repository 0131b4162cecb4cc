//! Connecting with the crate `postgres`.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use pgai_core::{ChannelBinding, Host, SESSION_VALUE, refuses_options, session_option};
use postgres::config::{self, SslMode, SslNegotiation};
use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use shell_common::program::seed;
use shell_common::target::{Target, is_about_the_host, is_about_the_way};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::db_error;

/// Without any sign of life from the server's machine for this time, the connection is closed.
/// The crate has no timeouts for statements, and a broken network must not block the worker.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Connects to the first host that accepts the connection, in the first way that works. The
/// server's warnings are passed to `warn`.
///
/// # Errors
/// The errors of all hosts.
pub(crate) fn connect(target: &Target, warn: Option<fn(message: &str)>) -> Result<Client, String> {
    connect_with(target, warn, None)
}

/// Connects, and says whether the connection has a session of its own: that is not so behind a pooler.
///
/// # Errors
/// The errors of all hosts.
pub(crate) fn connect_to_session(target: &Target) -> Result<(Client, bool), String> {
    if target.is_pooled {
        return Ok((connect_with(target, None, None)?, false));
    }
    let nonce = seed();
    match connect_with(target, None, Some(nonce)) {
        Ok(mut client) => {
            // A simple query: a statement with a name would stay in the session.
            let answer = client.simple_query(SESSION_VALUE);
            let answer = answer.map_err(|error| db_error(&error).message)?;
            let nonce = nonce.to_string();
            for message in answer {
                if let SimpleQueryMessage::Row(row) = message
                    && row.get(0) == Some(nonce.as_str())
                {
                    return Ok((client, true));
                }
            }
        }
        Err(reason) if refuses_options(&reason) => {}
        Err(reason) => return Err(reason),
    }
    Ok((connect_with(target, None, None)?, false))
}

fn connect_with(
    target: &Target,
    warn: Option<fn(message: &str)>,
    nonce: Option<u64>,
) -> Result<Client, String> {
    let mut failures = vec![];
    for host in &target.url.hosts {
        for with_tls in target.attempts(host) {
            let mut config = config(target, host, *with_tls, warn)?;
            set_options(&mut config, target, nonce);
            let connected = match target.tls.as_ref().filter(|_| *with_tls) {
                Some(tls) => config.connect(MakeRustlsConnect::new((**tls).clone())),
                None => config.connect(NoTls),
            };
            let error = match connected {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let is_of_tls = is_of_tls(&error);
            let refusal = db_error(&error);
            failures.push(format!("{host}: {}", refusal.message));
            let code = refusal.sqlstate.as_deref();
            let is_about_the_way = is_about_the_way(code) && (code.is_some() || is_of_tls);
            if !is_about_the_way {
                if !is_about_the_host(code) {
                    return Err(failures.join("; "));
                }
                break;
            }
        }
    }
    Err(failures.join("; "))
}

fn config(
    target: &Target,
    host: &Host,
    with_tls: bool,
    warn: Option<fn(message: &str)>,
) -> Result<Config, String> {
    let url = &target.url;
    let mut config = Config::new();
    config.host(&host.name).port(host.port);
    if let Some(address) = &host.address {
        let address = address.parse();
        config.hostaddr(address.map_err(|_| "hostaddr is no address".to_owned())?);
    }
    if let Some(user) = &url.user {
        config.user(user);
    }
    if let Some(password) = &url.password {
        config.password(password);
    }
    if let Some(database) = &url.database {
        config.dbname(database);
    }
    config.connect_timeout(target.connect_timeout());
    if url.read_write {
        config.target_session_attrs(config::TargetSessionAttrs::ReadWrite);
    }
    let idle = url.keepalives.idle.unwrap_or(SILENCE_MAX / 2);
    config
        .keepalives(url.keepalives.are_on)
        .keepalives_idle(idle)
        .keepalives_interval(url.keepalives.interval.unwrap_or(SILENCE_MAX / 6))
        .keepalives_retries(url.keepalives.count.unwrap_or(3))
        .tcp_user_timeout(url.tcp_user_timeout.unwrap_or(SILENCE_MAX));
    config.channel_binding(match url.channel_binding {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    });
    config.ssl_mode(match with_tls {
        true if target.is_tls_optional() => SslMode::Prefer,
        true => SslMode::Require,
        false => SslMode::Disable,
    });
    if url.tls.direct {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    config.notice_callback(move |notice| match warn {
        Some(warn) if notice.severity() == "WARNING" => warn(notice.message()),
        _ => {}
    });
    Ok(config)
}

/// The settings of the URL, and the one that shows whether the session is the connection's own. Without
/// it, nothing is set that a pooler would leave to the next client.
fn set_options(config: &mut Config, target: &Target, nonce: Option<u64>) {
    let options = target.url.options.iter().cloned();
    let options: Vec<String> = options.chain(nonce.map(session_option)).collect();
    if !options.is_empty() {
        config.options(&options.join(" "));
    }
    if nonce.is_some() {
        config.application_name(&target.url.application_name);
    }
}

/// Whether the TLS handshake failed, or the server is not trusted.
fn is_of_tls(error: &postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
