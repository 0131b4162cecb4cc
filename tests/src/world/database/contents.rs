//! What stands in the tables, as lines that can be compared with those of a real database.

use std::time::Duration;

use super::Database;
use crate::replay::Line;

impl Database {
    /// All of it: the queue in the order in which it is served, the rest in the order of the keys.
    pub(in crate::world) fn contents(&self, now: Duration) -> Vec<Line> {
        let now = self.clock(now);
        let tables = self.tables();
        let mut lines = vec![];
        for (key, text) in &tables.source {
            let vector = tables.vectors.get(key).map(|vector| written(vector));
            let vector = vector.unwrap_or_default();
            lines.push(Line::new(format!("source {key}: {text}; {vector}"), None));
        }
        let mut queue: Vec<_> = tables.items.iter().collect();
        queue.sort_by_key(|(key, item)| (item.queued_at, **key));
        for (key, item) in queue {
            let line = format!("queue {key}: {} retries", item.retries);
            lines.push(Line::new(line, Some(item.generation)));
        }
        for (key, lease) in &tables.leases {
            let (claim, attempts, failures) = (lease.claim, lease.attempts, lease.failures);
            let live = if lease.until > now { "live" } else { "expired" };
            let line = format!("lease {key}: {claim}, {attempts}, {failures}, {live}");
            lines.push(Line::new(line, Some(lease.generation)));
        }
        for (key, reason) in &tables.failed {
            lines.push(Line::new(format!("failed {key}: {reason}"), None));
        }
        for ((key, place), (chunk, vector)) in &tables.store {
            let line = format!("store {key}, {place}: {chunk}; {}", written(vector));
            lines.push(Line::new(line, None));
        }
        lines
    }
}

/// A vector as the extension writes it.
fn written(vector: &[f32]) -> String {
    let numbers: Vec<_> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}
