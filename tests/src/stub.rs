//! A stub embedding provider: a real HTTP server on a loopback port that speaks every provider's format,
//! checks what it is sent, remembers it, and misbehaves when told to.
//!
//! The vector of a text is a function of the text ([`vector_of`]), so that whoever looks into a
//! store can tell whether a vector stands beside the text it was made from.

mod answer;
mod behaviour;
mod connection;
mod dialect;
mod question;
mod shared;
mod vector;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

pub use answer::{INFO_INPUTS, TOKEN};
pub use behaviour::{Answer, Behaviour};
pub use vector::{is_vector_of, vector_of};

use crate::process::listen;
use shared::{Condition, Held, Rule, Shared};

/// A running stub provider; it goes when it is dropped.
#[derive(Debug)]
pub struct Stub {
    shared: Arc<Shared>,
}

/// One request that the stub has received.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The target of the request, with its query.
    pub path: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The texts to embed; empty for requests that embed nothing and malformed ones.
    pub inputs: Vec<String>,
    /// All fields of the body but the texts.
    pub fields: Map<String, Value>,
    /// When it had arrived whole.
    pub at: Instant,
    /// When the whole answer went out.
    pub answered: Option<Instant>,
    /// The status of the answer, also where only a part of it went out.
    pub status: Option<u16>,
}

