//! A simulated world: the real core, a model of the database with its triggers and transactions, a
//! provider that answers with a hash of the text, an application that edits rows, and faults.
//!
//! Everything that happens follows from one source of entropy, so a run can be replayed from its
//! seed. A run has two phases: faults, then everything heals and must converge.

mod application;
mod coverage;
mod database;
mod entropy;
mod healing;
mod ledger;
mod library;
mod mutant;
mod node;
mod provider;
mod replica;
mod rules;
mod scene;
mod swarm;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use coverage::Coverage;
pub use database::Edit;
pub use entropy::Entropy;
pub use mutant::Mutant;
pub use replica::Replica;
pub use rules::{Rule, Violation};
pub use scene::{Answer, Scene, embed, refuse};

use pgai_core::{Event, Settings};

use database::{Database, Destination};
use ledger::Ledger;
use library::{DocumentFault, Library};
use node::{Around, Delivery, Faults, Node};
use provider::Mood;
use swarm::Swarm;
use trace::Trace;

/// What PostgreSQL may say of the moment: a lock, a deadlock, a timeout, no room, a shutdown.
const SQLSTATES: [&str; 5] = ["55P03", "40P01", "57014", "53300", "57P01"];

const LEASE: Duration = Duration::from_secs(30);

/// Inputs in one request.
const INPUTS_MAX: usize = 3;

/// The world.
pub struct World {
    now: Duration,
    database: Database,
    nodes: Vec<Node>,
    /// Statements of crashed workers that the database still runs.
    zombies: Vec<Delivery>,
    /// Transactions in REPEATABLE READ that have their snapshot and have not written yet.
    transactions: Vec<Arc<database::Tables>>,
    swarm: Swarm,
    library: Library,
    seeds: u64,
    serials: u64,
    mutant: Option<Mutant>,
    /// Whether the provider refuses everything just now.
    refuses_all: bool,
    /// Whether the provider is down just now.
    is_down: bool,
    /// The worker that uses each claim's name.
    names: BTreeMap<i64, u64>,
    /// What happened.
    pub coverage: Coverage,
    trace: Trace,
}

impl World {
    /// A world with two workers and an empty table.
    fn new(entropy: &mut Entropy<'_>, mutant: Option<Mutant>, mut trace: Trace) -> Self {
        let swarm = Swarm::new(entropy);
        let destination = if swarm.column {
            Destination::Column
        } else {
            Destination::Table
        };
        trace.note(Duration::ZERO, || format!("{swarm:?}"));
        let mut world = Self {
            now: Duration::ZERO,
            database: Database::new(destination, mutant),
            nodes: vec![],
            zombies: vec![],
            transactions: vec![],
            swarm,
            library: Library::default(),
            seeds: entropy.number(1 << 30),
            serials: 0,
            mutant,
            refuses_all: false,
            is_down: false,
            names: BTreeMap::new(),
            coverage: Coverage::default(),
            trace,
        };
        if world.swarm.impatient {
            world.database.retries = 0;
        }
        world.database.has_documents = world.swarm.documents;
        for _ in 0..2 {
            let node = world.new_node();
            world.nodes.push(node);
        }
        world
    }

    /// Runs a world to its end: faults while the entropy lasts, at most `steps`, then convergence.
    ///
    /// # Errors
    /// The rule that was broken, with the trace.
    ///
    /// # Panics
    /// If equal entropy does not lead to the same violation twice.
    pub fn run(
        entropy: &Entropy<'_>,
        steps: usize,
        mutant: Option<Mutant>,
    ) -> Result<Self, Violation> {
        let first = match Self::live(entropy, steps, mutant, false) {
            Ok(world) => return Ok(world),
            Err(violation) => violation,
        };
        // Once more, for those who will read it.
        let again = Self::live(entropy, steps, mutant, true);
        let again = again.err().expect("equal entropy breaks a rule again");
        assert_eq!(first.rule, again.rule);
        assert_eq!(first.reason, again.reason);
        Err(again)
    }

    /// The same, and what happened, line by line, however it ends.
    #[must_use]
    pub fn history(entropy: &Entropy<'_>, steps: usize, mutant: Option<Mutant>) -> Vec<String> {
        match Self::live(entropy, steps, mutant, true) {
            Ok(world) => world.trace.into_lines(),
            Err(violation) => violation.trace,
        }
    }

    fn live(
        entropy: &Entropy<'_>,
        steps: usize,
        mutant: Option<Mutant>,
        is_read: bool,
    ) -> Result<Self, Violation> {
        let mut entropy = entropy.clone();
        let mut world = Self::new(&mut entropy, mutant, Trace::new(is_read));
        match world.phases(&mut entropy, steps) {
            Ok(()) => Ok(world),
            Err(mut violation) => {
                violation.trace = world.trace.into_lines();
                Err(violation)
            }
        }
    }

