//! What others than workers do: an application writes, somebody sets the clock or manages the
//! vectorizer.

use super::World;
use super::database::{Config, Edit, Isolation, MODELS, State};
use super::entropy::Entropy;
use super::node::{Delivery, Node};

/// Keys of the source table are below this: few, so that everything meets everything.
const KEYS: i64 = 6;

/// A clock is set by so many seconds.
const CLOCK_STEPS: [i64; 4] = [1, 31, 2_400, 3_600];

impl World {
    /// The application writes, in READ COMMITTED.
    pub(super) fn edit(&mut self, entropy: &mut Entropy<'_>) {
        let edit = random_edit(entropy);
        if self.is_behind_a_commit(&edit) {
            return;
        }
        if self.swarm.past_triggers && entropy.chance(3) {
            let done = self.database.apply_past_triggers(&edit, self.now);
            return self.note(|| format!("application, past the triggers: {edit:?}: {done}"));
        }
        self.note(|| format!("application: {edit:?}"));
        self.database
            .apply(&edit, &Isolation::ReadCommitted, self.now);
    }

    /// Somebody changes a document behind the address of a row, or of none.
    pub(super) fn change_document(&mut self, entropy: &mut Entropy<'_>) {
        let tables = self.database.tables();
        let addresses = tables.source.values().map(|text| text.to_string());
        let addresses: Vec<_> = addresses.filter(|text| !text.is_empty()).collect();
        if let Some(address) = self.library.change(&addresses, entropy) {
            self.coverage.document_changes += 1;
            self.note(|| format!("the document {address:?} changes"));
        }
    }

    /// A commit does not lock the chunks that it keeps: an operator who takes one out of the store
    /// within those milliseconds takes it out behind its back. That is left out here.
    fn is_behind_a_commit(&self, edit: &Edit) -> bool {
        let amid_commit = self.nodes.iter().any(Node::is_amid_commit)
            || self.zombies.iter().any(Delivery::is_amid_commit);
        amid_commit && matches!(edit, Edit::Damage { .. })
    }

    /// A transaction in REPEATABLE READ begins, or writes with the snapshot of its beginning.
    pub(super) fn transact(&mut self, entropy: &mut Entropy<'_>) {
        if !self.swarm.repeatable_read {
            return;
        }
        if self.transactions.is_empty() || (self.transactions.len() < 3 && entropy.chance(2)) {
            self.note(|| "application: begin repeatable read".to_owned());
            self.transactions.push(self.database.snapshot());
        } else {
            let at = entropy.index(self.transactions.len());
            let snapshot = self.transactions.remove(at);
            let edit = random_edit(entropy);
            if self.is_behind_a_commit(&edit) {
                return;
            }
            let isolation = Isolation::RepeatableRead(snapshot);
            let done = self.database.apply(&edit, &isolation, self.now);
            self.note(|| format!("application, repeatable read: {edit:?}: {done}"));
        }
    }

    /// A transaction of the application writes to a row and stays open, or one that is open commits.
    pub(super) fn hold(&mut self, entropy: &mut Entropy<'_>) {
        match self.database.held_key().filter(|_| entropy.chance(2)) {
            Some(key) => {
                self.note(|| format!("application: row {key} is released"));
                self.database.release_held(key, self.now);
            }
            None => {
                let (key, text) = (1 + entropy.signed(KEYS), random_text(entropy));
                self.note(|| format!("application: row {key} is held, to be {text:?}"));
                self.database.hold(key, text);
            }
        }
    }

    /// All open transactions of the application commit.
    pub(super) fn release_all(&mut self) {
        while let Some(key) = self.database.held_key() {
            self.note(|| format!("application: row {key} is released"));
            self.database.release_held(key, self.now);
        }
    }

    /// Somebody asks for a resync. (Workers are told of it as of changes of the list.)
    pub(super) fn request_resync(&mut self) {
        self.note(|| "a resync is asked for".to_owned());
        self.database.request_resync();
        self.notify(false);
    }

    /// Somebody disables, enables, drops or creates the vectorizer.
    pub(super) fn manage(&mut self, entropy: &mut Entropy<'_>) {
        let Some(vectorizer) = self.database.tables().vectorizer else {
            self.note(|| "the vectorizer is created anew".to_owned());
            return self.database.create_vectorizer(self.now);
        };
        if entropy.chance(3) {
            if !self.is_in_use() {
                self.note(|| "the vectorizer is dropped".to_owned());
                self.coverage.dropped += 1;
                self.database.drop_vectorizer();
            }
        } else {
            let is_disabled = !vectorizer.is_disabled;
            self.note(|| format!("the vectorizer is disabled: {is_disabled}"));
            self.coverage.disabled += u64::from(is_disabled);
            self.database.set_disabled(is_disabled);
        }
    }

