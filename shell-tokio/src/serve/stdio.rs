//! MCP over the standard input and output: a message is a line.

use std::io;
use std::sync::Arc;

use pgai_core::{Exchange, Response};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Stdout,
    stdin, stdout,
};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Server;

/// Serves until the input ends.
pub(super) async fn serve(server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    let mut input = BufReader::new(stdin());
    let output = Arc::new(Mutex::new(stdout()));
    let mut under_way = JoinSet::new();
    loop {
        let line = tokio::select! {
            line = line(&mut input, server.limits.max_body) => line,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let Ok(Some(line)) = line else { break };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let (server, output) = (Arc::clone(&server), Arc::clone(&output));
        under_way.spawn(async move {
            let answer = answer(&server, &line).await;
            // If the agent has gone, the input ends, too.
            let _ = write(&output, answer).await;
        });
        // Those that are done.
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

async fn answer(server: &Server, line: &[u8]) -> Response {
    let account = &server.accounts[0];
    let end = Instant::now() + server.limits.timeout;
    // The semaphore is never closed.
    let _turn = account.turns.acquire().await;
    let exchange = Exchange::mcp(Arc::clone(&account.caller), server.now(), line);
    server.answer(account, exchange, end).await
}

/// The next line; `None` at the end of the input. What is too long is cut off, and is then no JSON.
async fn line(
    input: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = vec![];
    let limit = bytes_max as u64;
    (&mut *input)
        .take(limit)
        .read_until(b'\n', &mut line)
        .await?;
    let mut rest = vec![];
    while line.len() >= bytes_max && !line.ends_with(b"\n") && !rest.ends_with(b"\n") {
        rest.clear();
        let mut part = (&mut *input).take(limit);
        if part.read_until(b'\n', &mut rest).await? == 0 {
            break;
        }
    }
    Ok(Some(line).filter(|line| !line.is_empty()))
}

async fn write(output: &Mutex<Stdout>, answer: Response) -> io::Result<()> {
    let mut answer = answer.into_body();
    if answer.is_empty() {
        return Ok(());
    }
    answer.push(b'\n');
    let mut output = output.lock().await;
    output.write_all(&answer).await?;
    output.flush().await
}
