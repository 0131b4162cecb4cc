//! Connections: how many, and for how long.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep, timeout};

use super::answers::{Answer, answer, text};
use super::history::{INTERVAL, Sample};
use super::state::State;

/// Connections at a time: more wait.
const CONNECTIONS_MAX: usize = 32;
/// A connection serves one request, and lasts no longer.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's body.
const BODY_MAX: usize = 16 * 1024;

/// Serves until the process ends.
pub(super) fn run(listener: TcpListener, state: Arc<State>) {
    // A thread for a command on the database, and one in case the last one hangs.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build();
    if let Ok(runtime) = runtime {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener);
            if let Ok(listener) = listener {
                tokio::join!(accept(listener, &state), sample(&state));
            }
        });
    }
}

async fn accept(listener: tokio::net::TcpListener, state: &Arc<State>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((connection, peer)) => {
                let state = Arc::clone(state);
                tokio::spawn(async move {
                    // Whoever is too slow is cut off.
                    let _ = timeout(CONNECTION_MAX, serve(connection, peer, state)).await;
                    drop(place);
                });
            }
            // Out of file descriptors, for instance: it may pass.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(connection: TcpStream, peer: SocketAddr, state: Arc<State>) {
    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(&state, request, peer).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service);
    // What goes wrong is the client's: it went away, or does not speak HTTP.
    let _ = served.await;
}

async fn respond(state: &State, request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => answer(state, &parts, &body.to_bytes(), peer).await,
        Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"),
    }
}

/// Remembers the last hours.
async fn sample(state: &State) {
    let mut ticks = interval(INTERVAL);
    loop {
        ticks.tick().await;
        let health = state.health().await;
        if let Some(snapshot) = health.snapshot.filter(|_| health.silent_for.is_zero()) {
            state.history.lock().await.add(Sample::of(&snapshot));
        }
    }
}
