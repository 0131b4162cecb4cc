//! The vectorizer itself, which somebody disables and enables, drops and creates anew, as the
//! functions of the schema do it. (They offer no change of a definition.)

use std::time::Duration;

use pgai_core::{DbError, Plan, Query, Rows};

use super::{Database, Destination, Mutant, Tables};

/// A vectorizer's row. What a new one differs in from the one before follows from its id.
#[derive(Clone, Copy, Debug)]
pub(in crate::world) struct Vectorizer {
    pub(in crate::world) id: i64,
    pub(in crate::world) is_disabled: bool,
}

impl Vectorizer {
    /// Each has another model, so that their vectors can be told apart.
    pub(in crate::world) fn model(self) -> String {
        format!("m{}", self.id)
    }

    fn definition(self, destination: Destination, says_disabled: bool) -> String {
        let template = match destination {
            Destination::Column => TEXTS,
            Destination::Table => WORDS,
        };
        template
            .replace("{id}", &self.id.to_string())
            .replace("{disabled}", &says_disabled.to_string())
    }
}

impl Tables {
    /// The model whose vectors there should be.
    pub(in crate::world) fn model(&self) -> Option<String> {
        self.vectorizer.map(Vectorizer::model)
    }

    /// The vectorizer that workers should serve.
    pub(in crate::world) fn enabled(&self) -> Option<Vectorizer> {
        self.vectorizer.filter(|vectorizer| !vectorizer.is_disabled)
    }
}

impl Database {
    pub(in crate::world) fn set_disabled(&mut self, is_disabled: bool) {
        if let Some(vectorizer) = &mut self.write().vectorizer {
            vectorizer.is_disabled = is_disabled;
        }
    }

    /// Drops it with its triggers and tables, the store among them: a new one needs a store of its
    /// own. A column stays as it is.
    pub(in crate::world) fn drop_vectorizer(&mut self) {
        let outlive = self.is(Mutant::TablesOutliveTheirVectorizer);
        let tables = self.write();
        tables.vectorizer = None;
        if outlive {
            return;
        }
        tables.items.clear();
        tables.leases.clear();
        tables.failed.clear();
        tables.store.clear();
        self.ledger.tables_dropped();
    }

    /// Creates one where there is none; all rows are queued.
    pub(in crate::world) fn create_vectorizer(&mut self, now: Duration) {
        let now = self.clock(now);
        self.vectorizers += 1;
        self.write().vectorizer = Some(Vectorizer {
            id: self.vectorizers,
            is_disabled: false,
        });
        if self.is(Mutant::CreateQueuesNothing) {
            return;
        }
        let keys: Vec<_> = self.tables.source.keys().copied().collect();
        for key in keys {
            self.enqueue(key, now);
        }
    }

    pub(super) fn list(&self, snapshot: &Tables) -> Rows {
        let mut rows = vec![];
        if let Some(vectorizer) = snapshot.vectorizer {
            let says_disabled = vectorizer.is_disabled && !self.is(Mutant::DisabledIsNotSaid);
            let definition = vectorizer.definition(self.destination, says_disabled);
            rows.push(vec![Some(vectorizer.id.to_string()), Some(definition)]);
        }
        rows
    }

    /// What PostgreSQL says to a statement on tables that are gone.
    pub(super) fn undefined_table(&self, query: &Query) -> Option<DbError> {
        let id = plan(query)?.vectorizer;
        let is_there = self
            .tables
            .vectorizer
            .is_some_and(|vectorizer| vectorizer.id == id);
        if is_there || self.is(Mutant::TablesOutliveTheirVectorizer) {
            return None;
        }
        Some(DbError {
            sqlstate: Some("42P01".to_owned()),
            message: format!("relation \"ai._vectorizer_q_{id}\" does not exist"),
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
        | Query::Release { plan, .. }
        | Query::Waiting { plan } => Some(plan),
        Query::CheckSchema
        | Query::Command { .. }
        | Query::Heartbeat(_)
        | Query::LoadVectorizers { .. }
        | Query::RecordErrors(_)
        | Query::StartWorker { .. } => None,
    }
}

/// A vectorizer that makes a chunk of every word.
const WORDS: &str = r#"{
  "id": {id}, "name": "words", "disabled": {disabled}, "source_schema": "public",
  "source_table": "t", "source_pk": [{"attname": "id"}], "queue_schema": "ai",
  "queue_table": "_vectorizer_q_{id}", "queue_failed_table": "_vectorizer_q_failed_{id}",
  "vector": {"schema": "public", "oid": 1, "array_oid": 2}, "lease_found": true, "queue_found": true,
  "columns": [
    {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
    {"name": "body", "type": "text", "base": "text", "equals": null}],
  "config": {
    "loading": {"implementation": "column", "column_name": "body"},
    "embedding": {"implementation": "ollama", "model": "m{id}", "dimensions": 2},
    "chunking": {"implementation": "character_text_splitter", "chunk_size": 3, "chunk_overlap": 0,
      "separator": " ", "is_separator_regex": false},
    "formatting": {"implementation": "python_template", "template": "$chunk"},
    "destination": {"implementation": "table", "target_schema": "public", "target_table": "s{id}"}
  }}"#;

/// A vectorizer whose vectors are those of whole texts.
const TEXTS: &str = r#"{
  "id": {id}, "name": "texts", "disabled": {disabled}, "source_schema": "public",
  "source_table": "t", "source_pk": [{"attname": "id"}], "queue_schema": "ai",
  "queue_table": "_vectorizer_q_{id}", "queue_failed_table": "_vectorizer_q_failed_{id}",
  "vector": {"schema": "public", "oid": 1, "array_oid": 2}, "lease_found": true, "queue_found": true,
  "columns": [
    {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
    {"name": "body", "type": "text", "base": "text", "equals": null},
    {"name": "v", "type": "vector(2)", "base": "vector", "equals": null}],
  "config": {
    "loading": {"implementation": "column", "column_name": "body"},
    "embedding": {"implementation": "ollama", "model": "m{id}", "dimensions": 2},
    "chunking": {"implementation": "none"},
    "formatting": {"implementation": "python_template", "template": "$chunk"},
    "destination": {"implementation": "column", "embedding_column": "v"}
  }}"#;
