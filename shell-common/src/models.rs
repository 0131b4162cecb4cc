//! Models in the worker process. Without the feature `local` there are none, and each request gets an
//! error that says so.

use pgai_core::{ModelAnswer, ModelError, ModelRequest};

#[cfg(feature = "local")]
pub use with_models::Models;
#[cfg(not(feature = "local"))]
pub use without_models::Models;

/// Sets the variable that says how many threads a model has, unless it is set. Without it the crate candle reads
/// `/proc/cpuinfo` for each product of two matrices: 3 of the 17 milliseconds of a search on two cores, and the file
/// is longer where there are more. It must be called before threads start.
#[cfg(feature = "local")]
pub(crate) fn set_threads() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Nothing but a slower model comes of an error.
    let _ = dotenvy::from_read(format!("RAYON_NUM_THREADS={threads}").as_bytes());
}

/// There are no models.
#[cfg(not(feature = "local"))]
pub(crate) const fn set_threads() {}

#[cfg(feature = "local")]
mod with_models {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::{Arc, Mutex, PoisonError};

    use embed_local::{CrossEncoder, EmbedError, Model, OpenError};
    use pgai_core::{Tokenizer, Wanted};

    use super::{ModelAnswer, ModelError, ModelRequest};

    /// The models that have been loaded, each once.
    #[derive(Debug, Default)]
    pub struct Models {
        loaded: Loaded<Model>,
        rerankers: Loaded<CrossEncoder>,
    }

    /// Models by their names.
    type Loaded<T> = Mutex<BTreeMap<String, Arc<T>>>;

    impl Models {
        /// Computes on as many threads as the machine has, and blocks the caller.
        ///
        /// # Errors
        /// If the model cannot be used, or a text cannot be embedded.
        pub fn answer(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
            let texts: Vec<&str> = request.texts.iter().map(|text| &**text).collect();
            if request.wanted == Wanted::Scores {
                let reranker = once(&self.rerankers, request, CrossEncoder::open)?;
                let (question, texts) = texts.split_first().unwrap_or((&"", &[]));
                let scores = reranker.scores(question, texts);
                return scores.map(ModelAnswer::Scores).map_err(explained);
            }
            let model = once(&self.loaded, request, Model::open)?;
            let embedded = match request.wanted {
                Wanted::Documents | Wanted::Scores => model.embed(&texts),
                Wanted::Queries => {
                    let prompt = model.query_prompt();
                    let texts: Vec<String> =
                        texts.iter().map(|text| format!("{prompt}{text}")).collect();
                    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                    model.embed(&texts)
                }
                Wanted::Tokenizer => {
                    let added = model.added_tokens();
                    let count = move |text: &str| match model.count_tokens(text) {
                        Ok(tokens) => tokens.saturating_sub(added),
                        // It has at most one for each byte.
                        Err(_) => text.len(),
                    };
                    let count = Arc::new(count);
                    return Ok(ModelAnswer::Tokenizer(Tokenizer { added, count }));
                }
            };
            let embedded = embedded.map_err(explained)?;
            Ok(ModelAnswer::Vectors {
                vectors: embedded.vectors,
                truncated: embedded.truncated,
            })
        }
    }

    /// The model of this name, which is loaded at first use.
    fn once<T>(
        loaded: &Loaded<T>,
        request: &ModelRequest,
        open: fn(&Path) -> Result<T, OpenError>,
    ) -> Result<Arc<T>, ModelError> {
        // Held while a model is loaded, so that none is loaded twice.
        let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = loaded.get(&request.model) {
            return Ok(Arc::clone(model));
        }
        let directory = Model::find(&request.model, request.models_dir.as_deref().map(Path::new))
            .map_err(|error| ModelError::Model(error.to_string()))?;
        let model = open(&directory).map_err(|error| ModelError::Model(error.to_string()))?;
        let model = Arc::new(model);
        loaded.insert(request.model.clone(), Arc::clone(&model));
        Ok(model)
    }

    fn explained(error: EmbedError) -> ModelError {
        let reason = error.to_string();
        match error {
            EmbedError::NotFinite { .. } | EmbedError::Tokens { .. } => ModelError::Input(reason),
            EmbedError::Computation(_) => ModelError::Broken(reason),
        }
    }
}

#[cfg(not(feature = "local"))]
mod without_models {
    use super::{ModelAnswer, ModelError, ModelRequest};

    /// No models.
    #[derive(Debug, Default)]
    pub struct Models {}

    impl Models {
        /// Returns an error that says that there are no models.
        ///
        /// # Errors
        /// Always.
        pub fn answer(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
            Err(ModelError::Model(format!(
                "the model {:?} should run in the worker's own process, and this worker was built \
                 without that: build it with --features local",
                request.model
            )))
        }
    }
}