impl Recorded {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&header.1)
    }

    /// The model that is asked for.
    pub fn model(&self) -> &str {
        self.fields
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl Stub {
    /// Starts a provider of 768 dimensions that knows every model and wants no key.
    ///
    /// # Panics
    ///
    /// If the system gives it no port or thread.
    pub fn start() -> Self {
        Self::start_with(768)
    }

    /// Starts a provider whose models have this many dimensions, but for those that
    /// [`Stub::add_model`] names and OpenAI's own.
    ///
    /// # Panics
    ///
    /// If the system gives it no port or thread.
    pub fn start_with(dimensions: usize) -> Self {
        Self {
            shared: Shared::open(listen(), dimensions),
        }
    }

    /// Its base URL without a slash at the end: `OLLAMA_HOST`; OpenAI's is this and `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// OpenAI's base URL.
    pub fn openai_url(&self) -> String {
        self.url() + "/v1"
    }

    /// All requests so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state().requests.values().cloned().collect()
    }

    /// All requests since the last call; those still under way stay for the next one.
    pub fn take_requests(&self) -> Vec<Recorded> {
        let mut state = self.shared.state();
        let under_way = state.under_way.clone();
        let all = std::mem::take(&mut state.requests);
        let (stay, go) = all.into_iter().partition(|(id, _)| under_way.contains(id));
        state.requests = stay;
        let go: BTreeMap<u64, Recorded> = go;
        go.into_values().collect()
    }

    /// All texts that were sent so far, in the order of arrival, also those sent in vain.
    pub fn inputs(&self) -> Vec<String> {
        let state = self.shared.state();
        state
            .requests
            .values()
            .flat_map(|request| request.inputs.iter().cloned())
            .collect()
    }

    /// What was wrong with requests that no client should send. A test ends by seeing that there
    /// is nothing.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.state().complaints.clone()
    }

    /// Adds the behaviour towards the next embedding request that has none yet.
    pub fn script(&self, behaviour: Behaviour) {
        self.shared.state().script.push_back(behaviour);
    }

    /// Drops what is left of the script, and returns how much it was.
    pub fn clear_script(&self) -> usize {
        std::mem::take(&mut self.shared.state().script).len()
    }

    /// Decides the behaviour towards every embedding request that the script does not.
    pub fn behave(&self, rule: impl Fn(&Recorded) -> Behaviour + Send + Sync + 'static) {
        self.shared.state().rule = Some(Rule(Arc::new(rule)));
    }

    /// Ends what [`Stub::behave`] began.
    pub fn behave_honestly(&self) {
        self.shared.state().rule = None;
    }

    /// Refuses, as a bad input, every request with a text that contains `marker`.
    pub fn refuse_inputs_with(&self, marker: &str) {
        self.shared.state().markers.push(marker.to_owned());
    }

    /// Takes all markers of [`Stub::refuse_inputs_with`] back.
    pub fn refuse_no_inputs(&self) {
        self.shared.state().markers.clear();
    }

    /// Refuses texts of more characters as longer than the context, unless the request asks for
    /// truncation.
    pub fn set_context(&self, characters: usize) {
        self.shared.state().context = Some(characters);
    }

    /// Wants `Authorization: Bearer <key>` from clients of OpenAI's endpoints.
    pub fn require_key(&self, key: &str) {
        self.shared.state().key = Some(key.to_owned());
    }

    /// Gives a model dimensions of its own.
    pub fn add_model(&self, name: &str, dimensions: usize) {
        self.shared
            .state()
            .models
            .insert(name.to_owned(), Some(dimensions));
    }

    /// Makes a model missing, and not to be pulled either, until [`Stub::add_model`] adds it.
    pub fn remove_model(&self, name: &str) {
        self.shared.state().models.insert(name.to_owned(), None);
    }

    /// Lets embedding requests arrive but go unanswered until the guard lets them through or is
    /// dropped.
    ///
    /// # Panics
    ///
    /// If they are held already.
    #[track_caller]
    pub fn hold(&self) -> Hold {
        self.hold_where(|_| true)
    }

    /// Like [`Stub::hold`], only for the requests that fulfil the condition.
    ///
    /// # Panics
    ///
    /// If others are held already.
    #[track_caller]
    pub fn hold_where(&self, held: impl Fn(&Recorded) -> bool + Send + Sync + 'static) -> Hold {
        let mut state = self.shared.state();
        let held_already = state.hold.is_some();
        if !held_already {
            state.hold = Some(Held {
                applies: Condition(Arc::new(held)),
                permits: 0,
            });
        }
        drop(state);
        assert!(!held_already, "requests are held already");
        Hold {
            shared: Arc::clone(&self.shared),
        }
    }

    /// How many requests are held now. One whose client has gone is not.
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting
    }

    /// Waits until at least `count` requests are held.
    ///
    /// # Panics
    ///
    /// If that takes longer than `patience`.
    #[track_caller]
    pub fn wait_for_waiting(&self, count: usize, patience: Duration) {
        let waiting = self
            .shared
            .wait_until(patience, |state| state.waiting >= count);
        assert!(
            waiting,
            "{} of {count} requests wait after {patience:?}",
            self.waiting()
        );
    }

    /// Waits until at least `count` requests are on record.
    ///
    /// # Panics
    ///
    /// If that takes longer than `patience`.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize, patience: Duration) {
        let arrived = self
            .shared
            .wait_until(patience, |state| state.requests.len() >= count);
        assert!(
            arrived,
            "{} of {count} requests after {patience:?}",
            self.requests().len()
        );
    }

    /// Cuts all connections and refuses new ones, as a provider that is being restarted.
    pub fn go_down(&self) {
        self.shared.close();
    }

    /// Takes connections again, at the same address.
    ///
    /// # Panics
    ///
    /// If somebody else has taken the port.
    #[track_caller]
    pub fn come_up(&self) {
        Shared::reopen(&self.shared).expect("the port is still free");
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.state().hold = None;
        self.shared.close();
    }
}

/// Requests are held while this lives.
#[derive(Debug)]
#[must_use = "requests are held only while the guard lives"]
pub struct Hold {
    shared: Arc<Shared>,
}

impl Hold {
    /// Lets this many requests through, held ones or coming ones.
    pub fn let_through(&self, count: usize) {
        if let Some(hold) = &mut self.shared.state().hold {
            hold.permits += count;
        }
        self.shared.changed.notify_all();
    }

    /// Lets everything through.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.state().hold = None;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
