//! A vectorizer in the worker: its definition from the database, parsed and checked once.

mod definition;
mod documents;
#[cfg(test)]
pub(crate) mod example;

use std::sync::Arc;

use crate::cut::cut;
use crate::document::{DoclingServe, Source};
use crate::provider::{Price, Provider};
use crate::retry;
use crate::rows::CONTEXT_NAMES;
use crate::settings::Settings;
use crate::sql::{Destination, KeyColumn, Plan, PlanInput, Searched, TemplateColumn, VectorTypes};
use crate::text::{Chunker, ChunkingError, Template};
pub use definition::MakerDigests;
use definition::{Column, Config, DestinationConfig, Formatting, Processing, VectorType, utf8};
pub(crate) use definition::{Definition, Maker};
use documents::{refresh, texts_of};

/// Everything that is fixed while a vectorizer's definition does not change.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) plan: Arc<Plan>,
    /// Where a row's document comes from, if its text is not in the column itself.
    pub(crate) documents: Option<Source>,
    /// The server that parses documents, if this worker does not.
    pub(crate) docling: Option<DoclingServe>,
    /// A digest of the configuration, if its documents are checked again.
    pub(crate) checks: Option<String>,
    pub(crate) chunker: Chunker,
    pub(crate) format: Format,
    /// Whether the store has a column that says where each chunk comes from.
    pub(crate) has_location: bool,
    pub(crate) provider: Provider,
    /// The time zone of the worker's sessions, in which values of the template are formatted.
    pub(crate) time_zone: String,
    /// Whether a worker builds a vector index.
    pub(crate) wants_index: bool,
    /// Rows in one claim.
    pub(crate) rows: usize,
    /// The number of batches in flight in the vectorizer's config.
    pub(crate) concurrency: Option<usize>,
    /// After this many failed attempts a row goes to the failed table.
    pub(crate) attempts_max: u32,
    /// What its model costs, if that is known.
    pub(crate) price: Option<Price>,
    /// The most tokens that may be embedded in a day (in UTC).
    pub(crate) tokens_per_day: Option<u64>,
}

/// How a chunk becomes the text that is embedded and stored.
#[derive(Debug)]
pub(crate) enum Format {
    ChunkValue,
    Template {
        template: Template,
        columns: Vec<TemplateColumn>,
        /// Whether it may name what stands around a chunk: [`CONTEXT_NAMES`].
        is_contextual: bool,
    },
}

/// pgai's limit for `batch_size`.
const ROWS_MAX: usize = 2048;
/// pgai's default for `retries` in the loading config.
const RETRIES: u32 = 6;
/// Operators of the types of PostgreSQL itself.
const AFTER: &str = "operator(pg_catalog.>)";
const AT_MOST: &str = "operator(pg_catalog.<=)";

impl Profile {
    /// The id of the vectorizer, and the number of the generation whose model embeds: what `ai.search` takes.
    pub(crate) fn searched(&self) -> (i64, i64) {
        (self.id, self.plan.number)
    }

    /// Parses a definition. The error says what is wrong and what to do.
    pub(crate) fn new(definition: &Definition, settings: &Settings) -> Result<Self, String> {
        let config = &definition.config;
        let source = format!("{}.{}", definition.source_schema, definition.source_table);
        may_use_queue(definition)?;
        let columns = definition.columns.as_deref().ok_or_else(|| gone(&source))?;
        let (queue_schema, queue_table, failed_table) = queue(definition, &settings.program)?;
        let standing = definition.standing.as_ref();
        let problem = standing.and_then(|known| known.problem(&definition.name, settings));
        problem.map_or(Ok(()), Err)?;
        let key = key_columns(definition, columns, &source)?;
        let (loading, documents, docling) = texts_of(config, columns, &source, settings)?;
        let provider = Provider::from_config(&config.embedding, settings)?;
        let chunker = chunker(&config.chunking, &provider).map_err(|error| error.to_string())?;
        let format = format(&config.formatting, columns, &source)?;
        let price = price(&provider, settings)?;
        let destination = destination(&config.destination, columns, &source)?;
        may_have_chunks(destination, &chunker)?;
        let vector = definition.vector.as_ref().ok_or(NO_EXTENSION)?;
        let has_location = has_location(config, destination);
        let processing = config.processing.as_ref();
        let rows = rows_in_a_claim(processing, settings);
        let plan = Plan::new(&PlanInput {
            vectorizer: definition.id,
            number: definition.number.unwrap_or(definition.id),
            source: (&definition.source_schema, &definition.source_table),
            destination,
            queue_schema,
            queue_table,
            failed_table,
            vector_schema: &vector.schema,
            vector_types: vector_types(vector),
            searched: Searched::new(
                definition.stored_type.as_deref() == Some("halfvec"),
                &config.indexing,
                provider.dimensions,
            ),
            key: &key,
            loading: &loading,
            columns: format.columns(),
            dimensions: provider.dimensions,
            has_location,
            refresh: refresh(config, documents.as_ref()),
            has_plain_texts: has_plain_texts(&chunker, &format, documents.as_ref()),
            rows,
            backoff_max: retry::ITEM.longest.as_secs(),
            is_utf8: definition.encoding == utf8(),
            made_by: &definition.made_by.now,
            row_bytes: settings.limits.row_bytes,
        });
        Ok(Self {
            id: definition.id,
            name: definition.name.clone(),
            checks: plan.refresh.map(|_| definition.made_by.now.joined()),
            plan: Arc::new(plan),
            documents,
            docling,
            chunker,
            format,
            has_location,
            provider,
            time_zone: definition.time_zone.clone(),
            wants_index: wants_index(&config.indexing) || definition.has_text_index(),
            rows,
            concurrency: concurrency(processing),
            attempts_max: config.loading.retries.unwrap_or(RETRIES).saturating_add(1),
            price,
            tokens_per_day: tokens_per_day(processing),
        })
    }
}

