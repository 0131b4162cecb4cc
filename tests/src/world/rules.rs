//! What must be true, always or at the end. Each rule is one function.

use std::fmt;

use super::database::Tables;
use super::library::DocumentFault;
use super::provider::{is_about_a_row, is_stumbling, vector_for};
use super::swarm::Swarm;

/// What must hold.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// A row that an open transaction of the application holds keeps no other row waiting.
    AHeldRowHoldsNobodyElse,
    /// A worker that was told of it claims and embeds nothing more for a disabled vectorizer.
    ADisabledVectorizerIsLeftAlone,
    /// A failed row is not given out before its time.
    AFailedRowWaits,
    /// A row that changed meanwhile is not blamed for what it was.
    AFailureCountsAgainstItsText,
    /// While the provider is down, no row fails.
    AnOutageCostsNoAttempt,
    /// The new generation serves only when each row that was there when the change began has been embedded for it.
    ASwitchComesAfterTheFill,
    /// Only workers that ended without a word cost a row an attempt.
    AttemptsAreThoseOfDeadWorkers,
    /// No two workers name a claim alike.
    ClaimsHaveNamesOfTheirOwn,
    /// When nothing fails any more, nothing stays queued.
    ComesToRest,
    /// Every row has exactly the chunks of its final text, and nothing else is stored.
    EveryRowStandsTrue,
    /// Beside the new text of a row that was given up stands no old vector.
    NoOldVectorStandsForEver,
    /// All vectors that are stored are of one model.
    NoStoreMixesModels,
    /// Of two workers at most one believes in a row.
    OneWorkerAtATime,
    /// What was written past the triggers before a resync was asked for is in sync when it has ended.
    AResyncFindsEverything,
    /// A request holds no more inputs than its cap.
    RequestsKeepTheirCap,
    /// No row is given up without a reason: its workers kept dying, or the provider refused its text
    /// or never had a vector for it.
    RowsAreGivenUpForAReasonOnly,
    /// No vector stands beside a text that is not its own.
    VectorsBelongToTheirTexts,
    /// A worker without an end of its own does not stop, and does not spin.
    WorkersGoOn,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::ASwitchComesAfterTheFill,
        Self::AHeldRowHoldsNobodyElse,
        Self::ADisabledVectorizerIsLeftAlone,
        Self::AFailedRowWaits,
        Self::AFailureCountsAgainstItsText,
        Self::AnOutageCostsNoAttempt,
        Self::AttemptsAreThoseOfDeadWorkers,
        Self::ClaimsHaveNamesOfTheirOwn,
        Self::ComesToRest,
        Self::EveryRowStandsTrue,
        Self::NoOldVectorStandsForEver,
        Self::NoStoreMixesModels,
        Self::OneWorkerAtATime,
        Self::AResyncFindsEverything,
        Self::RequestsKeepTheirCap,
        Self::RowsAreGivenUpForAReasonOnly,
        Self::VectorsBelongToTheirTexts,
        Self::WorkersGoOn,
    ];
}

/// A broken rule.
#[derive(Debug)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// How.
    pub reason: String,
    /// What happened before, one line for each thing.
    pub trace: Vec<String>,
}