    /// A world with so many workers on one queue, run to its end.
    ///
    /// # Errors
    /// The rule that was broken, with the trace.
    pub fn crowd(entropy: &Entropy<'_>, steps: usize, workers: usize) -> Result<Self, Violation> {
        let mut entropy = entropy.clone();
        let mut world = Self::new(&mut entropy, None, Trace::new(true));
        while world.nodes.len() < workers {
            let node = world.new_node();
            world.nodes.push(node);
        }
        match world.phases(&mut entropy, steps) {
            Ok(()) => Ok(world),
            Err(mut violation) => {
                violation.trace = world.trace.into_lines();
                Err(violation)
            }
        }
    }

    fn phases(&mut self, entropy: &mut Entropy<'_>, steps: usize) -> Result<(), Violation> {
        for _ in 0..steps {
            if entropy.is_spent() {
                break;
            }
            self.step(entropy)?;
        }
        self.converge()
    }

    fn new_node(&mut self) -> Node {
        if self.mutant != Some(Mutant::ClaimNamesRepeat) {
            self.seeds += 1;
        }
        let mut settings = Settings::new("simulated");
        settings.lease = LEASE;
        settings.documents.can_parse = true;
        settings.documents.directory = Some("/".to_owned());
        if self.swarm.single {
            settings.limits.batches = 1;
        }
        if self.swarm.slow_work {
            settings.limits.inline_bytes = 0;
        }
        settings.limits.rows = 3;
        settings.limits.inputs = if self.mutant == Some(Mutant::RequestsIgnoreTheirCap) {
            64
        } else {
            INPUTS_MAX
        };
        settings.limits.chunks = 4;
        settings.limits.compared = 2;
        settings.limits.bytes = 24;
        self.serials += 1;
        let mut node = Node::new(self.now, self.seeds, settings);
        (node.serial, node.mutant) = (self.serials, self.mutant);
        node
    }

    /// One thing happens, then the rules are checked.
    fn step(&mut self, entropy: &mut Entropy<'_>) -> Result<(), Violation> {
        match entropy.number(16) {
            0 if self.swarm.documents && entropy.chance(2) => self.change_document(entropy),
            0..=3 if !self.swarm.quiet || entropy.chance(8) => self.edit(entropy),
            4 if self.swarm.hold && entropy.chance(4) => self.hold(entropy),
            4 => self.transact(entropy),
            0..=3 | 5..=7 => self.poll(entropy.index(self.nodes.len()))?,
            8..=12 => {
                let times = if self.swarm.lively { 8 } else { 1 };
                for _ in 0..times {
                    self.deliver(entropy);
                    self.poll(entropy.index(self.nodes.len()))?;
                    self.check()?;
                }
            }
            13 => {
                let pause = [1, 30, 400, 3_000][entropy.index(4)];
                self.pass(Duration::from_millis(pause));
            }
            14 if self.swarm.long_pauses => {
                let pause = Duration::from_secs(1 + entropy.number(60));
                self.pass(pause);
            }
            15 => match self.swarm.crash {
                Some(rarity) if entropy.chance(rarity) => self.crash(entropy),
                _ if self.swarm.clock_steps && entropy.chance(2) => self.set_clock(entropy),
                _ if self.swarm.manage && entropy.chance(2) => self.manage(entropy),
                _ if self.swarm.change && entropy.chance(2) => self.change(entropy),
                _ if self.swarm.configure && entropy.chance(2) => self.configure(entropy),
                _ if self.swarm.past_triggers && entropy.chance(2) => self.request_resync(),
                _ => {}
            },
            _ => self.notify(entropy.chance(2)),
        }
        self.check()
    }

    /// What must hold at any moment.
    fn check(&mut self) -> Result<(), Violation> {
        let broken = self.database.ledgers().map(Ledger::take_broken);
        if let Some((rule, how)) = broken.into_iter().flatten().next() {
            return Err(Violation::new(rule, how));
        }
        if self.database.take_written() {
            let tables = self.database.tables();
            rules::vectors_belong_to_their_texts(tables)?;
            if let Some(beside) = tables.beside() {
                rules::vectors_belong_to_their_texts(&beside)?;
            }
            rules::no_old_vector_stands_for_ever(self.database.tables())?;
        }
        Ok(())
    }

