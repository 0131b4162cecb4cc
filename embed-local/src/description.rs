//! Reads the configuration files of a model, and checks that the model is supported.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why a directory cannot be used as a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file has the wrong content, or two files contradict each other.
    #[error("{} cannot be used: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// The directory exists, but one of its files does not.
    #[error(
        "the model in {} has no {file}; its directory needs config.json, modules.json, \
         1_Pooling/config.json, tokenizer.json and model.safetensors",
        directory.display()
    )]
    Missing {
        /// The model's directory.
        directory: PathBuf,
        /// The file, relative to it.
        file: String,
    },
    /// The directory does not exist.
    #[error("there is no model in {}: no such directory", .0.display())]
    NoDirectory(PathBuf),
    /// A file exists but cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A model of an unsupported kind.
    #[error(
        "the model in {} is not supported: {what}. What works: sentence-transformers models of \
         type bert with mean or cls pooling, such as sentence-transformers/all-MiniLM-L6-v2, \
         BAAI/bge-small-en-v1.5 or intfloat/e5-small-v2",
        directory.display()
    )]
    Unsupported {
        /// The model's directory.
        directory: PathBuf,
        /// The unsupported part.
        what: String,
    },
}

/// How the token vectors of a text are combined into one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pooling {
    /// The vector of the first token.
    Cls,
    /// The mean over all tokens.
    Mean,
}

/// The sizes of a BERT model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) heads: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    /// Added to a variance before its square root is taken.
    pub(crate) norm_epsilon: f32,
    pub(crate) positions: usize,
    pub(crate) types: usize,
    pub(crate) vocabulary: usize,
}

/// The description of a model without its weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    pub(crate) lower_case: bool,
    pub(crate) normalize: bool,
    pub(crate) pooling: Pooling,
    pub(crate) query_prompt: String,
    pub(crate) shape: Shape,
    pub(crate) tokens_max: usize,
}

impl Description {
    pub(crate) fn read(directory: &Path) -> Result<Self, OpenError> {
        if !directory.is_dir() {
            return Err(OpenError::NoDirectory(directory.to_owned()));
        }
        let shape = read_shape(directory)?;
        let (pooling, normalize) = read_modules(directory, &shape)?;
        let sentence: SentenceConfig =
            parse_if_there(directory, "sentence_bert_config.json")?.unwrap_or_default();
        let tokenizer: TokenizerConfig =
            parse_if_there(directory, "tokenizer_config.json")?.unwrap_or_default();
        // As sentence-transformers has it: what the tokenizer says counts where the model is silent.
        let tokens_max = match sentence.max_seq_length {
            Some(tokens) => tokens.min(shape.positions),
            // "No limit" is written as 1e30, which no integer holds: the cast saturates.
            None => shape.positions.min(tokenizer.model_max_length as usize),
        };
        // The first and the last are the tokenizer's own.
        if tokens_max < 3 {
            return Err(OpenError::Malformed {
                path: directory.join("sentence_bert_config.json"),
                reason: format!("{tokens_max} tokens leave no room for a text"),
            });
        }
        Ok(Self {
            lower_case: sentence.do_lower_case,
            normalize,
            pooling,
            query_prompt: read_query_prompt(directory)?,
            shape,
            tokens_max,
        })
    }
}

/// The sizes of a model that classifies pairs of texts with one label, and how many tokens it reads of a pair.
pub(crate) fn read_pair_classifier(directory: &Path) -> Result<(Shape, usize), OpenError> {
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory(directory.to_owned()));
    }
    let shape = read_shape(directory)?;
    let labels: Labels = parse(directory, "config.json")?;
    if let Some(labels) = labels.id2label.filter(|labels| labels.len() != 1) {
        return Err(OpenError::Unsupported {
            directory: directory.to_owned(),
            what: format!("it is no reranker: it has {} labels, not one", labels.len()),
        });
    }
    let tokenizer: TokenizerConfig =
        parse_if_there(directory, "tokenizer_config.json")?.unwrap_or_default();
    let tokens_max = shape.positions.min(tokenizer.model_max_length as usize);
    // Three are the tokenizer's own, and each text has one at least.
    if tokens_max < 5 {
        return Err(OpenError::Malformed {
            path: directory.join("config.json"),
            reason: format!("{tokens_max} tokens leave no room for two texts"),
        });
    }
    Ok((shape, tokens_max))
}

