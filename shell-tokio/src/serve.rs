//! `worker serve`: the accounts of the tokens, and how a request of one of them gets its answer.

mod http;
mod stdio;

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use pgai_core::{
    Answer, Call, Caller, Doing, Exchange, Level, Response, ServeLimits, Time, Tokens,
};
use shell_common::console::Console;
use shell_common::program::{Failure, Serving};
use shell_common::target::Target;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::database::Database;
use crate::{Others, Signals};

/// The role of one or more tokens.
#[derive(Debug)]
struct Account {
    caller: Arc<Caller>,
    database: Database,
    others: Others,
    /// Requests that are worked on.
    turns: Semaphore,
}

/// All that requests share.
#[derive(Debug)]
struct Server {
    tokens: Tokens,
    accounts: Vec<Account>,
    limits: ServeLimits,
    began: Instant,
    /// A model computes on all processors: more requests at a time would only need more memory.
    models: Semaphore,
    console: Console,
}

/// Serves until SIGTERM, SIGINT or SIGHUP, or until the agent at the standard input goes. `targets` are the databases
/// of [`Tokens::urls`], or that of the only caller.
///
/// # Errors
/// If it cannot listen.
pub async fn serve(
    targets: Vec<Target>,
    serving: Serving,
    console: Console,
) -> Result<(), Failure> {
    let signals = Signals::new()?;
    let (listen, is_mcp) = (serving.options.listen, serving.options.mcp);
    let server = Arc::new(Server::new(targets, &serving, console)?);
    let (stop, stopped) = watch::channel(false);
    let listening = tokio::spawn(async move {
        let mut signals = signals;
        signals.next().await;
        // If the server has ended, there is nothing to stop.
        let _ = stop.send(true);
        signals.next().await;
        // Whoever asks twice does not want to wait for what is still under way.
        std::process::exit(1);
    });
    if is_mcp {
        stdio::serve(server, stopped).await;
    } else {
        http::serve(listen, server, stopped).await?;
    }
    listening.abort();
    Ok(())
}

impl Server {
    fn new(targets: Vec<Target>, serving: &Serving, console: Console) -> Result<Self, Failure> {
        let options = &serving.options;
        let all = Others::new(Arc::new(targets[0].clone()));
        let accounts = targets.into_iter().map(|target| {
            let target = Arc::new(target);
            let rerank = options.rerank.as_deref();
            let caller = Caller::new(serving.settings.clone(), options.limits, rerank);
            Ok(Account {
                caller: Arc::new(caller.map_err(Failure::Usage)?),
                database: Database::with_connections(Arc::clone(&target), options.connections),
                others: Others {
                    target,
                    ..all.clone()
                },
                turns: Semaphore::new(options.limits.max_requests),
            })
        });
        Ok(Self {
            tokens: serving.tokens.clone(),
            accounts: accounts.collect::<Result<_, Failure>>()?,
            limits: options.limits,
            began: Instant::now(),
            models: Semaphore::new(available_parallelism().map_or(1, NonZero::get)),
            console,
        })
    }

    fn now(&self) -> Time {
        Time::new(self.began.elapsed())
    }

    /// Does what the core says, until there is an answer or the time is over.
    async fn answer(&self, account: &Account, mut exchange: Exchange, end: Instant) -> Response {
        let mut answer = Answer::Begin;
        loop {
            answer = match exchange.next(answer) {
                Doing::Done(response) => {
                    if let Some(trouble) = exchange.trouble() {
                        self.console.note(Level::Warning, trouble);
                    }
                    return response;
                }
                Doing::Query(query) => {
                    let rows = timeout_at(end, account.database.answer(&query)).await;
                    let Ok(rows) = rows else {
                        return exchange.overdue();
                    };
                    Answer::Rows(rows)
                }
                Doing::Call(call) => {
                    let Ok(reply) = timeout_at(end, self.reply(account, call)).await else {
                        return exchange.overdue();
                    };
                    Answer::Reply(reply)
                }
            };
        }
    }

    async fn reply(&self, account: &Account, call: Call) -> pgai_core::Reply {
        // The semaphore is never closed.
        let _turn = match &call {
            Call::Model(_) => self.models.acquire().await.ok(),
            Call::Build(_) | Call::Compute(_) | Call::File(_) | Call::Http(_) | Call::Parse(_) => {
                None
            }
        };
        account.others.reply(call).await.0
    }
}
