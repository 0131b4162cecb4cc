//! A worker that is played by hand: what it wants, in which order.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::call::{Call, Reply};
use crate::model::{ModelAnswer, ModelError, Tokenizer, Wanted};
use crate::output::Output;
use crate::query::Rows;
use crate::settings::Settings;
use crate::vectorizer::example::definition;

/// One vectorizer over rows with the same text, and a database that answers at once.
struct Played {
    worker: Worker,
    now: Time,
    definition: String,
    rows: u32,
    events: Vec<Event>,
}

impl Played {
    fn new(embedding: &Value, chunking: &Value) -> Self {
        let parts = json!({
            "embedding": embedding, "chunking": chunking,
            "processing": {"implementation": "default", "batch_size": 1},
        });
        Self {
            worker: Worker::new(Settings::new("test"), 1).unwrap(),
            now: Time::ZERO,
            definition: definition(1, parts).to_string(),
            rows: 5,
            events: vec![],
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest need no answer here"
    )]
    fn answer(&mut self, query: &Query) -> Rows {
        let text = |text: &str| Some(text.to_owned());
        match query {
            Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
            Query::StartWorker { .. } => vec![vec![text("w")]],
            Query::LoadVectorizers { .. } => vec![vec![text("1"), text(&self.definition)]],
            Query::Claim { .. } if self.rows > 0 => {
                self.rows -= 1;
                let key = self.rows.to_string();
                vec![vec![
                    Some(key),
                    text("1"),
                    text("1"),
                    text("1"),
                    text("now"),
                ]]
            }
            Query::Read { .. } => {
                vec![vec![text("1"), text("true"), text("One two. Three."), None]]
            }
            _ => vec![],
        }
    }

    /// What the worker wants next, apart from telling something: time passes if that is nothing.
    fn next(&mut self) -> Output {
        loop {
            match self.worker.poll(self.now) {
                Output::Event(event) => self.events.push(event),
                Output::Wait(until) => self.now = until.expect("the worker waits for ever"),
                output @ (Output::Call(..) | Output::Query(..) | Output::Stopped(_)) => {
                    return output;
                }
            }
        }
    }

    /// Answers statements until a call of others comes, and returns it with the statements.
    fn next_call(&mut self) -> (CallTicket, Call, Vec<Query>) {
        let mut asked = vec![];
        loop {
            match self.next() {
                Output::Query(ticket, query) => {
                    let rows = self.answer(&query);
                    asked.push(query);
                    self.worker.handle_rows(self.now, ticket, Ok(rows));
                }
                // Work of the core itself is done at once.
                Output::Call(ticket, Call::Compute(work)) => {
                    let done = Reply::Compute(Box::new(work.run()));
                    self.worker.handle_call(self.now, ticket, done);
                }
                Output::Call(ticket, call) => return (ticket, call, asked),
                output @ (Output::Event(_) | Output::Stopped(_) | Output::Wait(_)) => {
                    panic!("{output:?}")
                }
            }
        }
    }

    /// Answers statements, with a call still out, until the worker waits. Returns the statements.
    fn settle(&mut self) -> Vec<Query> {
        let mut asked = vec![];
        loop {
            match self.worker.poll(self.now) {
                Output::Event(event) => self.events.push(event),
                Output::Query(ticket, query) => {
                    let rows = self.answer(&query);
                    asked.push(query);
                    self.worker.handle_rows(self.now, ticket, Ok(rows));
                }
                Output::Wait(_) => return asked,
                output @ (Output::Call(..) | Output::Stopped(_)) => panic!("{output:?}"),
            }
        }
    }

    /// The worker asks for the tokenizer, and for nothing else meanwhile: it claims nothing.
    fn asked_for_tokenizer(&mut self) -> CallTicket {
        let (ticket, call, mut asked) = self.next_call();
        assert!(
            matches!(&call, Call::Model(request) if request.wanted == Wanted::Tokenizer),
            "{call:?}"
        );
        asked.extend(self.settle());
        assert!(!asked.iter().any(is_claim), "{asked:?}");
        ticket
    }

    /// How often it was told that the model is missing.
    fn told(&self) -> usize {
        let told = self.events.iter().filter(|event| {
            matches!(event, Event::VectorizerBroken { reason, .. } if reason.contains("no model m"))
        });
        told.count()
    }
}

fn is_claim(query: &Query) -> bool {
    matches!(query, Query::Claim { .. })
}

#[test]
fn a_request_that_is_ready_goes_before_statements() {
    let ollama = json!({"implementation": "ollama", "model": "m", "dimensions": 1});
    let mut played = Played::new(&ollama, &json!({"implementation": "none"}));
    loop {
        let Output::Query(ticket, query) = played.next() else {
            panic!("a call without a text");
        };
        let rows = played.answer(&query);
        let is_read = matches!(query, Query::Read { .. });
        played.worker.handle_rows(played.now, ticket, Ok(rows));
        if is_read {
            break;
        }
    }
    // The next claim is due, too, and can wait until the provider is at work.
    let output = played.next();
    assert!(
        matches!(output, Output::Call(_, Call::Http(_))),
        "{output:?}"
    );
    let output = played.next();
    assert!(
        matches!(&output, Output::Query(_, query) if is_claim(query)),
        "{output:?}"
    );
}

fn local_model() -> Played {
    let local = json!({"implementation": "sentence_transformers", "model": "m", "dimensions": 1});
    let tokens = json!({"implementation": "token", "chunk_size": 2, "chunk_overlap": 0});
    Played::new(&local, &tokens)
}

#[test]
fn nothing_is_claimed_before_the_tokenizer_is_there_that_its_chunks_need() {
    let mut played = local_model();
    let ticket = played.asked_for_tokenizer();
    let tokenizer = Tokenizer {
        added: 0,
        count: Arc::new(|text| text.split_whitespace().count()),
    };
    let answer = Reply::Model(Ok(ModelAnswer::Tokenizer(tokenizer)));
    played.worker.handle_call(played.now, ticket, answer);
    let (_, call, asked) = played.next_call();
    assert!(asked.iter().any(is_claim), "{asked:?}");
    let Call::Model(request) = call else {
        panic!("{call:?}");
    };
    assert_eq!(request.wanted, Wanted::Documents);
    assert_eq!(
        request.texts.iter().map(|text| &**text).collect::<Vec<_>>(),
        ["One two.", "Three."]
    );
}

#[test]
fn without_a_tokenizer_the_vectorizer_rests_and_the_model_is_asked_again() {
    let mut played = local_model();
    for times in 0..3 {
        let ticket = played.asked_for_tokenizer();
        assert_eq!(played.told(), times);
        let gone = ModelError::Model("there is no model m".to_owned());
        let answer = Reply::Model(Err(gone));
        played.worker.handle_call(played.now, ticket, answer);
    }
    assert!(played.now.since_start().as_secs() > 1, "it has waited");
}
