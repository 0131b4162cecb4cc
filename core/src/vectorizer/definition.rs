//! A vectorizer as the database returns it: what is configured, and what the catalog says.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::Provider;
use crate::settings::Settings;
use crate::sql::qualified;
use crate::standing::Standing;

/// A row of `ai.vectorizer` with information about its tables from the catalog.
#[derive(Debug, Deserialize)]
pub(crate) struct Definition {
    pub(crate) id: i64,
    /// The number in the names of its lease and its bell, if it is another one.
    pub(super) number: Option<i64>,
    /// Whether it is the other generation of a vectorizer that changes to another model.
    #[serde(default)]
    pub(crate) is_generation: bool,
    pub(crate) name: String,
    /// Workers leave it alone: it is disabled or paused.
    pub(crate) disabled: bool,
    #[serde(default)]
    pub(crate) paused: bool,
    pub(super) source_schema: String,
    pub(super) source_table: String,
    pub(super) source_pk: Vec<SourceKey>,
    pub(super) queue_schema: Option<String>,
    pub(super) queue_table: Option<String>,
    pub(super) queue_failed_table: Option<String>,
    pub(super) config: Config,
    /// `None` only without a database: in tests of the core.
    pub(crate) standing: Option<Standing>,
    #[serde(default)]
    pub(super) made_by: MadeBy,
    pub(super) stored_dimensions: Option<usize>,
    /// The type of the column that holds the vectors: `vector` or `halfvec`.
    #[serde(default)]
    pub(super) stored_type: Option<String>,
    #[serde(default)]
    pub(super) time_zone: String,
    /// The database's encoding, by PostgreSQL's name.
    #[serde(default = "utf8")]
    pub(super) encoding: String,
    pub(super) vector: Option<VectorType>,
    pub(super) lease_found: bool,
    pub(super) queue_found: bool,
    /// A schema of the vectorizer that the worker's role cannot use.
    #[serde(default)]
    pub(super) closed_schema: Option<String>,
    pub(super) columns: Option<Vec<Column>>,
}

pub(super) fn utf8() -> String {
    "UTF8".to_owned()
}

/// Digests of the configuration that determines the vectors and the texts of a vectorizer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct MakerDigests {
    pub(crate) vectors: String,
    pub(crate) texts: String,
}

impl MakerDigests {
    /// These digests.
    #[must_use]
    pub fn new(vectors: &str, texts: &str) -> Self {
        Self {
            vectors: vectors.to_owned(),
            texts: texts.to_owned(),
        }
    }

    /// Both as one text.
    pub(super) fn joined(&self) -> String {
        format!("{} {}", self.vectors, self.texts)
    }
}

/// The current configuration, and the one that made the stored vectors and texts.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MadeBy {
    #[serde(flatten)]
    pub(super) now: MakerDigests,
    pub(super) recorded: Option<Recorded>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Recorded {
    #[serde(flatten)]
    pub(super) digests: MakerDigests,
    /// The embedding configuration.
    pub(super) embedding: Value,
}