    fn pass(&mut self, pause: Duration) {
        self.now += pause;
        self.note(|| format!("{pause:?} pass"));
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now, line);
    }

    fn notify(&mut self, with_payload: bool) {
        if self.swarm.unheard {
            self.coverage.unheard += 1;
            return;
        }
        let vectorizer = self.database.tables().vectorizer;
        let payload = vectorizer.filter(|_| with_payload);
        let payload = payload.map(|vectorizer| vectorizer.number.to_string());
        for node in &mut self.nodes {
            node.worker.wake(payload.as_deref());
        }
    }

    fn poll(&mut self, at: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let serial = node.serial;
        let polled = node
            .poll(self.now, &self.library)
            .map_err(|reason| Violation::new(Rule::WorkersGoOn, reason))?;
        if let Some(summary) = &node.summary {
            let reason = format!("a worker stopped: {summary:?}");
            return Err(Violation::new(Rule::WorkersGoOn, reason));
        }
        for name in polled.claims {
            let owner = *self.names.entry(name).or_insert(serial);
            if owner != serial {
                let reason = format!("claim {name} is a name of worker {owner} and of {serial}");
                return Err(Violation::new(Rule::ClaimsHaveNamesOfTheirOwn, reason));
            }
        }
        if polled.is_stray {
            let reason = format!("worker {serial} works for a vectorizer that is not enabled");
            return Err(Violation::new(Rule::ADisabledVectorizerIsLeftAlone, reason));
        }
        if polled.inputs_max > INPUTS_MAX {
            let reason = format!("a request has {} inputs", polled.inputs_max);
            return Err(Violation::new(Rule::RequestsKeepTheirCap, reason));
        }
        self.coverage.splits += polled.splits;
        for event in polled.events {
            let is_pause = matches!(event, Event::Paused { .. } | Event::VectorizerBroken { .. });
            self.coverage.pauses += u64::from(is_pause);
            self.note(|| format!("worker {serial}: {event:?}"));
        }
        Ok(())
    }

    /// What messages meet on their way.
    const fn around(&mut self) -> Around<'_> {
        Around {
            now: self.now,
            database: &mut self.database,
            library: &self.library,
            coverage: &mut self.coverage,
            trace: &mut self.trace,
        }
    }

    fn send(&mut self, at: usize, pick: u64, faults: Faults) -> bool {
        let mut around = Around {
            now: self.now,
            database: &mut self.database,
            library: &self.library,
            coverage: &mut self.coverage,
            trace: &mut self.trace,
        };
        self.nodes[at].deliver(pick, faults, &mut around)
    }

    /// A statement or a request comes one stage further.
    fn deliver(&mut self, entropy: &mut Entropy<'_>) {
        if !self.zombies.is_empty() && entropy.chance(3) {
            let at = entropy.index(self.zombies.len());
            let mut zombie = self.zombies.swap_remove(at);
            zombie.advance(&mut self.around());
            return;
        }
        // It lasts: each turn excuses a mistake of each worker, and many turns would hide all others.
        let rarity = if self.refuses_all { 400 } else { 40 };
        if self.swarm.refuse_all && entropy.chance(rarity) {
            self.refuses_all = !self.refuses_all;
            if self.refuses_all {
                for ledger in self.database.ledgers() {
                    ledger.provider_turned(2);
                }
            }
            let all = self.refuses_all;
            self.note(|| format!("provider: refuses everything: {all}"));
        }
        let has_outages = self.swarm.has_outages();
        if has_outages && entropy.chance(if self.is_down { 150 } else { 40 }) {
            self.is_down = !self.is_down;
            if self.is_down {
                self.coverage.outages += 1;
                for ledger in self.database.ledgers() {
                    ledger.provider_went_down();
                }
            }
            let down = self.is_down;
            self.note(|| format!("provider: is down: {down}"));
        }
        let at = entropy.index(self.nodes.len());
        let lose = self.swarm.lose_answers && entropy.chance(8);
        let faults = Faults {
            lose,
            refuse: (self.swarm.refuse_statements && entropy.chance(8))
                .then(|| SQLSTATES[entropy.index(SQLSTATES.len())]),
            mood: self.mood(lose, entropy),
            document: (self.swarm.documents && entropy.chance(6))
                .then(|| DocumentFault::ALL[entropy.index(DocumentFault::ALL.len())]),
        };
        self.send(at, entropy.number(u64::MAX), faults);
    }

    fn mood(&self, lose: bool, entropy: &mut Entropy<'_>) -> Mood {
        let faults = &self.swarm.faults;
        let fails = !faults.is_empty() && entropy.chance(4);
        Mood {
            lose,
            fault: fails.then(|| faults[entropy.index(faults.len())]),
            poison: self.swarm.poison,
            refuse_all: self.refuses_all,
            stumble: self.swarm.stumble,
            down: self.is_down,
            mutant: None,
        }
    }

    fn crash(&mut self, entropy: &mut Entropy<'_>) {
        let at = entropy.index(self.nodes.len());
        let serial = self.nodes[at].serial;
        self.note(|| format!("worker {serial} is killed"));
        self.coverage.crashes += 1;
        let node = self.new_node();
        let dead = std::mem::replace(&mut self.nodes[at], node);
        // What it had sent may still run; nobody hears the answer.
        self.zombies.extend(dead.into_statements());
    }
}
