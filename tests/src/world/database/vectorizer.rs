//! The vectorizer itself, which somebody disables and enables, drops and creates anew, as the
//! functions of the schema do it, and whose configuration somebody edits by hand.

use std::time::Duration;

use pgai_core::{DbError, MakerDigests, Plan, Query, Rows};

use super::{Database, Destination, Mutant, Tables};
use crate::world::library::REFRESH;

/// A vectorizer's row. What a new one differs in from the one before follows from its id.
#[derive(Clone, Copy, Debug)]
pub(in crate::world) struct Vectorizer {
    pub(in crate::world) id: i64,
    /// The number in the names of its tables.
    pub(in crate::world) number: i64,
    /// Of a generation, the number of the vectorizer when it was created.
    first: i64,
    pub(in crate::world) is_disabled: bool,
    pub(in crate::world) config: Config,
    /// The configuration that made what is stored.
    recorded: Config,
    is_column: bool,
}

/// Models are numbered up to this.
pub(in crate::world) const MODELS: i64 = 2;

/// What somebody may edit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::world) struct Config {
    /// Which model.
    pub(in crate::world) model: i64,
    /// Which template.
    pub(in crate::world) template: i64,
}

impl Config {
    /// What the template makes of a chunk.
    pub(in crate::world) fn text(self, chunk: &str) -> String {
        match self.template {
            0 => chunk.to_owned(),
            template => format!("{template}{chunk}"),
        }
    }
}

impl Vectorizer {
    /// Each has another model, so that their vectors can be told apart. Those of two generations differ by the
    /// configuration.
    pub(in crate::world) fn model(self) -> String {
        self.model_of(self.config)
    }

    fn model_of(self, config: Config) -> String {
        format!("m{}-{}", self.first, config.model)
    }

    /// Whether a worker may go on with it as it is.
    pub(in crate::world) fn is_sound(self) -> bool {
        self.config.model == self.recorded.model
            // A column keeps no texts to compare with.
            && !(self.is_column && self.config.template != self.recorded.template)
    }

    /// Another generation of it.
    pub(super) const fn generation(self, number: i64, config: Config) -> Self {
        Self {
            id: number,
            number,
            config,
            recorded: config,
            ..self
        }
    }

    /// Whether this is what made the stored vectors and texts.
    pub(super) fn is_recorded_as(self, sql: &str) -> bool {
        let Config { model, template } = self.recorded;
        sql.contains(&format!("m.vectors = '{model}' and m.texts = '{template}'"))
    }

    fn definition(
        self,
        destination: Destination,
        retries: u32,
        (says_disabled, is_generation): (bool, bool),
    ) -> String {
        let template = match destination {
            Destination::Column => TEXTS,
            Destination::Table => WORDS,
        };
        let text = match self.config.template {
            0 => "$chunk".to_owned(),
            template => format!("{template}$chunk"),
        };
        template
            .replace("{id}", &self.id.to_string())
            .replace("{number}", &self.number.to_string())
            .replace("{is generation}", &is_generation.to_string())
            .replace("{disabled}", &says_disabled.to_string())
            .replace("{retries}", &retries.to_string())
            .replace("{model}", &self.model())
            .replace("{template}", &text)
            .replace("{vectors}", &self.config.model.to_string())
            .replace("{texts}", &self.config.template.to_string())
            .replace("{recorded vectors}", &self.recorded.model.to_string())
            .replace("{recorded texts}", &self.recorded.template.to_string())
    }
}

impl Tables {
    /// The model whose vectors there should be.
    pub(in crate::world) fn model(&self) -> Option<String> {
        self.vectorizer
            .map(|vectorizer| vectorizer.model_of(vectorizer.recorded))
    }

    /// All models that the vectorizer has had.
    pub(in crate::world) fn models(&self) -> Vec<String> {
        let of = |vectorizer: Vectorizer| {
            let models = 0..=MODELS;
            models
                .map(|model| {
                    vectorizer.model_of(Config {
                        model,
                        ..Config::default()
                    })
                })
                .collect()
        };
        self.vectorizer.map_or_else(Vec::new, of)
    }

    /// The text that is stored for a chunk.
    pub(in crate::world) fn text(&self, chunk: &str) -> String {
        let recorded = self.vectorizer.map(|vectorizer| vectorizer.recorded);
        recorded.unwrap_or_default().text(chunk)
    }

    /// Whether what is recorded is what the configuration says.
    pub(super) fn is_recorded(&self) -> bool {
        self.vectorizer
            .is_none_or(|vectorizer| vectorizer.config == vectorizer.recorded)
    }
}

impl Database {
    pub(in crate::world) fn set_disabled(&mut self, is_disabled: bool) {
        let tables = self.write();
        let other = tables.other.as_mut().map(|other| &mut other.vectorizer);
        for vectorizer in tables.vectorizer.iter_mut().chain(other) {
            vectorizer.is_disabled = is_disabled;
        }
    }

