//! Models in the worker's own process.
//!
//! Both workers are made with this file (`shell-blocking` includes it by its path).

use pgai_core::{LocalAnswer, LocalError, LocalRequest};

/// The models that have been loaded, each once.
#[derive(Debug, Default)]
pub struct Models {}

impl Models {
    /// Computes, on as many threads as the machine has; the caller waits.
    ///
    /// # Errors
    /// If the model cannot be used, or a text is not to be embedded.
    pub fn answer(&self, _request: &LocalRequest) -> Result<LocalAnswer, LocalError> {
        Err(LocalError::Model(
            "this worker was built without local models: build it with --features local".to_owned(),
        ))
    }
}
