//! The connection between sqlx and the server. sqlx trusts other servers than libpq does, and sets
//! every session's time zone to UTC; neither is configurable. So sqlx connects to a socket within
//! this process, and this module forwards its messages to the server, over a connection that it
//! opens and verifies with libpq's rules.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{Host, session_option};
use rustls::pki_types::ServerName;
use shell_common::program::seed;
use shell_common::target::{Target, is_about_the_host, is_about_the_way};
use socket2::{SockRef, TcpKeepalive};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Error};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The timeout for sqlx to connect to the socket: it connects at once, or not at all.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The buffer for one direction.
const BUFFER: usize = 64 * 1024;
/// The maximum size of sqlx's first message, which is short: names and settings.
const STARTUP_MAX: usize = 1024 * 1024;
/// The first message of a client that uses TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why an attempt to connect failed.
struct Refusal {
    error: Error,
    /// Whether it may succeed the other way: with TLS, or without it.
    is_about_the_way: bool,
    /// Whether another host may succeed.
    is_about_the_host: bool,
}

impl Refusal {
    fn new(error: impl Into<Error>) -> Self {
        let error = error.into();
        let code = error.as_database_error().and_then(|error| error.code());
        Self {
            is_about_the_way: is_about_the_way(code.as_deref()),
            is_about_the_host: is_about_the_host(code.as_deref()),
            error,
        }
    }

    fn of_tls(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            error: Error::Tls(error.into()),
            is_about_the_way: true,
            is_about_the_host: true,
        }
    }
}

/// Connects to the first host that accepts the connection, in the first way that works. `connect`
/// makes sqlx connect with the given options.
///
/// # Errors
/// The errors of all hosts.
pub(crate) async fn reach<T, F>(
    target: &Target,
    nonce: Option<u64>,
    connect: impl Fn(PgConnectOptions) -> F,
    explain: fn(&Error) -> String,
) -> Result<T, String>
where
    F: Future<Output = sqlx::Result<T>>,
{
    let mut failures = vec![];
    for host in &target.url.hosts {
        for with_tls in target.attempts(host) {
            let attempt = async {
                let options = open(target, nonce, host, *with_tls).await?;
                connect(options).await.map_err(Refusal::new)
            };
            let patience = target.connect_timeout();
            let refusal = match timeout(patience, attempt).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(refusal)) => refusal,
                Err(_) => {
                    failures.push(format!(
                        "{host}: the connection took longer than {} s",
                        patience.as_secs()
                    ));
                    break;
                }
            };
            failures.push(format!("{host}: {}", explain(&refusal.error)));
            if !refusal.is_about_the_way {
                if !refusal.is_about_the_host {
                    return Err(failures.join("; "));
                }
                break;
            }
        }
    }
    Err(failures.join("; "))
}

/// Connects to a host, and returns the options with which sqlx uses that connection. They can be
/// used once.
async fn open(
    target: &Target,
    nonce: Option<u64>,
    host: &Host,
    with_tls: bool,
) -> Result<PgConnectOptions, Refusal> {
    let server = dial(target, host, with_tls).await?;
    let (listener, directory) = listen().map_err(Refusal::new)?;
    let options = target.url.options.iter().cloned();
    let options: Vec<String> = options.chain(nonce.map(session_option)).collect();
    let startup = Startup {
        options: (!options.is_empty()).then(|| options.join(" ")),
        is_pooled: nonce.is_none(),
    };
    tokio::spawn(async move {
        // sqlx meets the end of the line, and says so.
        let _ = forward(listener, server, startup).await;
    });
    let url = &target.url;
    let mut options = PgConnectOptions::new_without_pgpass()
        .socket(directory)
        .port(PORT)
        .ssl_mode(PgSslMode::Disable)
        .application_name(&url.application_name)
        .disable_statement_logging();
    if let Some(user) = &url.user {
        options = options.username(user);
    }
    if let Some(password) = &url.password {
        options = options.password(password);
    }
    if let Some(database) = &url.database {
        options = options.database(database);
    }
    Ok(options)
}

async fn dial(target: &Target, host: &Host, with_tls: bool) -> Result<Box<dyn Stream>, Refusal> {
    if host.is_socket() {
        let path = format!("{}/.s.PGSQL.{}", host.name, host.port);
        let stream = UnixStream::connect(path).await.map_err(Refusal::at_host)?;
        return Ok(Box::new(stream));
    }
    let mut stream = tcp(target, host).await.map_err(Refusal::at_host)?;
    let Some(config) = target.tls.as_ref().filter(|_| with_tls) else {
        return Ok(Box::new(stream));
    };
    if !target.url.tls.direct {
        stream
            .write_all(&SSL_REQUEST)
            .await
            .map_err(Refusal::at_host)?;
        match stream.read_u8().await.map_err(Refusal::at_host)? {
            b'S' => {}
            b'N' if target.is_tls_optional() => return Ok(Box::new(stream)),
            _ => return Err(Refusal::of_tls("the server does not speak TLS")),
        }
    }
    let name = ServerName::try_from(host.name.clone()).map_err(Refusal::of_tls)?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(Refusal::of_tls)?;
    Ok(Box::new(stream))
}

impl Refusal {
    /// The server cannot be reached, with or without TLS.
    fn at_host(error: io::Error) -> Self {
        Self {
            error: error.into(),
            is_about_the_way: false,
            is_about_the_host: true,
        }
    }
}

