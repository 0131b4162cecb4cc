//! Faults for the rules to find: a rule that no mutant breaks may be one that cannot be broken.

/// A fault built into the protocol, which the rules must find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// A commit does not record which version of a document it has.
    CommitForgetsDocuments,
    /// A file is said to be the version that is known, whatever it is.
    FilesSeemUnchanged,
    /// Documents whose check is due are not queued.
    RefreshQueuesNothing,
    /// The version of a file is that from after it was read.
    VersionsAreReadLater,
    /// A commit takes the item off the queue although the row has changed.
    CommitIgnoresGeneration,
    /// A commit does not check that chunks meant to stay are still what they were.
    CommitMovesUnchecked,
    /// A commit leaves chunks beyond the last one.
    CommitKeepsTail,
    /// A commit leaves the vector in the column of a row that has no text any more.
    CommitKeepsVector,
    /// A commit writes to the column of a row that has changed.
    CommitWritesChanged,
    /// DELETE takes the item off the queue instead of leaving a tombstone.
    DeleteRemovesItem,
    /// An update of a queued row does not count up its generation.
    EnqueueKeepsGeneration,
    /// A change of key forgets the old key.
    KeyChangeForgetsOldKey,
    /// The source is read with the snapshot of the claim.
    ReadWithClaimSnapshot,
    /// An answer of the provider never reaches the worker.
    AnswersGetLost,
    /// A release counts the attempt.
    AttemptsAreNotGivenBack,
    /// A claim takes what another worker holds.
    ClaimIgnoresLeases,
    /// A claim takes a failed row before its time.
    ClaimIgnoresRetryTime,
    /// All workers begin with the same seed, as a sequence repeats after a crash.
    ClaimNamesRepeat,
    /// A claim waits for a failed row for as long as a clock that was set back says.
    ClaimTrustsTheClock,
    /// A commit does not check whose lease it is.
    CommitIgnoresLease,
    /// A commit leaves the item on the queue.
    CommitKeepsItem,
    /// A commit waits for an item that the application holds.
    CommitWaitsForItems,
    /// A new vectorizer does not queue the rows that are there.
    CreateQueuesNothing,
    /// DELETE queues nothing: the worker's chunks stay.
    DeleteKeepsChunks,
    /// The list of vectorizers leaves out that one is disabled.
    DisabledIsNotSaid,
    /// Changes are not queued while the vectorizer is disabled.
    DisabledQueuesNothing,
    /// A change of a row that a worker holds is not queued.
    EnqueueSkipsHeldRows,
    /// An extension says that it did, and does nothing.
    ExtendDoesNothing,
    /// An extension extends the lease of another.
    ExtendIgnoresLease,
    /// A failed row is taken off the queue.
    FailForgetsItem,
    /// A failure counts against a row that has changed since.
    FailIgnoresGeneration,
    /// A failure does not check whose lease it is.
    FailIgnoresLease,
    /// A row that is given up goes nowhere.
    GivenUpRowsAreForgotten,
    /// An inserted row is not queued.
    InsertIsNotQueued,
    /// A change of key forgets the new key.
    KeyChangeForgetsNewKey,
    /// A provider that is down answers probes, so rows are blamed.
    OutageTakesProbes,
    /// A text that makes the provider fail makes probes fail, too, so it is never found.
    ProbesFailWithTexts,
    /// A provider that refuses everything takes the probe, so rows are blamed.
    ProbeIsTaken,
    /// A provider gives its vectors in another order.
    ProviderMixesUpAnswers,
    /// A read does not find a row that is there.
    ReadLosesRows,
    /// A read brings the text of another row.
    ReadMixesUpRows,
    /// A release gives nothing back.
    ReleaseDoesNothing,
    /// A resync is taken for done when its worker dies.
    ResyncEndsWithItsWorker,
    /// A resync whose worker died is left alone.
    ResyncIsNotTakenOver,
    /// A resync does not see chunks without a row.
    ResyncMissesOrphans,
    /// A resync leaves to workers what they read before it began.
    ResyncRenewsNothing,
    /// Requests are larger than they may be.
    RequestsIgnoreTheirCap,
    /// Vectors of one answer are handed out in the wrong order.
    SwappedVectors,
    /// Statements for a vectorizer that was dropped find the tables of the next.
    TablesOutliveTheirVectorizer,
    /// Recording that texts are made differently leaves the leases of those who make the old ones.
    AcceptKeepsLeases,
    /// Recording that texts are made differently has no row compared.
    AcceptComparesNothing,
    /// A claim gets work although it was planned for another configuration than what is recorded.
    ClaimIgnoresTheRecord,
    /// A row that is given up keeps its old vector in its column.
    FailKeepsVector,
    /// Embedding all rows anew leaves the leases of those who embed with the old model.
    ReembedKeepsLeases,
    /// Embedding all rows anew leaves the old vectors.
    ReembedKeepsVectors,
    /// What an application changes while the new generation is filled does not reach it.
    FillMissesChanges,
    /// A row that was queued before the clock was set back is taken for one that came after the fill.
    FillTrustsTheClock,
    /// The generation that served before is not followed any more.
    KeptIsNotFollowed,
    /// A chunk that the other generation has, with the other model's vector, is not embedded.
    OtherVectorsAreReused,
    /// Claims and statements that were planned before the switch find the tables of the other generation.
    StatementsFollowTheSwitch,
    /// A new generation may serve before its rows are embedded.
    SwitchBeforeFilled,
    /// Workers look at a queue only when they are notified.
    WorkersOnlyListen,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 62] = [
        Self::CommitForgetsDocuments,
        Self::FilesSeemUnchanged,
        Self::RefreshQueuesNothing,
        Self::VersionsAreReadLater,
        Self::FillMissesChanges,
        Self::FillTrustsTheClock,
        Self::KeptIsNotFollowed,
        Self::OtherVectorsAreReused,
        Self::StatementsFollowTheSwitch,
        Self::SwitchBeforeFilled,
        Self::ProbeIsTaken,
        Self::ProviderMixesUpAnswers,
        Self::ReadLosesRows,
        Self::ReadMixesUpRows,
        Self::ReleaseDoesNothing,
        Self::ResyncEndsWithItsWorker,
        Self::ResyncIsNotTakenOver,
        Self::ResyncMissesOrphans,
        Self::ResyncRenewsNothing,
        Self::RequestsIgnoreTheirCap,
        Self::SwappedVectors,
        Self::TablesOutliveTheirVectorizer,
        Self::WorkersOnlyListen,
        Self::AcceptKeepsLeases,
        Self::AcceptComparesNothing,
        Self::ClaimIgnoresTheRecord,
        Self::FailKeepsVector,
        Self::ReembedKeepsLeases,
        Self::ReembedKeepsVectors,
        Self::CommitIgnoresGeneration,
        Self::CommitMovesUnchecked,
        Self::CommitKeepsTail,
        Self::CommitKeepsVector,
        Self::CommitWritesChanged,
        Self::DeleteRemovesItem,
        Self::EnqueueKeepsGeneration,
        Self::KeyChangeForgetsOldKey,
        Self::ReadWithClaimSnapshot,
        Self::AnswersGetLost,
        Self::AttemptsAreNotGivenBack,
        Self::ClaimIgnoresLeases,
        Self::ClaimIgnoresRetryTime,
        Self::ClaimNamesRepeat,
        Self::ClaimTrustsTheClock,
        Self::CommitIgnoresLease,
        Self::CommitKeepsItem,
        Self::CommitWaitsForItems,
        Self::CreateQueuesNothing,
        Self::DeleteKeepsChunks,
        Self::DisabledIsNotSaid,
        Self::DisabledQueuesNothing,
        Self::EnqueueSkipsHeldRows,
        Self::ExtendDoesNothing,
        Self::ExtendIgnoresLease,
        Self::FailForgetsItem,
        Self::FailIgnoresGeneration,
        Self::FailIgnoresLease,
        Self::GivenUpRowsAreForgotten,
        Self::InsertIsNotQueued,
        Self::KeyChangeForgetsNewKey,
        Self::OutageTakesProbes,
        Self::ProbesFailWithTexts,
    ];
}
