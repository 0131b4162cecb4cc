//! The vectorizers that the worker knows: loading them, and telling of them.

mod news;
mod pauses;

use std::sync::Arc;

use super::change::Change;
use super::commit_size::CommitSize;
use super::doubt::Doubt;
use super::made_by::Record;
use super::pace::Pace;
use super::refresh::Refresh;
use super::session::{MISSING_COLUMN, MISSING_TABLE};
use super::{Worker, failure};
use crate::cut::cut;
use crate::event::Event;
use crate::query::{ClaimId, DbError, LoadedVectorizer};
use crate::settings::Settings;
use crate::standing;
use crate::time::Time;
use crate::vectorizer::{Definition, Profile};
use news::News;

#[derive(Debug)]
pub(super) struct Vectorizer {
    /// As the database returned it, to see whether it has changed.
    definition: String,
    /// Empty if its definition cannot be read.
    pub(super) name: String,
    /// Its owner and name, if it is served though its owner is beyond the worker's trust domain.
    foreign: Option<(String, String)>,
    /// Its chunks do not have the row-level security of their source.
    is_open: bool,
    /// `None` while it is disabled, or when its definition cannot be used.
    pub(super) profile: Option<Arc<Profile>>,
    pub(super) record: Record,
    /// Of the other generation of a vectorizer that changes to another model.
    pub(super) change: Option<Change>,
    pub(super) refresh: Refresh,
    /// Why its definition cannot be used, unless it is the operator who wants it left alone.
    pub(super) broken: Option<String>,
    pub(super) pace: Pace,
    pub(super) commit_size: CommitSize,
    /// Its last statement took so long that it must not use many connections.
    pub(super) is_slow: bool,
    /// Inputs in one request.
    pub(super) inputs_max: usize,
    pub(super) claim_out: bool,
    /// Since that claim was asked a batch has ended: its rows may be back on the queue.
    pub(super) claim_overtaken: bool,
    /// A claim whose answer was lost: it is asked again under its name.
    pub(super) claim_again: Option<ClaimId>,
    /// When a table or a column of it was missing for the first time. If the list that is loaded after that still
    /// defines it in this way, it was neither dropped nor changed, and that is an error.
    pub(super) missed: Option<Time>,
    /// The low-water mark: claims start there, not at the head of the queue.
    pub(super) since: Option<String>,
    /// When to start at the head again.
    pub(super) head_at: Time,
    /// The last claim from the head got nothing.
    pub(super) quiet: bool,
    /// And it could have got suspects.
    pub(super) exhausted: bool,
    pub(super) bell_at: Time,
    pub(super) news: News,
    pause: Pause,
    pub(super) proof: Proof,
    pub(super) doubt: Doubt,
    /// A request for the tokenizer of its model is out.
    pub(super) asked_tokenizer: bool,
    /// Rows that ran out of steps since the last pause.
    out_of_steps: u32,
}

/// A vectorizer at fault is left alone for a while.
#[derive(Debug, Default)]
struct Pause {
    times: u32,
    until: Option<Time>,
    reason: Option<String>,
}

/// Whether the provider takes anything at all from this vectorizer: a refusal is a row's own fault
/// only if it does.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Answers with vectors.
    pub(super) successes: u64,
    pub(super) refusals_since_success: u32,
    pub(super) probe: Probe,
    pub(super) pull: Pull,
}

/// A request with a harmless text, to see whether rows or vectorizer are at fault.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Probe {
    #[default]
    None,
    Out,
    Wanted,
}

/// A request that makes the provider fetch the model.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Pull {
    #[default]
    None,
    Out(String),
    /// It was tried, and the model is missing still.
    Tried,
    /// With what the provider said of the missing model.
    Wanted(String),
}

impl Vectorizer {
    fn new(
        definition: String,
        profile: Option<Arc<Profile>>,
        now: Time,
        settings: &Settings,
    ) -> Self {
        let dimensions = profile
            .as_ref()
            .map_or(1, |profile| profile.plan.dimensions);
        Self {
            definition,
            name: String::new(),
            foreign: None,
            is_open: false,
            profile,
            record: Record::default(),
            change: None,
            refresh: Refresh::default(),
            broken: None,
            pace: Pace::new(now, settings.poll_interval),
            commit_size: CommitSize::new(settings.limits.chunks, dimensions),
            is_slow: false,
            inputs_max: settings.limits.inputs,
            claim_out: false,
            claim_overtaken: false,
            claim_again: None,
            missed: None,
            since: None,
            head_at: Time::ZERO,
            quiet: false,
            exhausted: false,
            bell_at: Time::ZERO,
            news: News::default(),
            pause: Pause::default(),
            proof: Proof::default(),
            doubt: Doubt::default(),
            asked_tokenizer: false,
            out_of_steps: 0,
        }
    }