    /// Drops it with its triggers and tables, the store among them: a new one needs a store of its
    /// own. A column stays as it is.
    pub(in crate::world) fn drop_vectorizer(&mut self) {
        let outlive = self.is(Mutant::TablesOutliveTheirVectorizer);
        self.drop_generation();
        let tables = self.write();
        tables.vectorizer = None;
        if outlive {
            return;
        }
        tables.items.clear();
        tables.leases.clear();
        tables.failed.clear();
        tables.request = None;
        tables.documents.clear();
        tables.store.clear();
        self.ledger.tables_dropped();
    }

    /// Creates one where there is none; all rows are queued.
    pub(in crate::world) fn create_vectorizer(&mut self, now: Duration) {
        let now = self.clock(now);
        self.vectorizers += 1;
        self.write().vectorizer = Some(Vectorizer {
            id: self.vectorizers,
            number: self.vectorizers,
            first: self.vectorizers,
            is_disabled: false,
            config: Config::default(),
            recorded: Config::default(),
            is_column: self.destination == Destination::Column,
        });
        if self.is(Mutant::CreateQueuesNothing) {
            return;
        }
        self.enqueue_all(now);
    }

    /// Somebody edits the configuration by hand.
    pub(in crate::world) fn configure(&mut self, config: Config) {
        if let Some(vectorizer) = &mut self.write().vectorizer {
            vectorizer.config = config;
        }
    }

    /// Puts the model back to the one that made the vectors, and where they stand in a column, the
    /// template, too.
    pub(in crate::world) fn revert_embedding(&mut self) {
        if let Some(vectorizer) = &mut self.write().vectorizer {
            vectorizer.config.model = vectorizer.recorded.model;
            if vectorizer.is_column {
                vectorizer.config.template = vectorizer.recorded.template;
            }
        }
    }

    /// Throws all vectors away, and has all rows embedded anew.
    pub(in crate::world) fn reembed(&mut self, now: Duration) {
        let now = self.clock(now);
        let (keeps_leases, keeps_vectors) = (
            self.is(Mutant::ReembedKeepsLeases),
            self.is(Mutant::ReembedKeepsVectors),
        );
        let tables = self.write();
        if let Some(vectorizer) = &mut tables.vectorizer {
            vectorizer.recorded = vectorizer.config;
        }
        if !keeps_vectors {
            tables.store.clear();
            tables.vectors.clear();
        }
        tables.failed.clear();
        if !keeps_leases {
            self.forget_leases();
        }
        self.compare_all(now);
    }

    /// Records that the texts are made differently, and has all rows compared with theirs.
    pub(super) fn accept_texts(&mut self, id: i64, digests: &MakerDigests, now: Duration) -> bool {
        let keeps_leases = self.is(Mutant::AcceptKeepsLeases);
        let Some(vectorizer) = &mut self.write().vectorizer else {
            return false;
        };
        let Vectorizer {
            config, recorded, ..
        } = vectorizer;
        let read = MakerDigests::new(&config.model.to_string(), &config.template.to_string());
        if vectorizer.id != id || *digests != read || config.model != recorded.model {
            return false;
        }
        if config != recorded {
            *recorded = *config;
            if !keeps_leases {
                self.forget_leases();
            }
            if !self.is(Mutant::AcceptComparesNothing) {
                self.compare_all(now);
            }
        }
        true
    }

    fn forget_leases(&mut self) {
        self.write().leases.clear();
        self.ledger.tables_dropped();
    }

    fn enqueue_all(&mut self, now: Duration) {
        let keys: Vec<_> = self.tables.source.keys().copied().collect();
        for key in keys {
            self.enqueue(key, now);
        }
    }

    /// What a comparison of source and store queues in the end: what waits already stays as it is.
    fn compare_all(&mut self, now: Duration) {
        let tables = &self.tables;
        let is_known =
            |key: &i64| tables.items.contains_key(key) || tables.failed.contains_key(key);
        let keys: Vec<_> = tables.source.keys().copied().collect();
        for key in keys
            .into_iter()
            .filter(|key| !is_known(key))
            .collect::<Vec<_>>()
        {
            self.enqueue(key, now);
        }
    }

    /// For plans of a real database, whose digests are not those of this model.
    pub(in crate::world) const fn trust_plans(&mut self) {
        self.trusts_plans = true;
    }

    /// Whether a claim was planned for what is recorded.
    ///
    /// What is recorded of a generation changes under a lock of the leases, which no claim is beside: its snapshot
    /// cannot be older. But it may be older than a switch, where two ids change places.
    pub(super) fn is_planned_for(&self, query: &Query, snapshot: &Tables) -> bool {
        if self.trusts_plans || self.is(Mutant::ClaimIgnoresTheRecord) {
            return true;
        }
        if self.is(Mutant::StatementsFollowTheSwitch) {
            return true;
        }
        let number = plan(query).and_then(|plan| snapshot.number_of(plan.vectorizer));
        let mut current = number.and_then(|number| self.tables.numbered(number));
        if self.is(Mutant::TablesOutliveTheirVectorizer) {
            current = self.tables.vectorizer;
        }
        // The definitions here name the digests of the configuration, which is in the statement.
        current.is_some_and(|current| current.is_recorded_as(query.sql()))
    }