/// The type `vector` of the extension.
#[derive(Debug, Deserialize)]
pub(super) struct VectorType {
    pub(super) schema: String,
    pub(super) oid: u32,
    pub(super) array_oid: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct SourceKey {
    pub(super) attname: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) base: String,
    pub(super) equals: Option<String>,
    pub(super) after: Option<String>,
    pub(super) at_most: Option<String>,
    #[serde(default)]
    pub(super) fits_in_array: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Config {
    pub(super) loading: Loading,
    pub(super) parsing: Option<Parsing>,
    pub(super) embedding: Value,
    pub(super) chunking: Value,
    pub(super) formatting: Formatting,
    pub(super) processing: Option<Processing>,
    #[serde(default)]
    pub(super) indexing: Value,
    pub(super) destination: DestinationConfig,
}

#[derive(Debug, Deserialize)]
pub(super) struct Parsing {
    pub(super) implementation: String,
    /// Of a docling-serve.
    pub(super) url: Option<String>,
    pub(super) api_key_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Loading {
    pub(super) implementation: String,
    pub(super) column_name: String,
    pub(super) retries: Option<u32>,
    pub(super) aws_role_arn: Option<String>,
    /// How often documents are checked again, in seconds.
    pub(super) refresh: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Formatting {
    pub(super) implementation: String,
    pub(super) template: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Processing {
    pub(super) batch_size: Option<usize>,
    pub(super) concurrency: Option<usize>,
    pub(super) max_tokens_per_day: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DestinationConfig {
    pub(super) implementation: String,
    pub(super) embedding_column: Option<String>,
    pub(super) target_schema: Option<String>,
    pub(super) target_table: Option<String>,
    /// Of its text index.
    pub(super) hybrid: Option<Value>,
    /// Whether the store has a column that says where each chunk comes from.
    #[serde(default)]
    pub(super) location: bool,
}

impl Definition {
    /// Whether it has a text index.
    pub(crate) const fn has_text_index(&self) -> bool {
        self.config.destination.hybrid.is_some()
    }

    /// Checks that the configuration would make the same vectors as the stored ones, as far as a
    /// comparison of texts cannot show. The error says what to do.
    pub(crate) fn check_vectors(&self) -> Result<(), String> {
        let (name, embedding) = (&self.name, &self.config.embedding);
        if let MadeBy {
            now,
            recorded: Some(recorded),
        } = &self.made_by
            && recorded.digests.vectors != now.vectors
        {
            return Err(format!(
                "its embedding has changed: the stored vectors were made by {}, and vectors of two models \
                 cannot be compared; put it back with select ai.revert_embedding('{name}'), or embed all \
                 rows anew with select ai.reembed_vectorizer('{name}')",
                recorded.embedding
            ));
        }
        if let MadeBy {
            now,
            recorded: Some(recorded),
        } = &self.made_by
            && self.config.destination.implementation == "column"
            && recorded.digests.texts != now.texts
        {
            return Err(format!(
                "its texts are made differently now, and a column keeps no texts to compare with: embed all \
                 rows anew with select ai.reembed_vectorizer('{name}'), or put loading, parsing and \
                 formatting back"
            ));
        }
        match (self.stored_dimensions, embedding["dimensions"].as_u64()) {
            (Some(stored), Some(wanted)) if stored as u64 != wanted => Err(format!(
                "its vectors are stored with {stored} dimensions, and its embedding has {wanted}: put \
                 dimensions back to {stored}, or create another vectorizer"
            )),
            _ => Ok(()),
        }
    }

    /// The digests to record before anything is claimed, because none are recorded, or the texts
    /// are made differently now.
    pub(crate) fn unrecorded(&self) -> Option<MakerDigests> {
        let MadeBy { now, recorded } = &self.made_by;
        let recorded = recorded.as_ref().map(|recorded| &recorded.digests);
        (recorded != Some(now) && *now != MakerDigests::default()).then(|| now.clone())
    }

    /// What makes its vectors.
    pub(crate) fn maker(&self) -> Maker {
        let embedding = &self.config.embedding;
        let text = |name: &str| embedding[name].as_str().unwrap_or_default().to_owned();
        let dimensions = embedding["dimensions"].as_u64();
        Maker {
            provider: text("implementation"),
            model: text("model"),
            dimensions: dimensions
                .and_then(|it| it.try_into().ok())
                .unwrap_or_default(),
            digest: self.made_by.now.vectors.clone(),
        }
    }

    /// What can be searched in it, for those who search.
    pub(crate) fn summary(&self) -> Value {
        let columns = self.columns.iter().flatten();
        let columns = columns.map(|column| (column.name.clone(), json!(column.type_name)));
        json!({
            "name": self.name,
            "table": format!("{}.{}", self.source_schema, self.source_table),
            "key": self.key().collect::<Vec<_>>(),
            "columns": columns.collect::<serde_json::Map<_, _>>(),
            "text": self.config.loading.column_name,
            "hybrid": self.has_text_index(),
            "model": self.config.embedding["model"],
            "dimensions": self.config.embedding["dimensions"],
        })
    }

    /// The names of the key's columns.
    pub(crate) fn key(&self) -> impl Iterator<Item = &str> {
        self.source_pk.iter().map(|part| part.attname.as_str())
    }

    /// The embedding's implementation, if this reason is about the embedding's parameters.
    pub(crate) fn provider_at_fault(&self, reason: &str, settings: &Settings) -> Option<String> {
        let embedding = &self.config.embedding;
        let refused = Provider::from_config(embedding, settings).err()?;
        (refused == reason).then(|| embedding["implementation"].as_str().map(str::to_owned))?
    }

    /// The queue and the failed table, if they have names, quoted for SQL.
    pub(crate) fn queues(&self) -> Option<(String, String)> {
        let schema = self.queue_schema.as_deref()?;
        let queue = qualified(schema, self.queue_table.as_deref()?);
        let failed = qualified(schema, self.queue_failed_table.as_deref()?);
        Some((queue, failed))
    }
}

/// What makes vectors, as a file of embeddings says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Maker {
    /// The name of the function that made the configuration: `openai`.
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) dimensions: usize,
    /// The digest of all that decides on the vectors: also prompts and options.
    pub(crate) digest: String,
}

impl Maker {
    /// Checks that vectors of a file are such vectors. The file may come without a digest.
    pub(crate) fn check(
        &self,
        provider: &str,
        model: &str,
        dimensions: &str,
        digest: Option<&str>,
    ) -> Result<(), String> {
        let is_same = provider == self.provider
            && model == self.model
            && dimensions.parse() == Ok(self.dimensions);
        if !is_same {
            return Err(format!(
                "its vector was made by {provider}, model {model:?}, {dimensions} dimensions, and those of the \
                 vectorizer by {}, model {:?}, {} dimensions: vectors of two models cannot be compared",
                self.provider, self.model, self.dimensions
            ));
        }
        let digest = digest.filter(|digest| !digest.is_empty());
        if digest.is_some_and(|digest| digest != self.digest) {
            return Err(format!(
                "its vector was made by {provider}, model {model:?}, as those of the vectorizer, but with another \
                 prompt or other options, and such vectors cannot be compared"
            ));
        }
        Ok(())
    }
}
