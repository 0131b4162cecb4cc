//! What may take minutes, requests and local models, on a thread of its own.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use pgai_core::{
    LocalAnswer, LocalError, LocalRequest, LocalTicket, Request, RequestError, RequestTicket,
    Response,
};

use crate::http::Http;
use crate::local::Models;
use crate::program::Failure;

/// Something for the thread to do.
#[derive(Debug)]
pub enum Errand {
    /// Let a model in this process work.
    Local(LocalTicket, LocalRequest),
    /// Ask a provider.
    Request(RequestTicket, Box<Request>),
}

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// What the model made of its texts.
    Local(LocalTicket, Result<LocalAnswer, LocalError>),
    /// What the provider answered.
    Response(RequestTicket, Result<Response, RequestError>),
}

/// Does one errand after the other, while the caller does something else.
#[derive(Debug)]
pub struct Errands {
    errands: Sender<Errand>,
    answers: Receiver<Answer>,
    in_flight: usize,
}

impl Errands {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has none.
    pub fn start() -> Result<Self, Failure> {
        let (errands, sent) = mpsc::channel();
        let (answered, answers) = mpsc::channel();
        thread::Builder::new()
            .name("errands".to_owned())
            .spawn(move || {
                let http = Http::default();
                let models = Models::default();
                for errand in sent {
                    let answer = match errand {
                        Errand::Local(ticket, request) => {
                            Answer::Local(ticket, models.answer(&request))
                        }
                        Errand::Request(ticket, request) => {
                            Answer::Response(ticket, http.answer(*request))
                        }
                    };
                    if answered.send(answer).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Failure::Failed(format!("starting a thread: {error}")))?;
        Ok(Self {
            errands,
            answers,
            in_flight: 0,
        })
    }

    /// Hands over an errand, to be done after those that were handed over before.
    ///
    /// # Panics
    /// If the thread has died.
    pub fn send(&mut self, errand: Errand) {
        self.in_flight += 1;
        let sent = self.errands.send(errand);
        sent.expect("the thread for errands lives");
    }

    /// Whether an answer is outstanding.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// Waits for an answer, at most this long.
    ///
    /// # Panics
    /// If the thread has died.
    pub fn wait(&mut self, patience: Duration) -> Option<Answer> {
        match self.answers.recv_timeout(patience) {
            Ok(answer) => {
                self.in_flight -= 1;
                Some(answer)
            }
            Err(RecvTimeoutError::Timeout) => None,
            // It took a ticket with it: the worker would wait for ever.
            Err(RecvTimeoutError::Disconnected) => panic!("the thread for errands has died"),
        }
    }
}