async fn tcp(target: &Target, host: &Host) -> io::Result<TcpStream> {
    let name = host.address.as_ref().unwrap_or(&host.name);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((name.as_str(), host.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                keep_alive(&stream, target)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn keep_alive(stream: &TcpStream, target: &Target) -> io::Result<()> {
    let (socket, wanted) = (SockRef::from(stream), target.url.keepalives);
    if wanted.are_on {
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = wanted.idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = wanted.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = wanted.count {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(patience) = target.url.tcp_user_timeout {
        socket.set_tcp_user_timeout(Some(patience))?;
    }
    Ok(())
}

/// sqlx adds it to the directory's name.
const PORT: u16 = 5432;

/// A socket that only this process knows: without a file, on systems with such sockets.
#[cfg(target_os = "linux")]
fn listen() -> io::Result<(UnixListener, String)> {
    let directory = format!("\0pgai-worker-{}-{:016x}", std::process::id(), seed());
    let listener = UnixListener::bind(format!("{directory}/.s.PGSQL.{PORT}"))?;
    Ok((listener, directory))
}

/// A socket in a directory that other users cannot access.
#[cfg(not(target_os = "linux"))]
fn listen() -> io::Result<(UnixListener, String)> {
    use std::os::unix::fs::DirBuilderExt as _;
    let name = format!("pgai-{}-{:016x}", std::process::id(), seed());
    let directory = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new().mode(0o700).create(&directory)?;
    let directory = directory.display().to_string();
    let listener = UnixListener::bind(format!("{directory}/.s.PGSQL.{PORT}"))?;
    Ok((listener, directory))
}

/// Forwards the messages of sqlx and the server, until one of them closes the connection.
async fn forward(
    listener: UnixListener,
    mut server: Box<dyn Stream>,
    startup: Startup,
) -> io::Result<()> {
    // sqlx may have been told to give up meanwhile.
    let mut client = timeout(ACCEPT_TIMEOUT, accept(listener)).await??;
    let length = client.read_u32().await? as usize;
    if !(8..=STARTUP_MAX).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length - 4];
    client.read_exact(&mut message).await?;
    server.write_all(&startup.message(&message)).await?;
    server.flush().await?;
    let (from_server, to_server) = split(server);
    let (from_client, to_client) = client.into_split();
    // Whoever is left alone does not wait for the other.
    tokio::select! {
        ended = pass(from_server, to_client) => ended,
        ended = pass(from_client, to_server) => ended,
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}

/// Accepts the connection of this process, and of no other.
async fn accept(listener: UnixListener) -> io::Result<UnixStream> {
    loop {
        let (client, _) = listener.accept().await?;
        let own = i32::try_from(std::process::id()).ok();
        let peer = client.peer_cred()?.pid();
        if peer.is_none() || peer == own {
            #[cfg(not(target_os = "linux"))]
            remove(&listener);
            return Ok(client);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn remove(listener: &UnixListener) {
    if let Ok(address) = listener.local_addr()
        && let Some(path) = address.as_pathname()
    {
        let _ = std::fs::remove_file(path);
        let _ = path.parent().map(std::fs::remove_dir);
    }
}

/// What becomes of sqlx's first message: a version, then names and values.
struct Startup {
    /// The settings of the URL and of the worker.
    options: Option<String>,
    /// Behind a pooler nothing is set, because it would leave it to the next client.
    is_pooled: bool,
}

impl Startup {
    /// The message without sqlx's time zone and settings: so the time zones of databases, roles and
    /// connections apply.
    fn message(&self, message: &[u8]) -> Vec<u8> {
        let (version, pairs) = message.split_at(4);
        let mut body = version.to_vec();
        let mut words = pairs.split(|byte| *byte == 0);
        let mut add = |name: &[u8], value: &[u8]| {
            body.extend([name, b"\0", value, b"\0"].concat());
        };
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let is_sent = match name {
                b"" | b"TimeZone" | b"extra_float_digits" | b"options" => false,
                b"user" | b"database" => true,
                _ => !self.is_pooled,
            };
            if is_sent {
                add(name, value);
            }
        }
        if let Some(options) = &self.options {
            add(b"options", options.as_bytes());
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [length.to_be_bytes().as_slice(), &body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_leaves_the_time_zone_alone() {
        let message = b"\0\x03\0\0user\0u\0TimeZone\0UTC\0options\0-c a=b\0database\0d\0\0";
        let startup = |options: Option<&str>| Startup {
            options: options.map(str::to_owned),
            is_pooled: false,
        };
        assert_eq!(
            startup(Some("-c c=d")).message(message),
            b"\0\0\0\x2a\0\x03\0\0user\0u\0database\0d\0options\0-c c=d\0\0"
        );
        assert_eq!(
            startup(None).message(message),
            b"\0\0\0\x1b\0\x03\0\0user\0u\0database\0d\0\0"
        );
    }

    #[test]
    fn a_pooler_is_told_nothing_that_it_would_keep() {
        let message = b"\0\x03\0\0user\0u\0application_name\0w\0DateStyle\0ISO\0database\0d\0\0";
        let startup = Startup {
            options: None,
            is_pooled: true,
        };
        assert_eq!(
            startup.message(message),
            b"\0\0\0\x1b\0\x03\0\0user\0u\0database\0d\0\0"
        );
    }
}
