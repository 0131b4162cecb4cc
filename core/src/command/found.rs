//! What `search` and `evaluate` ask of `ai.search` and `ai.hybrid_search`, as the calling role.

use crate::query::{Param, Query};
use crate::sql::literal;

use super::Ask;

/// The arms of a hybrid search, and how they are combined.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arm {
    Hybrid,
    Text,
    Vector,
}

/// The call of the function for an arm, in the generation of this number; `options` are further arguments, each with a
/// comma before it.
pub(crate) fn call(
    arm: Arm,
    (vectorizer, generation): (i64, i64),
    words: &str,
    vector: &[f32],
    k: u32,
    options: &str,
) -> String {
    let vector = format!("'{}'", self::vector(vector));
    let k = k.min(i32::MAX.unsigned_abs());
    match arm {
        Arm::Vector => {
            format!("ai.search({vectorizer}, {vector}, {k}, generation => {generation}{options})")
        }
        Arm::Hybrid | Arm::Text => format!(
            "ai.hybrid_search({vectorizer}, {}, {}, {k}, generation => {generation}{options})",
            text(words),
            if arm == Arm::Text { "null" } else { &vector },
        ),
    }
}

/// A vector as pgvector reads it.
pub(crate) fn vector(numbers: &[f32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// A text as a literal. (PostgreSQL's texts cannot contain the character 0.)
pub(crate) fn text(text: &str) -> String {
    literal(&text.replace('\0', " "))
}

/// The expressions of the key's columns in `found.key`.
pub(super) fn key(columns: &[String]) -> String {
    let columns = columns
        .iter()
        .map(|name| format!("found.key ->> {}", literal(name)));
    columns.collect::<Vec<_>>().join(", ")
}

/// Runs a statement whose rows are arrays of this many texts, restricted to what the calling role can see.
pub(super) fn ask(statement: &str, fields: usize) -> Ask {
    // The statement contains its values: it is different each time.
    Ask::Query(query(statement, fields, [Param::Text(None), Param::Int(0)]))
}

/// The same, with the statement's parameters: a text, and a number.
pub(crate) fn query(statement: &str, fields: usize, params: [Param; 2]) -> Query {
    let fields: Vec<String> = (1..=fields).map(|at| format!("f.found[{at}]")).collect();
    let sql = format!(
        "select {} from ai._with_row_security({}, $1::text, $2::bigint) as f(found)",
        fields.join(", "),
        literal(statement)
    );
    Query::Command {
        sql,
        params: params.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let call = call(
            Arm::Text,
            (7, 8),
            "it's '); drop",
            &[1.0, 2.5],
            u32::MAX,
            "",
        );
        assert_eq!(
            call,
            "ai.hybrid_search(7, 'it''s ''); drop', null, 2147483647, generation => 8)"
        );
        let call = super::call(
            Arm::Vector,
            (7, 7),
            "",
            &[1.0, 2.5],
            3,
            ", best_per_row => true",
        );
        assert_eq!(
            call,
            "ai.search(7, '[1,2.5]', 3, generation => 7, best_per_row => true)"
        );
        assert_eq!(key(&["a'b".to_owned()]), "found.key ->> 'a''b'");
    }
}
