//! The checks of documents, in the statements of a vectorizer that makes them.

use super::{KeyColumn, PlanInput, Values, fill};
use crate::sql::documents::{
    CHECKED, CHECKED_AT_ONCE, DOCUMENT_JOINED, GIVEN_UP, READ_DOCUMENT, WAITING_MAX,
};

impl Values {
    pub(super) fn documents(&mut self, input: &PlanInput<'_>) {
        let seconds = input.refresh.unwrap_or_default();
        self.set("refresh", seconds.to_string());
        self.set("number", input.number.to_string());
        self.set("checked at once", CHECKED_AT_ONCE.to_string());
        self.set("waiting max", WAITING_MAX.to_string());
        let typed =
            |at: usize, column: &KeyColumn| format!("d.key[{at}]::{} as k{at}", column.type_name);
        let each = |of: &dyn Fn(usize, &KeyColumn) -> String| {
            let columns = input.key.iter().zip(1..);
            let columns: Vec<_> = columns.map(|(column, at)| of(at, column)).collect();
            columns.join(", ")
        };
        self.set("d.key typed", each(&typed));
        for alias in ["i", "z"] {
            let name = format!("{alias}.keys as text");
            self.set(&name, each(&|at, _| format!("{alias}.k{at}::text")));
        }
        // The parameters that follow those of the chunks.
        let first = input.key.len() + 10 + usize::from(input.has_location);
        self.set("d.source", first.to_string());
        self.set("d.validator", (first + 1).to_string());
        for (name, text) in [
            ("read document", READ_DOCUMENT),
            ("document joined", DOCUMENT_JOINED),
            ("checked", CHECKED),
            ("given up documents", GIVEN_UP),
        ] {
            let text = input.refresh.map_or("", |_| text);
            let text = fill(text, &self.0);
            self.set(name, text);
        }
    }
}