/// The labels of `config.json`, by their numbers.
#[derive(Deserialize)]
struct Labels {
    id2label: Option<BTreeMap<String, String>>,
}

/// The fields of `config.json` that are checked before all others.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    model_type: String,
}

#[derive(Deserialize)]
struct BertConfig {
    #[serde(default = "gelu")]
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default = "norm_epsilon")]
    layer_norm_eps: f32,
    max_position_embeddings: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default = "types")]
    type_vocab_size: usize,
    vocab_size: usize,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn norm_epsilon() -> f32 {
    1e-12
}

fn types() -> usize {
    2
}

#[derive(Deserialize)]
struct ModuleEntry {
    #[serde(default)]
    path: String,
    r#type: String,
}

/// Older files have one flag for each mode, newer ones a name.
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode: Option<String>,
    #[serde(flatten)]
    flags: serde_json::Map<String, serde_json::Value>,
}

/// The prompts in front of a text, by the purpose of the vector.
#[derive(Default, Deserialize)]
struct PromptConfig {
    #[serde(default)]
    default_prompt_name: Option<String>,
    #[serde(default)]
    prompts: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
struct SentenceConfig {
    #[serde(default)]
    do_lower_case: bool,
    #[serde(default)]
    max_seq_length: Option<usize>,
}

#[derive(Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    model_max_length: f64,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            model_max_length: f64::INFINITY,
        }
    }
}

fn read_shape(directory: &Path) -> Result<Shape, OpenError> {
    let unsupported = |what: String| OpenError::Unsupported {
        directory: directory.to_owned(),
        what,
    };
    let kind: Kind = parse(directory, "config.json")?;
    if kind.model_type != "bert" {
        return Err(unsupported(match kind.model_type.as_str() {
            "" => "its config.json names no model_type".to_owned(),
            other => format!("it is of type {other}"),
        }));
    }
    let config: BertConfig = parse(directory, "config.json")?;
    if config.hidden_act != "gelu" {
        return Err(unsupported(format!(
            "its activation is {}, not gelu",
            config.hidden_act
        )));
    }
    if let Some(other) = config.position_embedding_type
        && other != "absolute"
    {
        return Err(unsupported(format!("its positions are {other}")));
    }
    if config.is_decoder {
        return Err(unsupported("it is a decoder".to_owned()));
    }
    let shape = Shape {
        heads: config.num_attention_heads,
        hidden: config.hidden_size,
        intermediate: config.intermediate_size,
        layers: config.num_hidden_layers,
        norm_epsilon: config.layer_norm_eps,
        positions: config.max_position_embeddings,
        types: config.type_vocab_size,
        vocabulary: config.vocab_size,
    };
    let sizes = [shape.heads, shape.hidden, shape.intermediate, shape.types];
    if sizes.contains(&0) || !shape.hidden.is_multiple_of(shape.heads) {
        return Err(OpenError::Malformed {
            path: directory.join("config.json"),
            reason: format!("sizes that no model has: {shape:?}"),
        });
    }
    Ok(shape)
}

