//! The statements of a resync. They compare a source with what is stored for it, piece by piece in
//! key order, and queue the keys that differ.
//!
//! The bounds of a piece are two keys that are known when its statement is planned, so the planner
//! can estimate the number of rows. There is one text for a piece with both bounds, and others for
//! the first, the last and the only piece. A text with `$1 is null or …` would read the whole table
//! for every piece.

mod statements;

use std::collections::BTreeMap;

use super::documents::UNCHECKED;
use super::plan::as_text;
use super::{Destination, KeyColumn, PlanInput, fill, qualified, quoted};
pub(crate) use statements::{BARRIER, SAVE, TAKE};
use statements::{
    BOUND, BOUND_OF_COLUMN, COMPARE, COMPARE_COLUMN, STARTS, STARTS_OF_COLUMN, WHY, WHY_HASHES,
    WHY_LISTED,
};
pub(super) use statements::{QUEUE, QUEUED, RENEW};

/// How source and store are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// The server compares hashes of texts: a row's text is its only chunk.
    Hashes,
    /// Only the existence of keys, and whether chunks are missing.
    Keys,
    /// Only keys without a row. All rows of the source are also returned, as `unread`; no text is
    /// read.
    Listed,
}

/// The inputs for the statements of a resync.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ResyncPlan {
    values: BTreeMap<String, String>,
    key: Vec<Ordered>,
    is_column: bool,
    /// Whether the text of a row is its only chunk, so that the server can compare them.
    pub(crate) has_plain_texts: bool,
}

/// A key column and its operators.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Ordered {
    name: String,
    type_name: String,
    after: String,
    at_most: String,
    equals: String,
}

impl ResyncPlan {
    pub(super) fn new(input: &PlanInput<'_>) -> Self {
        Self {
            values: values(input),
            key: input.key.iter().map(Ordered::new).collect(),
            is_column: matches!(input.destination, Destination::Column(_)),
            has_plain_texts: input.has_plain_texts,
        }
    }

    /// Whether the store has texts to compare.
    pub(crate) const fn stores_texts(&self) -> bool {
        !self.is_column
    }

    /// The statement that finds the end of a piece, after a key or from the beginning.
    pub(crate) fn bound(&self, is_first: bool) -> String {
        let template = if self.is_column {
            BOUND_OF_COLUMN
        } else {
            BOUND
        };
        let after = (!is_first).then_some(if self.is_column { 2 } else { 3 });
        fill(template, &self.with_range(after, None))
    }

    /// The statement that chooses where a sample is compared.
    pub(crate) fn starts(&self) -> String {
        let template = if self.is_column {
            STARTS_OF_COLUMN
        } else {
            STARTS
        };
        fill(template, &self.values)
    }

    /// The statement that compares a piece, between its bounds.
    pub(crate) fn compare(&self, depth: Depth, is_first: bool, is_last: bool) -> String {
        let after = (!is_first).then_some(1);
        let to = (!is_last).then(|| 1 + if is_first { 0 } else { self.key.len() });
        let mut values = self.with_range(after, to);
        if self.is_column {
            return fill(COMPARE_COLUMN, &values);
        }
        let why = match depth {
            Depth::Hashes => WHY.replace("{more}", WHY_HASHES),
            Depth::Keys => WHY.replace("{more}", ""),
            Depth::Listed => WHY_LISTED.to_owned(),
        };
        let why = fill(&why, &values);
        values.insert("why".to_owned(), why);
        if depth == Depth::Listed {
            values.insert("s.has text".to_owned(), "true".to_owned());
        }
        let is_hashed = depth == Depth::Hashes;
        for name in ["s.hash", "t.hash"] {
            let hash = values.remove(&format!("{name} if wanted"));
            let hash = hash.filter(|_| is_hashed).unwrap_or_default();
            values.insert(name.to_owned(), hash);
        }
        fill(COMPARE, &values)
    }

    /// The values, and the conditions of a piece. A bound is named by its first parameter.
    pub(super) fn with_range(
        &self,
        after: Option<usize>,
        to: Option<usize>,
    ) -> BTreeMap<String, String> {
        let mut values = self.values.clone();
        for alias in ["s", "t"] {
            let after = after.map(|first| self.after(alias, first));
            let to = to.map(|first| self.at_most(alias, first));
            let terms: Vec<_> = after.into_iter().chain(to).collect();
            let range = if terms.is_empty() {
                "true".to_owned()
            } else {
                terms.join(" and ")
            };
            values.insert(format!("{alias} range"), range);
        }
        values
    }

    /// That the key of `alias` comes after the key in the parameters from `first` on.
    fn after(&self, alias: &str, first: usize) -> String {
        self.as_rows(alias, first, |part| &part.after)
            .unwrap_or_else(|| {
                let mut condition = "false".to_owned();
                for (column, value, part) in self.parts(alias, first).rev() {
                    let (after, equals) = (&part.after, &part.equals);
                    condition = format!(
                        "({column} {after} {value} or {column} {equals} {value} and {condition})"
                    );
                }
                condition
            })
    }

    /// That it is that key, or comes before it.
    fn at_most(&self, alias: &str, first: usize) -> String {
        self.as_rows(alias, first, |part| &part.at_most).unwrap_or_else(|| {
            let mut condition = "true".to_owned();
            for (column, value, part) in self.parts(alias, first).rev() {
                let (at_most, equals) = (&part.at_most, &part.equals);
                condition = format!(
                    "({column} {at_most} {value} and (not {column} {equals} {value} or {condition}))"
                );
            }
            condition
        })
    }

