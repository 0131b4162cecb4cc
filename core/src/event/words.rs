//! The words of events in logs.

use std::time::Duration;

use super::{Event, Level};

impl Event {
    /// The severity.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::Committed { .. } | Self::Progress { .. } => Level::Debug,
            Self::DatabaseBack { .. }
            | Self::ChangeAdvanced { .. }
            | Self::Finished { .. }
            | Self::IndexBuilt { .. }
            | Self::IndexProgress { .. }
            | Self::IndexStarted { .. }
            | Self::ResyncStarted { .. }
            | Self::Resumed { .. }
            | Self::Running { .. }
            | Self::Started { .. }
            | Self::Stopping { .. }
            | Self::TextsChanged { .. }
            | Self::Working { .. } => Level::Info,
            Self::ResyncEnded { failed: true, .. } => Level::Error,
            Self::ResyncEnded { reason, .. } => {
                if reason.is_some() {
                    Level::Warning
                } else {
                    Level::Info
                }
            }
            Self::Stopped { failure, .. } => {
                if failure.is_some() {
                    Level::Error
                } else {
                    Level::Info
                }
            }
            Self::Advice { .. }
            | Self::DatabaseTrouble { .. }
            | Self::IndexFailed { .. }
            | Self::NoVectorizers
            | Self::ParameterRefused { .. }
            | Self::Truncated { .. }
            | Self::Waiting { .. } => Level::Warning,
            Self::RowFailed { retry_in, .. } => {
                if retry_in.is_some() {
                    Level::Warning
                } else {
                    Level::Error
                }
            }
            Self::CeilingReached { .. }
            | Self::InvalidVectorizers { .. }
            | Self::NotInstalled { .. }
            | Self::Paused { .. }
            | Self::VectorizerBroken { .. } => Level::Error,
        }
    }

    /// The message, in the words that scripts of pgai's users search for.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Advice { message } => message.clone(),
            Self::CeilingReached { .. } => "daily ceiling reached".to_owned(),
            Self::ChangeAdvanced { .. } => "change advanced".to_owned(),
            Self::Committed { .. } => "rows embedded".to_owned(),
            Self::DatabaseBack { .. } => "the database answers again".to_owned(),
            Self::DatabaseTrouble { reason, .. } => reason.clone(),
            Self::Finished { .. } => "finished processing vectorizer".to_owned(),
            Self::IndexBuilt { of_text, .. } => format!("{} index built", kind(*of_text)),
            Self::IndexFailed { of_text, .. } => format!("{} index not built", kind(*of_text)),
            Self::IndexProgress { of_text, .. } => format!("{} index in progress", kind(*of_text)),
            Self::IndexStarted { of_text, .. } => format!("{} index started", kind(*of_text)),
            Self::InvalidVectorizers { wanted, got } => {
                format!("invalid vectorizers, wanted: {wanted:?}, got: {got:?}")
            }
            Self::NoVectorizers => "no vectorizers found".to_owned(),
            Self::NotInstalled { reason } => reason.clone(),
            Self::ParameterRefused { .. } => {
                "embedding provider rejects a parameter: the worker omits it".to_owned()
            }
            Self::Paused { .. } => "embedding provider paused".to_owned(),
            Self::Progress { .. } => "progress".to_owned(),
            Self::ResyncEnded { failed: true, .. } => "resync failed".to_owned(),
            Self::ResyncEnded { failed: false, .. } => "resync finished".to_owned(),
            Self::ResyncStarted { .. } => "resync started".to_owned(),
            Self::Resumed { .. } => "embedding provider answers again".to_owned(),
            Self::RowFailed {
                retry_in: Some(_), ..
            } => "row failed, will be tried again".to_owned(),
            Self::RowFailed { retry_in: None, .. } => "row failed for good".to_owned(),
            Self::Running { .. } => "running vectorizer".to_owned(),
            Self::Started { .. } => "worker started".to_owned(),
            Self::Stopped { .. } => "worker stopped".to_owned(),
            Self::Stopping { .. } => "stopping".to_owned(),
            Self::TextsChanged { .. } => {
                "the configuration of the texts has changed: all rows are compared".to_owned()
            }
            Self::Truncated { .. } => {
                "chunks truncated: they are longer than the model takes".to_owned()
            }
            Self::VectorizerBroken { .. } => "vectorizer cannot run".to_owned(),
            Self::Waiting { .. } => "waiting for the embedding provider".to_owned(),
            Self::Working { .. } => "embedding".to_owned(),
        }
    }

    /// The details, as names and values.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::CeilingReached {
                vectorizer,
                reason,
                resumes_in,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("reason", reason.clone()),
                ("resumes_in", seconds(*resumes_in)),
            ],
            Self::Committed {
                vectorizer,
                rows,
                embedded,
                reused,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("rows", rows.to_string()),
                ("chunks_embedded", embedded.to_string()),
                ("chunks_reused", reused.to_string()),
            ],
            Self::DatabaseBack { after } => vec![("after", seconds(*after))],
            Self::DatabaseTrouble { retry_in, .. } => vec![("retry_in", seconds(*retry_in))],
            Self::Finished {
                vectorizer,
                items,
                failed,
            } => vec![
                ("items", items.to_string()),
                ("failed", failed.to_string()),
                ("vectorizer_id", vectorizer.to_string()),
            ],
            Self::IndexBuilt {
                vectorizer, after, ..
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("after", seconds(*after)),
            ],
            Self::IndexFailed {
                vectorizer,
                reason,
                retry_in,
                ..
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("reason", reason.clone()),
                ("retry_in", seconds(*retry_in)),
            ],
            Self::IndexProgress {
                vectorizer,
                progress,
                after,
                ..
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("progress", progress.clone()),
                ("after", seconds(*after)),
            ],
            Self::IndexStarted {
                vectorizer,
                statement,
                ..
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("statement", statement.clone()),
            ],
            Self::Advice { .. }
            | Self::InvalidVectorizers { .. }
            | Self::NoVectorizers
            | Self::NotInstalled { .. } => vec![],
            Self::ParameterRefused {
                vectorizer,
                parameter,
                reason,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("parameter", (*parameter).to_owned()),
                ("reason", reason.clone()),
            ],
            Self::Paused {
                provider,
                reason,
                retry_in,
            }
            | Self::Waiting {
                provider,
                reason,
                retry_in,
            } => vec![
                ("provider", provider.clone()),
                ("reason", reason.clone()),
                ("retry_in", seconds(*retry_in)),
            ],
            Self::Progress {
                done,
                waiting,
                chunks,
            } => vec![
                ("done", done.to_string()),
                ("waiting", waiting.to_string()),
                ("chunks", chunks.to_string()),
            ],
            Self::ResyncEnded {
                vectorizer,
                counts,
                reason,
                ..
            } => {
                let mut fields = vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("rows", counts.rows.to_string()),
                    ("missing", counts.missing.to_string()),
                    ("orphans", counts.orphans.to_string()),
                    ("stale", counts.stale.to_string()),
                ];
                fields.extend(reason.clone().map(|reason| ("reason", reason)));
                fields
            }
            Self::ResyncStarted {
                vectorizer,
                verifies_text,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("verify_text", verifies_text.to_string()),
            ],
            Self::Resumed { provider } => vec![("provider", provider.clone())],
            Self::RowFailed {
                vectorizer,
                key,
                step,
                reason,
                retry_in,
            } => {
                let mut fields = vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("key", key.clone()),
                    ("step", (*step).to_owned()),
                    ("reason", reason.clone()),
                ];
                fields.extend(retry_in.map(|retry_in| ("retry_in", seconds(retry_in))));
                fields
            }
            Self::Running { vectorizer, name } => {
                vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("name", name.clone()),
                ]
            }
            Self::Started { version } => vec![("version", version.clone())],
            Self::Stopped {
                rows,
                failed,
                waiting,
                failure,
            } => {
                let mut fields = vec![("rows", rows.to_string()), ("failed", failed.to_string())];
                fields.extend(waiting.map(|waiting| ("waiting", waiting.to_string())));
                fields.extend(failure.clone().map(|failure| ("failure", failure)));
                fields
            }
            Self::Stopping { batches } => vec![("batches", batches.to_string())],
            Self::ChangeAdvanced { vectorizer, state } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("state", state.clone()),
            ],
            Self::TextsChanged { vectorizer } => {
                vec![("vectorizer_id", vectorizer.to_string())]
            }
            Self::Truncated {
                vectorizer,
                chunks,
                bytes,
            } => {
                let mut fields = vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("chunks", chunks.to_string()),
                ];
                fields.extend(bytes.map(|bytes| ("bytes_not_embedded", bytes.to_string())));
                fields
            }
            Self::VectorizerBroken { vectorizer, reason } => {
                vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("reason", reason.clone()),
                ]
            }
            Self::Working {
                vectorizer,
                name,
                items,
                failed,
                during,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("name", name.clone()),
                ("items", items.to_string()),
                ("failed", failed.to_string()),
                ("during", seconds(*during)),
            ],
        }
    }
}

/// The kind of an index, in words.
const fn kind(of_text: bool) -> &'static str {
    if of_text { "text" } else { "vector" }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}