    /// Whether only suspects can be left on the queue, which no claim has asked for.
    pub(super) const fn has_suspects_left(&self) -> bool {
        self.quiet && !self.exhausted
    }

    /// Whether a statement missed a table or a column that its definition may have lost since it was loaded.
    pub(super) fn may_be_outdated(&mut self, error: &DbError, now: Time, listed_at: Time) -> bool {
        let is_missing = matches!(
            error.sqlstate.as_deref(),
            Some(MISSING_COLUMN | MISSING_TABLE)
        );
        is_missing && *self.missed.get_or_insert(now) >= listed_at
    }

    /// Something may have come to the queue.
    pub(super) const fn stir(&mut self) {
        self.quiet = false;
        self.exhausted = false;
    }

    /// The number that notifications carry.
    pub(super) fn number(&self, id: i64) -> i64 {
        self.profile
            .as_ref()
            .map_or(id, |profile| profile.plan.number)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.until.is_some()
    }

    pub(super) fn pause_ends(&self) -> Option<Time> {
        self.pause.until
    }

    /// Why nothing is done for it, if there is a reason other than that it is disabled.
    pub(super) fn why_it_rests(&self) -> Option<String> {
        let pause = self.pause.reason.clone().filter(|_| self.is_paused());
        self.broken.clone().or(pause)
    }

    /// The provider embedded something for it; the request was sent at that moment.
    pub(super) fn succeeded(&mut self, sent: Time) {
        self.doubt.answered(sent);
        self.proof = Proof {
            successes: self.proof.successes + 1,
            ..Proof::default()
        };
        // A pause for another reason than the provider goes on.
        self.pause.times = 0;
    }
}

impl Worker {
    pub(super) fn vectorizers_loaded(&mut self, loaded: Vec<LoadedVectorizer>) {
        let first = !self.session.listed;
        self.list_came();
        let mut seen = vec![];
        // One whose definition is empty, because it is too large, is reported as unreadable.
        for LoadedVectorizer { id, definition } in loaded {
            seen.push(id);
            if self
                .vectorizers
                .get(&id)
                .is_none_or(|known| known.definition != definition)
            {
                self.define(id, definition);
            }
        }
        self.vectorizers.retain(|id, _| seen.contains(id));
        for batch in self
            .batches
            .values_mut()
            .filter(|batch| !seen.contains(&batch.profile.id))
        {
            batch.leaving = true;
        }
        if first {
            self.greet(seen);
        }
        self.advise();
    }

    /// Tells the operator of owners beyond the worker's trust domain, and of chunks that everybody
    /// sees; again only when that has changed.
    fn advise(&mut self) {
        let served = self.vectorizers.values();
        let foreign = served.filter_map(|known| known.foreign.clone()).collect();
        if self.session.foreign != foreign {
            if !foreign.is_empty() {
                let message = standing::advice(&foreign);
                self.events.push_back(Event::Advice { message });
            }
            self.session.foreign = foreign;
        }
        let open = self.vectorizers.iter().filter(|(_, known)| known.is_open);
        let open: Vec<i64> = open.map(|(id, _)| *id).collect();
        for id in &open {
            if !self.session.open.contains(id) {
                let message = standing::open_advice(*id);
                self.events.push_back(Event::Advice { message });
            }
        }
        self.session.open = open;
    }

