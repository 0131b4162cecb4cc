//! Connections and requests: how many, how long, and of what size.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pgai_core::{Exchange, Level, Response, open_page, refusal};
use shell_common::program::Failure;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Account, Server};

/// Connections at a time: more wait to be accepted.
const CONNECTIONS_MAX: usize = 2048;
/// The longest time for the head of a request, and between two requests of a connection.
const HEAD_MAX: Duration = Duration::from_secs(20);
/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// So much of a body that is too long is read and dropped, so that its sender reads the answer.
const DROPPED_MAX: usize = 64 * 1024 * 1024;
/// How long requests under way may take when the server is stopped.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn serve(
    address: SocketAddr,
    server: Arc<Server>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let refused = |error: io::Error| Failure::Failed(format!("listening on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    // Port 0 lets the system choose one.
    let address = listener.local_addr().map_err(refused)?;
    server
        .console
        .note(Level::Info, &format!("serving http://{address}/"));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stop = stopped.clone();
    tokio::select! {
        () = accept(&listener, &server, &places, &stop) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    drop(listener);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = timeout(GRACE, places.acquire_many(all)).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    server: &Arc<Server>,
    places: &Arc<Semaphore>,
    stopped: &watch::Receiver<bool>,
) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((connection, _)) => {
                let (server, stopped) = (Arc::clone(server), stopped.clone());
                tokio::spawn(async move {
                    converse(connection, server, stopped).await;
                    drop(place);
                });
            }
            // Out of file descriptors, for instance: it may pass.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Answers the requests of a connection.
async fn converse(connection: TcpStream, server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    // Small answers go out at once; without it they are only later.
    let _ = connection.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(respond(&server, request).await.map(sent)) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(connection), service);
    let mut served = pin!(served);
    // What goes wrong is the client's: it went away, or does not speak HTTP.
    tokio::select! {
        _ = served.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

fn sent(body: Vec<u8>) -> Full<Bytes> {
    Full::new(body.into())
}

async fn respond(server: &Server, request: Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    if let Some(page) = open_page(parts.uri.path()).filter(|_| is_read) {
        return page;
    }
    let authorization = parts.headers.get(AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let place = authorization.and_then(|value| server.tokens.place(value));
    match place.and_then(|place| server.accounts.get(place)) {
        Some(account) => work(server, account, &parts, body).await,
        None => {
            // Of those who have no token little is read.
            discard(body, server.limits.max_body).await;
            let said = "a token is needed: Authorization: Bearer TOKEN";
            refusal(StatusCode::UNAUTHORIZED, said)
        }
    }
}

/// Answers a request when its turn comes. Only then its body is read, so few are in memory at a time.
async fn work(server: &Server, account: &Account, parts: &Parts, body: Incoming) -> Response {
    let limits = &server.limits;
    let end = Instant::now() + limits.timeout;
    let Ok(_turn) = timeout_at(end, account.turns.acquire()).await else {
        let said = "too many requests at a time: try again later";
        return refusal(StatusCode::SERVICE_UNAVAILABLE, said);
    };
    let Ok(body) = timeout_at(end, read(body, limits.max_body)).await else {
        return refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    };
    match body {
        Ok(body) => {
            let caller = Arc::clone(&account.caller);
            let exchange = Exchange::new(caller, server.now(), parts, &body);
            server.answer(account, exchange, end).await
        }
        Err(refused) => refused,
    }
}

async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, Response> {
    let too_long = || {
        let said = format!("the body is longer than {bytes_max} bytes");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, &said)
    };
    if body.size_hint().lower() > bytes_max as u64 {
        discard(body, DROPPED_MAX).await;
        return Err(too_long());
    }
    let read = Limited::new(body, bytes_max).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_long()
            } else {
                refusal(StatusCode::BAD_REQUEST, "the body broke off")
            }
        })
}

/// Reads a body up to this many bytes, and drops it.
async fn discard(mut body: Incoming, bytes_max: usize) {
    let mut bytes = 0;
    let dropped = async {
        while bytes < bytes_max
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = timeout(HEAD_MAX, dropped).await;
}