/// Follows the chain of modules: a transformer, a pooling, perhaps a normalisation.
fn read_modules(directory: &Path, shape: &Shape) -> Result<(Pooling, bool), OpenError> {
    let file = "modules.json";
    let entries: Vec<ModuleEntry> = parse(directory, file)?;
    // Only the last part of the name: its packages have moved between versions.
    let kinds: Vec<&str> = entries
        .iter()
        .map(|entry| entry.r#type.rsplit('.').next().unwrap_or_default())
        .collect();
    let normalize = match kinds.as_slice() {
        ["Transformer", "Pooling"] => false,
        ["Transformer", "Pooling", "Normalize"] => true,
        other => {
            return Err(OpenError::Unsupported {
                directory: directory.to_owned(),
                what: format!("its modules are {}", other.join(", ")),
            });
        }
    };
    for entry in &entries {
        // A model is one directory: what it names lies in it.
        let inside = Path::new(&entry.path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(OpenError::Malformed {
                path: directory.join(file),
                reason: format!("{:?} is not in the model's directory", entry.path),
            });
        }
    }
    if !entries[0].path.is_empty() {
        return Err(OpenError::Unsupported {
            directory: directory.to_owned(),
            what: format!("its transformer is in {}", entries[0].path),
        });
    }
    let pooling = read_pooling(directory, &entries[1].path, shape)?;
    Ok((pooling, normalize))
}

fn read_pooling(directory: &Path, module: &str, shape: &Shape) -> Result<Pooling, OpenError> {
    let file = format!("{module}/config.json");
    let config: PoolingConfig = parse(directory, &file)?;
    let flagged = config
        .flags
        .iter()
        .filter(|(_, value)| value.as_bool() == Some(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"));
    let modes: Vec<&str> = match &config.pooling_mode {
        Some(mode) => vec![mode],
        None => flagged.collect(),
    };
    let pooling = match modes.as_slice() {
        ["cls" | "cls_token"] => Pooling::Cls,
        ["mean" | "mean_tokens"] => Pooling::Mean,
        other => {
            return Err(OpenError::Unsupported {
                directory: directory.to_owned(),
                what: format!("its pooling is {}", other.join(" with ")),
            });
        }
    };
    let width = config
        .flags
        .get("word_embedding_dimension")
        .and_then(serde_json::Value::as_u64);
    match width {
        Some(width) if width != shape.hidden as u64 => Err(OpenError::Malformed {
            path: directory.join(&file),
            reason: format!("{width} dimensions, and config.json has {}", shape.hidden),
        }),
        Some(_) | None => Ok(pooling),
    }
}

fn read_query_prompt(directory: &Path) -> Result<String, OpenError> {
    let config: PromptConfig =
        parse_if_there(directory, "config_sentence_transformers.json")?.unwrap_or_default();
    let mut prompts = config.prompts.unwrap_or_default();
    if let Some(name) = config.default_prompt_name {
        return Err(OpenError::Unsupported {
            directory: directory.to_owned(),
            what: format!("it puts its prompt {name:?} before every text"),
        });
    }
    Ok(prompts.remove("query").flatten().unwrap_or_default())
}

/// Reads one file of a model; the error says whether it is missing.
pub(crate) fn read(directory: &Path, file: &str) -> Result<Vec<u8>, OpenError> {
    fs::read(directory.join(file)).map_err(|source| unreadable(directory, file, source))
}

/// The error for a file that cannot be opened or read.
pub(crate) fn unreadable(directory: &Path, file: &str, source: io::Error) -> OpenError {
    if source.kind() == io::ErrorKind::NotFound {
        return OpenError::Missing {
            directory: directory.to_owned(),
            file: file.to_owned(),
        };
    }
    OpenError::Unreadable {
        path: directory.join(file),
        source,
    }
}

fn parse<T: DeserializeOwned>(directory: &Path, file: &str) -> Result<T, OpenError> {
    let bytes = read(directory, file)?;
    serde_json::from_slice(&bytes).map_err(|error| OpenError::Malformed {
        path: directory.join(file),
        reason: error.to_string(),
    })
}

fn parse_if_there<T: DeserializeOwned>(
    directory: &Path,
    file: &str,
) -> Result<Option<T>, OpenError> {
    match parse(directory, file) {
        Err(OpenError::Missing { .. }) => Ok(None),
        other => other.map(Some),
    }
}