/// The chunker of this configuration. Sizes in tokens are in those of the model, if it runs in this process.
pub(crate) fn chunker(
    config: &serde_json::Value,
    provider: &Provider,
) -> Result<Chunker, ChunkingError> {
    match provider.tokenizer_request() {
        Some(_) => Chunker::parse_for_model(config),
        None => Chunker::parse(config),
    }
}

const fn vector_types(vector: &VectorType) -> VectorTypes {
    VectorTypes {
        vector: vector.oid,
        array: vector.array_oid,
    }
}

fn has_plain_texts(chunker: &Chunker, format: &Format, documents: Option<&Source>) -> bool {
    matches!(chunker, Chunker::None) && format.is_plain() && documents.is_none()
}

fn rows_in_a_claim(processing: Option<&Processing>, settings: &Settings) -> usize {
    let rows = processing.and_then(|processing| processing.batch_size);
    rows.unwrap_or(settings.limits.rows).clamp(1, ROWS_MAX)
}

fn concurrency(processing: Option<&Processing>) -> Option<usize> {
    processing?.concurrency.map(|batches| batches.max(1))
}

fn tokens_per_day(processing: Option<&Processing>) -> Option<u64> {
    processing?.max_tokens_per_day.map(|tokens| tokens.max(1))
}

const NO_EXTENSION: &str = "the extension vector is not installed: run create extension vector";

fn wants_index(indexing: &serde_json::Value) -> bool {
    let name = indexing["implementation"].as_str();
    !matches!(name, None | Some("none" | "default"))
}

fn has_location(config: &Config, destination: Destination<'_>) -> bool {
    config.destination.location && matches!(destination, Destination::Table(..))
}

fn may_have_chunks(destination: Destination<'_>, chunker: &Chunker) -> Result<(), String> {
    match (destination, chunker) {
        (Destination::Column(_), Chunker::None) | (Destination::Table(..), _) => Ok(()),
        (Destination::Column(_), _) => {
            Err("a column takes one vector a row: chunking must be none".to_owned())
        }
    }
}

fn gone(source: &str) -> String {
    format!("the source table {source} is gone: drop the vectorizer with ai.drop_vectorizer")
}

fn may_use_queue(definition: &Definition) -> Result<(), String> {
    let role = "this worker''s role";
    match &definition.closed_schema {
        None => Ok(()),
        Some(schema) => Err(format!(
            "permission denied for schema {schema}; let the owner of the schema ai run: \
             select ai.grant_worker_usage('{role}')"
        )),
    }
}

/// The price of a model. A ceiling in dollars cannot be kept without one.
fn price(provider: &Provider, settings: &Settings) -> Result<Option<Price>, String> {
    let model = &provider.model;
    let price = if provider.account().is_here() {
        Some(Price::FREE)
    } else {
        settings.prices.of(model)
    };
    if settings.spend_per_day.is_some() && price.is_none() {
        return Err(format!(
            "--max-spend-per-day needs the price of the model {model}, which this worker does not know: \
             give it with --prices FILE and a line in it: {model} and US dollars for a million tokens"
        ));
    }
    Ok(price)
}