    /// A row comparison, which can use a multicolumn index. It has one operator, so it is not possible
    /// for types whose operators are in different schemas.
    fn as_rows(&self, alias: &str, first: usize, of: fn(&Ordered) -> &String) -> Option<String> {
        let operator = of(self.key.first()?);
        if self.key.iter().any(|part| of(part) != operator) {
            return None;
        }
        let (columns, values): (Vec<_>, Vec<_>) = self
            .parts(alias, first)
            .map(|(column, value, _)| (column, value))
            .unzip();
        Some(match (columns.as_slice(), values.as_slice()) {
            ([column], [value]) => format!("{column} {operator} {value}"),
            _ => format!(
                "({}) {operator} ({})",
                columns.join(", "),
                values.join(", ")
            ),
        })
    }

    fn parts<'a>(
        &'a self,
        alias: &'a str,
        first: usize,
    ) -> impl DoubleEndedIterator<Item = (String, String, &'a Ordered)> {
        let parts = self.key.iter().enumerate();
        parts.map(move |(at, part)| {
            let column = format!("{alias}.{}", part.name);
            let value = format!("${}::text::{}", first + at, part.type_name);
            (column, value, part)
        })
    }
}

impl Ordered {
    fn new(column: &KeyColumn) -> Self {
        Self {
            name: quoted(&column.name),
            type_name: column.type_name.clone(),
            after: column.after.clone(),
            at_most: column.at_most.clone(),
            equals: column.equals.clone(),
        }
    }
}

fn values(input: &PlanInput<'_>) -> BTreeMap<String, String> {
    let key = input.key;
    let each = |of: &dyn Fn(usize, &str) -> String| {
        let parts = key.iter().zip(1..);
        let parts = parts.map(|(column, at)| of(at, &quoted(&column.name)));
        parts.collect::<Vec<_>>().join(", ")
    };
    let queue = |table: &str| qualified(input.queue_schema, table);
    let loading = as_text(input.loading);
    let mut values = BTreeMap::from(
        [
            ("source", qualified(input.source.0, input.source.1)),
            ("queue", queue(input.queue_table)),
            ("failed", queue(input.failed_table)),
            ("s.keys", each(&|_, name| format!("s.{name}"))),
            (
                "s.keys as k",
                each(&|at, name| format!("s.{name} as k{at}")),
            ),
            ("s.keys as text", each(&|_, name| format!("s.{name}::text"))),
            ("t.keys as text", each(&|_, name| format!("t.{name}::text"))),
            ("s.keys desc", each(&|_, name| format!("s.{name} desc"))),
            ("t.keys desc", each(&|_, name| format!("t.{name} desc"))),
            ("t.keys", each(&|_, name| format!("t.{name}"))),
            (
                "t.keys as k",
                each(&|at, name| format!("t.{name} as k{at}")),
            ),
            ("x.keys", each(&|at, _| format!("x.k{at}"))),
            ("x.keys as text", each(&|at, _| format!("x.k{at}::text"))),
            ("f.keys", each(&|at, _| format!("f.k{at}"))),
            ("f.keys as text", each(&|at, _| format!("f.k{at}::text"))),
            (
                "coalesced keys",
                each(&|at, _| format!("coalesce(a.k{at}, b.k{at}) as k{at}")),
            ),
            ("s.loading", format!("s.{}", quoted(&input.loading.name))),
            (
                "s.hash if wanted",
                format!(", sha256(convert_to({loading}, 'UTF8')) as hash"),
            ),
            (
                "t.hash if wanted",
                ", (array_agg(sha256(convert_to(t.chunk, 'UTF8'))))[1] as hash".to_owned(),
            ),
            (
                "s.has text",
                format!(
                    "coalesce(octet_length(s.{}) > 0, false)",
                    quoted(&input.loading.name)
                ),
            ),
            ("q=d", lookup(key, "q")),
            ("f=d", lookup(key, "f")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let sides = key.iter().zip(1..);
    let sides = sides.map(|(column, at)| format!("a.k{at} {} b.k{at}", column.equals));
    let sides: Vec<_> = sides.collect();
    values.insert("a=b".to_owned(), sides.join(" and "));
    match input.destination {
        Destination::Column(name) => values.insert("column".to_owned(), quoted(name)),
        Destination::Table(schema, name) => {
            values.insert("store".to_owned(), qualified(schema, name))
        }
    };
    values.insert("unchecked".to_owned(), unchecked(input, &values));
    values
}

/// That nothing is known of the document of a row, if documents are checked again.
fn unchecked(input: &PlanInput<'_>, values: &BTreeMap<String, String>) -> String {
    if input.refresh.is_none() {
        return String::new();
    }
    let keys = (1..=input.key.len()).map(|at| format!("a.k{at}::text"));
    let keys = Vec::from_iter(keys).join(", ");
    let (has_text, keys) = match input.destination {
        Destination::Column(_) => ("octet_length({s.loading}) > 0 and ", "{s.keys as text}"),
        Destination::Table(..) => ("", keys.as_str()),
    };
    let unchecked = UNCHECKED
        .replace("{has text}", has_text)
        .replace("{keys}", keys)
        .replace("{number}", &input.number.to_string());
    fill(&unchecked, values)
}

/// That the key of `alias` is that of `d`, as the protocol's lookups are written.
fn lookup(key: &[KeyColumn], alias: &str) -> String {
    let terms = key.iter().zip(1..).map(|(column, at)| {
        let name = quoted(&column.name);
        let other = if at == 1 && column.fits_in_array {
            format!("any (array[d.k{at}])")
        } else {
            format!("d.k{at}")
        };
        format!("{alias}.{name} {} {other}", column.equals)
    });
    terms.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests;
