//! What happened, counted, so that a test can see that anything did.

/// A count for each thing that worlds should meet. The list is written once, so that none is
/// forgotten where they are added up and looked at.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// See the module.
        #[derive(Clone, Debug, Default)]
        pub struct Coverage {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Coverage {
            /// Adds what happened in another world.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// All counts with their names.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counts! {
    /// Rows of a commit that the application held.
    busy,
    /// Changes to another model that were cancelled.
    cancelled_changes,
    /// Documents that were queued to be checked again.
    checks,
    /// Commits of rows that had changed since they were read.
    changed,
    /// How often the database's clock was set.
    clock_steps,
    /// Rows that were given up, whose vectors were cleared.
    cleared,
    /// Rows in whose column a vector stands at the end.
    columns,
    /// Workers that crashed.
    crashes,
    /// Rows that were given up.
    dead_letters,
    /// How often a document failed.
    document_faults,
    /// How often a document changed.
    document_changes,
    /// How often the vectorizer was disabled.
    disabled,
    /// How often it was dropped.
    dropped,
    /// Claims whose worker had died, or was late.
    expired,
    /// Changes whose old generation was dropped.
    finished_changes,
    /// Leases that were extended.
    extended,
    /// Answers of the provider that came after the lease that they were asked for.
    late_answers,
    /// Commits of claims that were no longer held.
    lost,
    /// Answers of the database that never arrived.
    lost_answers,
    /// How often a configuration named another model than the stored vectors have.
    other_models,
    /// How often the provider went down.
    outages,
    /// Providers or vectorizers that a worker left alone for a while.
    pauses,
    /// Requests that were refused for a word in them.
    poisoned,
    /// How often all rows were embedded anew.
    reembedded,
    /// Requests that failed.
    refused,
    /// How often the generation that served before served again.
    reverts,
    /// Chunks that were kept or moved without being embedded again.
    reused,
    /// Rows that a resync queued.
    resynced,
    /// Resyncs that came to their end.
    resyncs,
    /// Resyncs whose worker had died, or was late.
    resyncs_taken_over,
    /// Requests that came back as two halves.
    splits,
    /// Claims that were planned for another configuration than what is recorded.
    stale_claims,
    /// Requests that failed for a word that makes the provider fail.
    stumbled,
    /// How often a new generation began to serve.
    switches,
    /// Tombstones that a worker cleared.
    tombstones,
    /// Statements that found their tables gone.
    undefined_tables,
    /// Documents that were the versions that were known.
    unchanged,
    /// Notifications that never arrived.
    unheard,
    /// Rows that were planned or compared apart from the worker's other doings.
    works,
}

impl Coverage {
    /// What no world has met.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let all = self.all().into_iter();
        all.filter(|(_, count)| *count == 0)
            .map(|(name, _)| name)
            .collect()
    }
}
