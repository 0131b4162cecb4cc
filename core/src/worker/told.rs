//! What the operator is told of rows and of vectorizers, and what is counted and recorded of them.

use super::batch::Report;
use super::{Worker, failure};
use crate::cut::cut;
use crate::event::Event;
use crate::query::ErrorRecord;

impl Worker {
    /// Counts and tells what a statement brought about.
    pub(super) fn tell(&mut self, vectorizer: i64, report: Report) {
        let failed = report.failed.len() as u64;
        self.summary.rows += report.rows;
        self.summary.failed += failed;
        self.meters.rows(vectorizer, &report);
        self.session.count(vectorizer, report.rows);
        if let Some(state) = self.vectorizers.get_mut(&vectorizer) {
            state.news.count(report.rows, failed);
        }
        for (key, failure, retry_in) in report.failed {
            self.session.count_error(vectorizer, &failure.reason);
            self.events.push_back(Event::RowFailed {
                vectorizer,
                key: cut(&key.to_string()),
                step: failure.step,
                reason: failure.reason,
                retry_in,
            });
        }
        if report.rows > 0 {
            self.events.push_back(Event::Committed {
                vectorizer,
                rows: report.rows,
                embedded: report.embedded,
                reused: report.reused,
            });
            self.progressed(vectorizer, report.rows, report.embedded + report.reused);
        }
    }

    /// Something is wrong with a vectorizer as a whole: it is paused, with one event and one record.
    pub(super) fn record(&mut self, vectorizer: i64, message: &'static str, reason: &str) {
        let provider = self
            .provider_of(vectorizer)
            .filter(|_| message == failure::EMBEDDING);
        self.record_of(vectorizer, message, reason, provider);
    }

    pub(super) fn record_of(
        &mut self,
        vectorizer: i64,
        message: &'static str,
        reason: &str,
        provider: Option<&str>,
    ) {
        let mut details = serde_json::json!({ "error_reason": reason });
        if let Some(provider) = provider {
            details["provider"] = provider.into();
        }
        self.records.push(ErrorRecord {
            vectorizer,
            message,
            details: details.to_string(),
        });
        self.session.count_error(vectorizer, reason);
    }
}
