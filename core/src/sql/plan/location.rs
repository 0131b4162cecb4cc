//! Where chunks come from, in the statements of a store that has a column for it.

use super::Values;

impl Values {
    /// What the statements say in addition about where chunks come from.
    pub(super) fn location(&mut self, has_location: bool) {
        let number = self.0.get("c.location");
        let parameter = number.map(|number| format!(", ${number}::text[]"));
        for (name, text) in [
            ("c.location array", parameter.unwrap_or_default().as_str()),
            ("location column", ", location"),
            ("p.location", ", p.location::jsonb"),
            ("t.location", ", t.location::text"),
            ("excluded.location", ", location = excluded.location"),
            (
                "hash of t.location",
                " || coalesce(':' || encode(sha256(convert_to(t.location::text, 'UTF8')), 'hex'), '')",
            ),
        ] {
            let text = if has_location { text } else { "" };
            self.set(name, text.to_owned());
        }
    }
}