impl Format {
    /// The source columns that the template names, in the order in which a read returns them.
    pub(crate) fn columns(&self) -> &[TemplateColumn] {
        match self {
            Self::ChunkValue => &[],
            Self::Template { columns, .. } => columns,
        }
    }

    /// Whether it does not change a chunk.
    fn is_plain(&self) -> bool {
        match self {
            Self::ChunkValue => true,
            Self::Template { template, .. } => template.is_plain(),
        }
    }
}

fn key_columns(
    definition: &Definition,
    columns: &[Column],
    source: &str,
) -> Result<Vec<KeyColumn>, String> {
    let mut key = vec![];
    for part in &definition.source_pk {
        let name = &part.attname;
        let column = columns
            .iter()
            .find(|column| column.name == *name)
            .ok_or_else(|| {
                format!(
                    "the key column {name:?} of {source} was renamed or dropped: \
                 rename it back, or drop the vectorizer and create it anew"
                )
            })?;
        let equals = column.equals.clone().ok_or_else(|| {
            format!(
                "{name:?} is no longer a column of the primary key of {source}: \
                     restore the key, or drop the vectorizer and create it anew"
            )
        })?;
        key.push(KeyColumn {
            name: name.clone(),
            type_name: column.type_name.clone(),
            equals,
            after: column.after.clone().unwrap_or_else(|| AFTER.to_owned()),
            at_most: column.at_most.clone().unwrap_or_else(|| AT_MOST.to_owned()),
            fits_in_array: column.fits_in_array,
        });
    }
    if key.is_empty() {
        Err("the vectorizer names no key columns".to_owned())
    } else {
        Ok(key)
    }
}

fn format(formatting: &Formatting, columns: &[Column], source: &str) -> Result<Format, String> {
    match formatting.implementation.as_str() {
        "chunk_value" => Ok(Format::ChunkValue),
        name @ ("contextual" | "python_template") => {
            let is_contextual = name == "contextual";
            let text = formatting.template.as_deref().unwrap_or("$chunk");
            let template = Template::parse(text).map_err(|error| error.to_string())?;
            let mut named: Vec<TemplateColumn> = vec![];
            let is_ours =
                |name: &str| name == "chunk" || is_contextual && CONTEXT_NAMES.contains(&name);
            for name in template.names().filter(|name| !is_ours(name)) {
                let column = columns
                    .iter()
                    .find(|column| column.name == name)
                    .ok_or_else(|| {
                        let name = cut(name);
                        format!("the template names {name:?}, which is no column of {source}")
                    })?;
                if !named.iter().any(|known| known.name == name) {
                    let base_type = column.base.clone();
                    named.push(TemplateColumn {
                        name: name.to_owned(),
                        base_type,
                    });
                }
            }
            Ok(Format::Template {
                template,
                columns: named,
                is_contextual,
            })
        }
        other => Err(format!(
            "this worker does not know the formatting implementation {:?}",
            cut(other)
        )),
    }
}

fn destination<'a>(
    config: &'a DestinationConfig,
    columns: &[Column],
    source: &str,
) -> Result<Destination<'a>, String> {
    let DestinationConfig {
        implementation,
        embedding_column,
        target_schema,
        target_table,
        hybrid: _,
        location: _,
    } = config;
    match (
        implementation.as_str(),
        embedding_column,
        target_schema,
        target_table,
    ) {
        ("table", _, Some(schema), Some(table)) => Ok(Destination::Table(schema, table)),
        ("column", Some(name), ..) if columns.iter().any(|column| column.name == *name) => {
            Ok(Destination::Column(name))
        }
        ("column", Some(name), ..) => Err(format!(
            "the column {:?} of {source} was renamed or dropped: rename it back, \
             or drop the vectorizer and create it anew",
            cut(name)
        )),
        (other, ..) => Err(format!(
            "this worker does not know the destination {:?}: \
             it knows ai.destination_table() and ai.destination_column()",
            cut(other)
        )),
    }
}

fn queue<'a>(
    definition: &'a Definition,
    program: &str,
) -> Result<(&'a str, &'a str, &'a str), String> {
    match (
        &definition.queue_schema,
        &definition.queue_table,
        &definition.queue_failed_table,
    ) {
        (Some(schema), Some(queue), Some(failed))
            if definition.queue_found && definition.lease_found =>
        {
            Ok((schema, queue, failed))
        }
        _ => Err(format!(
            "its queue or lease table is gone: drop the vectorizer and create it anew, \
             or run `{program} install` if an older version made it"
        )),
    }
}