    /// Takes a new or changed definition. Batches of the old one give their rows back.
    fn define(&mut self, id: i64, text: String) {
        for batch in self
            .batches
            .values_mut()
            .filter(|batch| batch.profile.id == id)
        {
            batch.leaving = true;
        }
        let definition = serde_json::from_str::<Definition>(&text);
        let profile = match &definition {
            Ok(definition) if definition.disabled => Ok(None),
            Ok(definition) => Profile::new(definition, &self.settings).and_then(|profile| {
                let standing = definition.standing.as_ref();
                let refusal = standing.and_then(|known| known.refusal(&self.settings));
                refusal.map_or_else(|| definition.check_vectors(), Err)?;
                Ok(Some(profile))
            }),
            Err(_) if text.starts_with("\\x") => Err(UNREADABLE.to_owned()),
            Err(_) if text.is_empty() => {
                Err("its configuration is larger than 1 MB: drop the vectorizer".to_owned())
            }
            Err(error) => {
                let error = cut(&error.to_string());
                Err(format!("its configuration cannot be read: {error}"))
            }
        };
        let unrecorded = definition.as_ref().ok().and_then(Definition::unrecorded);
        let (profile, broken) = match profile {
            Ok(profile) => (profile.map(Arc::new), None),
            Err(reason) => (None, Some(reason)),
        };
        let mut vectorizer = Vectorizer::new(text, profile, self.now, &self.settings);
        vectorizer.record = Record::new(unrecorded);
        let known = definition.as_ref().ok();
        let is_generation = known.is_some_and(|known| known.is_generation);
        vectorizer.change = is_generation.then(Change::default);
        vectorizer.name = known.map_or_else(String::new, |known| known.name.clone());
        let known = known.and_then(|known| Some((&known.name, known.standing.as_ref()?)));
        if let (Some((name, standing)), true) = (known, vectorizer.profile.is_some()) {
            let owner = standing.foreign(&self.settings);
            vectorizer.foreign = owner.map(|owner| (owner.to_owned(), name.clone()));
            vectorizer.is_open = standing.is_open;
        }
        // What the operator wants left alone is no failure.
        let is_left_alone =
            known.is_some_and(|(_, known)| known.distrust(&self.settings).is_some());
        if let Some(old) = self.vectorizers.get_mut(&id) {
            vectorizer.claim_again = old.claim_again.take();
        }
        vectorizer.broken = broken.clone().filter(|_| !is_left_alone);
        self.vectorizers.insert(id, vectorizer);
        if let Some(reason) = broken {
            // pgai, too, names the provider where the embedding's parameters are at fault.
            let provider = definition
                .ok()
                .and_then(|definition| definition.provider_at_fault(&reason, &self.settings));
            match provider {
                Some(provider) => self.record_of(id, failure::EMBEDDING, &reason, Some(&provider)),
                None => self.record(id, failure::UNEXPECTED, &reason),
            }
            self.events.push_back(Event::VectorizerBroken {
                vectorizer: id,
                reason: reason.clone(),
            });
            if !is_left_alone {
                self.failed_as_a_whole(&reason);
            }
        }
    }

    /// What pgai says at the start.
    fn greet(&mut self, got: Vec<i64>) {
        let mut wanted = self.settings.vectorizer_ids.clone();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.iter().any(|id| !got.contains(id)) {
            let event = Event::InvalidVectorizers { wanted, got };
            self.failed_as_a_whole(&event.message());
            self.events.push_back(event);
        } else if got.is_empty() {
            self.events.push_back(Event::NoVectorizers);
        }
    }

    /// Whether a vectorizer is still defined as it was when this profile was made.
    pub(super) fn is_current(&self, profile: &Arc<Profile>) -> bool {
        let known = self.vectorizers.get(&profile.id);
        known
            .and_then(|known| known.profile.as_ref())
            .is_some_and(|current| Arc::ptr_eq(current, profile))
    }

    pub(super) fn provider_of(&self, id: i64) -> Option<&'static str> {
        let profile = self.vectorizers.get(&id)?.profile.as_ref()?;
        Some(profile.provider.account().provider)
    }

    /// Tells of chunks whose ends are not embedded.
    pub(super) fn tell_truncated(&mut self, id: i64, chunks: usize, bytes: Option<usize>) {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        if chunks > 0 {
            self.events.push_back(Event::Truncated {
                vectorizer: id,
                chunks: number(chunks),
                bytes: bytes.map(number),
            });
        }
    }

    /// With `--once`: whether everything that is due has been done, or cannot be.
    pub(super) fn nothing_is_due(&self) -> bool {
        self.nothing_else_is_due()
            && self.vectorizers.values().all(|vectorizer| {
                let runs = vectorizer.profile.is_some() && !vectorizer.is_paused();
                !runs || vectorizer.has_settled()
            })
    }

    /// The same, apart from the steps of changes to other models.
    pub(super) fn nothing_else_is_due(&self) -> bool {
        let quiet = self.session.listed && self.batches.is_empty() && self.records.is_empty();
        let quiet = quiet && self.resync.is_quiet() && self.indexes.is_quiet();
        quiet
            && self.vectorizers.values().all(|vectorizer| {
                let runs = vectorizer.profile.is_some() && !vectorizer.is_paused();
                let is_recorded = vectorizer.record.wanted.is_none();
                let is_refreshed = vectorizer.has_refreshed();
                !vectorizer.claim_out
                    && (!runs || vectorizer.exhausted && is_recorded && is_refreshed)
            })
    }
}

/// The database returns the bytes of such a definition.
const UNREADABLE: &str = "its configuration, or a name of a column of its source, has characters that \
    UTF-8 lacks: rename the column, or drop the vectorizer and create it anew";