    /// Whether somebody uses the tables of the vectorizer: DROP TABLE, and the lock of the source, wait for them.
    pub(super) fn is_in_use(&self) -> bool {
        self.database.held_key().is_some()
            || self.nodes.iter().any(Node::holds_tables)
            || self.zombies.iter().any(Delivery::holds_tables)
    }

    /// Somebody begins a change to another model, or takes its next step by hand.
    pub(super) fn change(&mut self, entropy: &mut Entropy<'_>) {
        let (cancels, finishes) = (entropy.chance(16), entropy.chance(3));
        match self.database.tables().change() {
            None => {
                let (model, switches) = (entropy.signed(MODELS + 1), !entropy.chance(3));
                if self.database.held_key().is_none() && self.database.begin_change(model, switches)
                {
                    self.note(|| format!("a change to the model {model} begins: {switches}"));
                }
            }
            Some(State::Kept) if finishes && !self.is_in_use() => self.finish_change(),
            Some(State::Filling | State::Indexing | State::Ready)
                if cancels && !self.is_in_use() =>
            {
                self.note(|| "the change is cancelled".to_owned());
                self.coverage.cancelled_changes += 1;
                self.database.drop_generation();
            }
            Some(State::Kept | State::Ready) => self.switch_by_hand(),
            Some(State::Filling | State::Indexing) => {}
        }
    }

    /// The generation that does not serve any more is dropped.
    pub(super) fn finish_change(&mut self) {
        self.note(|| "the change is finished".to_owned());
        self.coverage.finished_changes += 1;
        self.database.drop_generation();
    }

    /// Somebody lets the generation serve that does not.
    pub(super) fn switch_by_hand(&mut self) {
        let done = self.database.switch_by_hand(self.now, &mut self.coverage);
        self.note(|| format!("the other generation is to serve: {done}"));
    }

    /// Somebody edits the configuration by hand, puts the model back, or has all rows embedded anew.
    pub(super) fn configure(&mut self, entropy: &mut Entropy<'_>) {
        let Some(vectorizer) = self.database.tables().vectorizer else {
            return;
        };
        match entropy.number(4) {
            0 => {
                self.note(|| "the embedding is put back".to_owned());
                self.database.revert_embedding();
            }
            1 => {
                self.note(|| "all rows are embedded anew".to_owned());
                self.coverage.reembedded += 1;
                self.database.reembed(self.now);
            }
            2 => {
                let template = entropy.signed(3);
                let config = Config {
                    template,
                    ..vectorizer.config
                };
                self.note(|| format!("the configuration is edited: {config:?}"));
                self.database.configure(config);
            }
            _ => {
                let model = entropy.signed(MODELS + 1);
                let config = Config {
                    model,
                    ..vectorizer.config
                };
                self.note(|| format!("the configuration is edited: {config:?}"));
                self.coverage.other_models += u64::from(!vectorizer.is_sound());
                self.database.configure(config);
            }
        }
    }

    /// In the end the vectorizer is there, and enabled, and its model is the one that made the vectors.
    pub(super) fn manage_last(&mut self) {
        if self.database.tables().vectorizer.is_none() {
            self.database.create_vectorizer(self.now);
        }
        self.database.set_disabled(false);
        self.database.revert_embedding();
    }

    /// The database's clock is set; those of the workers go on.
    pub(super) fn set_clock(&mut self, entropy: &mut Entropy<'_>) {
        let step = CLOCK_STEPS[entropy.index(CLOCK_STEPS.len())];
        let step = if entropy.chance(2) { -step } else { step };
        self.database.set_clock(step);
        self.coverage.clock_steps += 1;
        self.note(|| format!("the database's clock is set by {step} s"));
    }
}

fn random_edit(entropy: &mut Entropy<'_>) -> Edit {
    let key = 1 + entropy.signed(KEYS);
    let text = random_text(entropy);
    match entropy.number(9) {
        0..=4 => Edit::Put { key, text },
        5 => Edit::Delete { key },
        6 => Edit::DeleteAndInsert { key, text },
        7 => Edit::Damage {
            nth: entropy.index(16),
        },
        _ => Edit::ChangeKey {
            from: key,
            to: 1 + entropy.signed(KEYS),
        },
    }
}

/// Up to five words of a small vocabulary, so that rows share chunks with their former selves.
fn random_text(entropy: &mut Entropy<'_>) -> String {
    let words = ["ant", "bee", "cow", "dog"];
    let count = entropy.index(6);
    let picked: Vec<_> = (0..count)
        .map(|_| words[entropy.index(words.len())])
        .collect();
    picked.join(" ")
}
