//! A sentence-transformers model in this process: texts in, vectors out, no server and no key.
//!
//! [`Model::find`] finds the directory of a name, [`Model::open`] reads a directory in Hugging Face
//! layout, [`Model::embed`] computes the vectors. The crate starts no threads of its own, and
//! downloads nothing. A call computes on the caller's thread and on rayon's until it is done, so a
//! shell with other tasks calls it from a separate thread. A [`Model`] is `Send` and `Sync`; a
//! shared model is loaded once.
//!
//! ```text
//! config.json ───────────────┐
//! modules.json ── 1_Pooling/ ┼─> Description ─┐
//! sentence_bert_config.json ─┘                │
//! model.safetensors ─────────> Weights ───> Bert ─┐
//! tokenizer.json ──────────────────> Tokenizer ───┴─> Model
//! ```
//!
//! # Supported models
//!
//! Models of type `bert` with absolute positions and GELU, mean or cls pooling, with or without
//! normalisation, weights in float32, float16 or bfloat16 (computed in float32). [`Model::open`]
//! returns an error for other models, because a vector that is only almost correct is worse than
//! none.
//!
//! [`CrossEncoder::open`] reads a model of the same kind that classifies pairs of texts with one label, as those of
//! sentence-transformers for reranking do.
//!
//! # Reproducibility
//!
//! A vector depends on its text only. The texts of one call are computed together, but without
//! padding, so other texts of the call do not change a vector.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod bert;
mod cross;
mod description;
mod find;
mod kernel;
mod model;
mod weights;

pub use cross::CrossEncoder;
pub use description::OpenError;
pub use find::FindError;
pub use model::{EmbedError, Embedded, Model};
