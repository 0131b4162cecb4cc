//! A web application that embeds its own rows: the worker is a task beside its handlers.
//!
//! ```sh
//! DATABASE_URL=postgres://localhost/app cargo run -p worker --example axum -- 127.0.0.1:3000
//! ```
//!
//! The application's tables and vectorizers are in the database already (`worker install`, `ai.create_vectorizer`).

use std::error::Error;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use shell_tokio::{Asker, Event, Worker};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::sync::mpsc::Receiver;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let url = std::env::var("DATABASE_URL")?;
    // Variables such as PGAI_VECTORIZER_WORKER_LEASE and OPENAI_API_KEY mean what they mean for `worker`.
    let mut settings = shell_tokio::settings("axum-example")?;
    settings.poll_interval = Duration::from_secs(10);
    let (worker, events) = Worker::start(&url, settings)?;
    tokio::spawn(log(events));

    let application = Router::new()
        .route("/", get(|| async { "the application" }))
        .route("/health", get(health))
        .with_state(worker.asker());
    let listener = TcpListener::bind(address).await?;
    eprintln!("serving http://{}/", listener.local_addr()?);
    axum::serve(listener, application)
        .with_graceful_shutdown(async {
            // Without a handler for the signal there is nothing to wait for.
            let _ = ctrl_c().await;
        })
        .await?;

    // What is in flight is finished or given back before the process ends.
    let summary = worker.stop().await;
    eprintln!("{} rows are in sync", summary.rows);
    Ok(())
}

async fn log(mut events: Receiver<Event>) {
    while let Some(event) = events.recv().await {
        eprintln!("{}: {}", event.level().name(), event.message());
    }
}

async fn health(State(worker): State<Asker>) -> (StatusCode, Json<Value>) {
    match worker.snapshot().await {
        Some(snapshot) if snapshot.is_ready => (StatusCode::OK, Json(json!(snapshot))),
        Some(snapshot) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "reason": snapshot.reason })),
        ),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "reason": "the worker has ended" })),
        ),
    }
}