impl Violation {
    pub(super) const fn new(rule: Rule, reason: String) -> Self {
        Self {
            rule,
            reason,
            trace: vec![],
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.rule, self.reason)?;
        self.trace
            .iter()
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// No vector stands beside a text that is not its own: in a store never, in a column never by the
/// hand of a worker. (There the application's own update of the text leaves the old vector.)
pub(super) fn vectors_belong_to_their_texts(tables: &Tables) -> Result<(), Violation> {
    let model = tables.model().unwrap_or_default();
    for ((key, place), (text, vector)) in &tables.store {
        if *vector != vector_for(&model, text) {
            return Err(misled(
                tables,
                &format!("{key}, chunk {place}"),
                text,
                vector,
            ));
        }
    }
    match &tables.misled {
        Some((key, (text, vector))) => Err(misled(tables, &key.to_string(), text, vector)),
        None => Ok(()),
    }
}

/// The rule that a vector breaks which is not that of its text.
fn misled(tables: &Tables, row: &str, text: &str, vector: &[f32]) -> Violation {
    let models = tables.models();
    match models
        .iter()
        .find(|model| *vector == *vector_for(model, text))
    {
        Some(model) => Violation::new(
            Rule::NoStoreMixesModels,
            format!(
                "row {row} ({text:?}) has a vector of {model}, which is not that of the others"
            ),
        ),
        None => Violation::new(
            Rule::VectorsBelongToTheirTexts,
            format!("row {row} ({text:?}) has another text's vector"),
        ),
    }
}

/// A row that was given up has no vector of an older text in its column.
pub(super) fn no_old_vector_stands_for_ever(tables: &Tables) -> Result<(), Violation> {
    tables.left_behind().map_or(Ok(()), |key| {
        let reason = format!("row {key} was given up, and its old vector is there still");
        Err(Violation::new(Rule::NoOldVectorStandsForEver, reason))
    })
}

/// Every row has the vector of its final text in its column, and none if there is no text.
pub(super) fn every_row_has_its_vector(tables: &Tables) -> Result<(), Violation> {
    let model = tables.model().unwrap_or_default();
    for (key, text) in &tables.source {
        let vector = tables.vectors.get(key);
        let wanted = (!text.is_empty()).then(|| vector_for(&model, &tables.text(text)));
        if vector != wanted.as_ref() {
            let reason = format!("row {key} ({text:?}) has the vector {vector:?}");
            return Err(Violation::new(Rule::EveryRowStandsTrue, reason));
        }
    }
    Ok(())
}

/// Every row has exactly the chunks of its final text, and nothing else is stored.
/// `of` says what the document of an address is now; without documents a text is its own.
pub(super) fn every_row_stands_true(
    tables: &Tables,
    of: impl Fn(&str) -> String,
) -> Result<(), Violation> {
    let mut wanted = vec![];
    for (key, address) in &tables.source {
        let text = of(address);
        let chunks = text.split(' ').filter(|chunk| !chunk.is_empty());
        wanted.extend(
            chunks
                .zip(0_i32..)
                .map(|(chunk, place)| ((*key, place), tables.text(chunk))),
        );
    }
    let stored: Vec<_> = tables
        .store
        .iter()
        .map(|(place, (text, _))| (*place, text.to_string()))
        .collect();
    if stored != wanted {
        let reason = format!("the store has\n  {stored:?}\nand should have\n  {wanted:?}");
        return Err(Violation::new(Rule::EveryRowStandsTrue, reason));
    }
    Ok(())
}

/// No row is given up without a reason: its workers kept dying, the provider refused its text or
/// never had a vector for it, or its text makes the provider fail. Where answers are lost at random, a
/// text may be unlucky three times running while others are answered: nobody could tell. And a row that
/// was given up stays so when its text is changed past the triggers: then its text says nothing.
pub(super) fn rows_are_given_up_for_a_reason_only(
    tables: &Tables,
    swarm: &Swarm,
) -> Result<(), Violation> {
    let stumbles = |key: &i64| {
        let text = tables.source.get(key);
        swarm.stumble.is_some()
            && (swarm.past_triggers || text.is_some_and(|text| is_stumbling(text)))
    };
    let is_fair = |key: &i64, reason: &str| {
        let fails_again = reason.contains("fails again and again");
        reason.starts_with("the worker died")
            || is_about_a_row(reason, &swarm.faults)
            || fails_again && (swarm.lose_answers || stumbles(key))
            || swarm.documents && DocumentFault::is_reason(reason)
    };
    let mut failed = tables.failed.iter();
    match failed.find(|(key, reason)| !is_fair(key, reason)) {
        Some((key, reason)) => Err(Violation::new(
            Rule::RowsAreGivenUpForAReasonOnly,
            format!("row {key} was given up: {reason}"),
        )),
        None => Ok(()),
    }
}
