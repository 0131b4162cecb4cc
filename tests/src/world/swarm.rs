//! Which things may go wrong in one world.

use super::entropy::Entropy;
use super::provider::{Fault, Stumble};

/// Drawn once for each world: swarm testing finds more than a world where everything always goes
/// wrong.
#[derive(Clone, Debug)]
pub(super) struct Swarm {
    pub(super) lose_answers: bool,
    /// Workers are killed, now and then or all the time.
    pub(super) crash: Option<u64>,
    pub(super) long_pauses: bool,
    /// What may be wrong with answers of the provider.
    pub(super) faults: Vec<Fault>,
    pub(super) repeatable_read: bool,
    /// Statements are refused, without having done anything.
    pub(super) refuse_statements: bool,
    /// The provider refuses every request with a certain word in it.
    pub(super) poison: bool,
    /// At times the provider refuses every request, as if a parameter were wrong.
    pub(super) refuse_all: bool,
    /// A certain word makes the provider fail without a word about it.
    pub(super) stumble: Option<Stumble>,
    /// At times the provider is down.
    pub(super) outages: bool,
    /// The application writes so rarely that workers get everything done in between.
    pub(super) quiet: bool,
    /// Much gets done between two other things.
    pub(super) lively: bool,
    /// The database's clock is set, forward or back.
    pub(super) clock_steps: bool,
    /// The vectorizer is disabled and enabled, dropped and created.
    pub(super) manage: bool,
    /// The configuration is edited by hand.
    pub(super) configure: bool,
    /// The vectorizer changes to another model, and back.
    pub(super) change: bool,
    /// A row that has failed is given up at once.
    pub(super) impatient: bool,
    /// The application writes past the triggers at times, and somebody asks for a resync.
    pub(super) past_triggers: bool,
    /// The vectors go to a column of the source.
    pub(super) column: bool,
    /// The application leaves transactions open that have written to a row.
    pub(super) hold: bool,
    /// Workers run one batch at a time.
    pub(super) single: bool,
    /// Notifications do not arrive: whoever rang the bell has rolled back, and others rely on it.
    pub(super) unheard: bool,
    /// Planning rows takes its time, however short they are.
    pub(super) slow_work: bool,
    /// Rows have addresses of documents, which somebody changes, and which fail at times.
    pub(super) documents: bool,
}

impl Swarm {
    fn with_stumble(mut self, entropy: &mut Entropy<'_>) -> Self {
        if entropy.chance(4) {
            self.stumble = Some(Stumble::ALL[entropy.index(Stumble::ALL.len())]);
        }
        self
    }

    /// (What stands in a column is compared with the text of its row.)
    fn with_documents(mut self, entropy: &mut Entropy<'_>) -> Self {
        self.documents = !self.column && !self.change && entropy.chance(3);
        self
    }

    /// Whether the provider is down at times, and nothing else fails as it does then: only so can be
    /// said what an outage did.
    pub(super) fn has_outages(&self) -> bool {
        let mut faults = self.faults.iter();
        let fails_otherwise = self.lose_answers
            || self.stumble.is_some()
            || faults.any(|fault| fault.is_of_an_outage());
        self.outages && !fails_otherwise
    }

    pub(super) fn new(entropy: &mut Entropy<'_>) -> Self {
        let crash_rarity = [4, 40][entropy.index(2)];
        let faults = Fault::some(entropy);
        let configure = entropy.chance(3);
        // (A request fails where a worker knows of a configuration that cannot be used.)
        let past_triggers = entropy.chance(4) && !configure;
        let column = entropy.chance(3);
        // (Edits of the configuration by hand, and writes past the triggers, are other worlds.)
        let change = entropy.chance(2) && !column && !configure && !past_triggers;
        Self {
            lose_answers: entropy.chance(2),
            crash: entropy.chance(2).then_some(crash_rarity),
            long_pauses: entropy.chance(2),
            faults: if entropy.chance(2) { faults } else { vec![] },
            repeatable_read: entropy.chance(2),
            refuse_statements: entropy.chance(3),
            poison: entropy.chance(3),
            refuse_all: entropy.chance(4),
            quiet: entropy.chance(2),
            lively: entropy.chance(2) || change,
            clock_steps: entropy.chance(4),
            manage: entropy.chance(3),
            configure,
            change,
            impatient: entropy.chance(3),
            past_triggers,
            column,
            hold: entropy.chance(3),
            single: entropy.chance(3),
            stumble: None,
            outages: entropy.chance(4),
            unheard: entropy.chance(3),
            slow_work: entropy.chance(3),
            documents: false,
        }
        .with_stumble(entropy)
        .with_documents(entropy)
    }
}