    pub(super) fn list(&self, snapshot: &Tables) -> Rows {
        let other = snapshot
            .other
            .as_ref()
            .map(|other| (other.vectorizer, true));
        let serving = snapshot.vectorizer.map(|vectorizer| (vectorizer, false));
        let listed = serving.into_iter().chain(other);
        listed
            .map(|(vectorizer, is_generation)| {
                let says_disabled = vectorizer.is_disabled && !self.is(Mutant::DisabledIsNotSaid);
                let says = (says_disabled, is_generation);
                let mut definition = vectorizer.definition(self.destination, self.retries, says);
                if self.has_documents {
                    let column = r#"{"implementation": "column","#;
                    let uri = format!(
                        r#"{{"implementation": "uri", "refresh": {},"#,
                        REFRESH.as_secs()
                    );
                    definition = definition.replacen(column, &uri, 1);
                }
                vec![Some(vectorizer.id.to_string()), Some(definition)]
            })
            .collect()
    }

    /// What PostgreSQL says to a statement on tables that are gone.
    pub(super) fn undefined_table(&self, query: &Query) -> Option<DbError> {
        let number = plan(query)?.number;
        let is_there = self.tables.numbered(number).is_some();
        if is_there || self.is(Mutant::TablesOutliveTheirVectorizer) {
            return None;
        }
        Some(DbError {
            sqlstate: Some("42P01".to_owned()),
            message: format!("relation \"ai._vectorizer_q_{number}\" does not exist"),
        })
    }
}

/// The vectorizer that a statement is about.
pub(in crate::world) fn plan(query: &Query) -> Option<&Plan> {
    match query {
        Query::Bell { plan, .. }
        | Query::Claim { plan, .. }
        | Query::Commit { plan, .. }
        | Query::Extend { plan, .. }
        | Query::Fail { plan, .. }
        | Query::Read { plan, .. }
        | Query::Refresh { plan }
        | Query::Release { plan, .. }
        | Query::Waiting { plan } => Some(plan),
        Query::Resync(query) => query.plan(),
        Query::AcceptTexts { .. }
        | Query::Change { .. }
        | Query::AddUsage(_)
        | Query::CheckSchema
        | Query::Command { .. }
        | Query::Heartbeat(_)
        | Query::Index(_)
        | Query::LoadVectorizers { .. }
        | Query::RecordErrors(_)
        | Query::StartWorker { .. }
        | Query::TakeBudget { .. } => None,
    }
}

/// A vectorizer that makes a chunk of every word.
const WORDS: &str = r#"{
  "id": {id}, "number": {number}, "is_generation": {is generation}, "name": "words", "disabled": {disabled}, "source_schema": "public",
  "source_table": "t", "source_pk": [{"attname": "id"}], "queue_schema": "ai",
  "queue_table": "_vectorizer_q_{number}", "queue_failed_table": "_vectorizer_q_failed_{number}",
  "made_by": {"vectors": "{vectors}", "texts": "{texts}", "recorded": {
    "vectors": "{recorded vectors}", "texts": "{recorded texts}", "embedding": {}}},
  "vector": {"schema": "public", "oid": 1, "array_oid": 2}, "lease_found": true, "queue_found": true,
  "columns": [
    {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
    {"name": "body", "type": "text", "base": "text", "equals": null}],
  "config": {
    "loading": {"implementation": "column", "column_name": "body", "retries": {retries}},
    "embedding": {"implementation": "ollama", "model": "{model}", "dimensions": 2},
    "chunking": {"implementation": "character_text_splitter", "chunk_size": 3, "chunk_overlap": 0,
      "separator": " ", "is_separator_regex": false},
    "formatting": {"implementation": "python_template", "template": "{template}"},
    "destination": {"implementation": "table", "target_schema": "public", "target_table": "s{number}"}
  }}"#;

/// A vectorizer whose vectors are those of whole texts.
const TEXTS: &str = r#"{
  "id": {id}, "number": {number}, "is_generation": {is generation}, "name": "texts", "disabled": {disabled}, "source_schema": "public",
  "source_table": "t", "source_pk": [{"attname": "id"}], "queue_schema": "ai",
  "queue_table": "_vectorizer_q_{number}", "queue_failed_table": "_vectorizer_q_failed_{number}",
  "made_by": {"vectors": "{vectors}", "texts": "{texts}", "recorded": {
    "vectors": "{recorded vectors}", "texts": "{recorded texts}", "embedding": {}}},
  "vector": {"schema": "public", "oid": 1, "array_oid": 2}, "lease_found": true, "queue_found": true,
  "columns": [
    {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
    {"name": "body", "type": "text", "base": "text", "equals": null},
    {"name": "v", "type": "vector(2)", "base": "vector", "equals": null}],
  "config": {
    "loading": {"implementation": "column", "column_name": "body", "retries": {retries}},
    "embedding": {"implementation": "ollama", "model": "{model}", "dimensions": 2},
    "chunking": {"implementation": "none"},
    "formatting": {"implementation": "python_template", "template": "{template}"},
    "destination": {"implementation": "column", "embedding_column": "v"}
  }}"#;
