//! A sentence-transformers model in this process: texts in, vectors out, no server and no key.
//!
//! [`Model::find`] turns a name into a directory, [`Model::open`] reads a directory in the Hugging
//! Face layout, [`Model::embed`] makes the vectors. Nothing here starts a thread, waits or fetches
//! anything: a call computes until it is done, on the caller's thread and on rayon's, and a shell
//! that has other things to do calls it from a thread of its own. A [`Model`] is `Send` and `Sync`;
//! one that is shared is loaded once.
//!
//! ```text
//! config.json ───────────────┐
//! modules.json ── 1_Pooling/ ┼─> Description ─┐
//! sentence_bert_config.json ─┘                │
//! model.safetensors ─────────> Weights ───> Bert ─┐
//! tokenizer.json ──────────────────> Tokenizer ───┴─> Model
//! ```
//!
//! # What works
//!
//! Models of type `bert` with absolute positions and GELU, mean or cls pooling, with or without
//! normalisation, weights in float32, float16 or bfloat16 (computed in float32). A model of any
//! other kind is refused by [`Model::open`], because a vector that is nearly right is worse than
//! none.
//!
//! # What a vector depends on
//!
//! On its text alone. Texts of one call are computed together, but without padding: the neighbours
//! of a text in a call change nothing in its vector.

mod bert;
mod description;
mod find;
mod kernel;
mod model;
mod weights;

pub use description::OpenError;
pub use find::FindError;
pub use model::{EmbedError, Embedded, Model};
