//! What the connections and the test share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Behaviour, Recorded, connection};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    pub(super) changed: Condvar,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) complaints: Vec<String>,
    pub(super) connections: BTreeMap<u64, TcpStream>,
    pub(super) context: Option<usize>,
    pub(super) dimensions: usize,
    pub(super) hold: Option<Held>,
    pub(super) key: Option<String>,
    pub(super) markers: Vec<String>,
    /// `None` for a model that is missing.
    pub(super) models: BTreeMap<String, Option<usize>>,
    pub(super) next_id: u64,
    pub(super) requests: BTreeMap<u64, Recorded>,
    pub(super) rule: Option<Rule>,
    pub(super) script: VecDeque<Behaviour>,
    pub(super) under_way: BTreeSet<u64>,
    pub(super) up: bool,
    pub(super) waiting: usize,
}

#[derive(Clone)]
pub(super) struct Rule(pub(super) Arc<dyn Fn(&Recorded) -> Behaviour + Send + Sync>);

#[derive(Clone)]
pub(super) struct Condition(pub(super) Arc<dyn Fn(&Recorded) -> bool + Send + Sync>);

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) applies: Condition,
    pub(super) permits: usize,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Rule")
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Condition")
    }
}

impl Shared {
    pub(super) fn open(listener: TcpListener, dimensions: usize) -> Arc<Self> {
        let address = listener.local_addr().expect("a listener has an address");
        let state = Mutex::new(State {
            dimensions,
            up: true,
            ..State::default()
        });
        let shared = Arc::new(Self {
            address,
            changed: Condvar::new(),
            state,
        });
        accept_in_a_thread(&shared, listener);
        shared
    }

    /// Does nothing where it is open.
    pub(super) fn reopen(shared: &Arc<Self>) -> io::Result<()> {
        let mut state = shared.state();
        if !state.up {
            let listener = TcpListener::bind(shared.address)?;
            state.up = true;
            drop(state);
            accept_in_a_thread(shared, listener);
        }
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait_until(&self, patience: Duration, done: impl Fn(&State) -> bool) -> bool {
        let state = self.state();
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |state| !done(state));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.up, false) {
            return;
        }
        for connection in std::mem::take(&mut state.connections).into_values() {
            connection.shutdown(Shutdown::Both).ok();
        }
        drop(state);
        // Wakes the thread that accepts; it sees that it shall end, and says so by closing.
        if let Ok(mut wake) = TcpStream::connect(self.address) {
            io::copy(&mut wake, &mut io::sink()).ok();
        }
    }
}

fn accept_in_a_thread(shared: &Arc<Shared>, listener: TcpListener) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let mut state = shared.state();
            if !state.up {
                // The listener goes first: whoever sees the stream end finds the port closed.
                drop(state);
                drop(listener);
                drop(stream);
                return;
            }
            let Ok(handle) = stream.try_clone() else {
                continue;
            };
            let id = state.next_id();
            state.connections.insert(id, handle);
            drop(state);
            let open = Open {
                id,
                shared: Arc::clone(&shared),
                stream,
            };
            // An error is the client's business: the connection was its own.
            thread::spawn(move || connection::serve(&open.stream, &open.shared).ok());
        }
    });
}

/// A connection on the books, closed and struck off also when a rule of the test panics.
struct Open {
    id: u64,
    shared: Arc<Shared>,
    stream: TcpStream,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stream.shutdown(Shutdown::Both).ok();
        let mut state = self.shared.state();
        state.connections.remove(&self.id);
        if thread::panicking() {
            state
                .complaints
                .push("the stub, or a rule that it was given, panicked".to_owned());
        }
    }
}

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
