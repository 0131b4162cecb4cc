//! Plans the statements of one vectorizer: identifiers quoted, values only as parameters.

mod documents;
mod location;
mod reads;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::resync::{self, ResyncPlan};
use super::searched::Searched;
use super::transfer::Transfer;
use super::{column, commands, documents as checks, protocol};
use crate::vectorizer::MakerDigests;
pub(crate) use reads::RENDERED_FACTOR;
pub(super) use reads::as_text;
use reads::{read, read_loading, size};

/// The planned statements of one vectorizer.
#[derive(Debug, Eq, PartialEq)]
pub struct Plan {
    /// The vectorizer's id.
    pub vectorizer: i64,
    /// The number in the names of its lease and its bell, which notifications carry.
    pub number: i64,
    /// The number of its key columns.
    pub key_columns: usize,
    /// The dimensions of its vectors.
    pub dimensions: usize,
    /// Whether the store has a column that says where each chunk comes from.
    pub has_location: bool,
    /// The maximum number of items in one claim.
    pub rows: usize,
    /// How often its documents are checked again, in seconds.
    pub refresh: Option<u64>,
    pub(crate) vector_types: VectorTypes,
    /// The type of vectors, with its schema.
    pub(crate) vector: String,
    pub(crate) bell: String,
    pub(crate) claim: String,
    pub(crate) commit: String,
    pub(crate) enqueue: String,
    pub(crate) enqueued: String,
    pub(crate) extend: String,
    pub(crate) fail: String,
    /// The same, if the vectors of rows that move to the failed table are cleared in a column.
    pub(crate) fail_and_clear: Option<String>,
    pub(crate) read: String,
    pub(crate) read_held: String,
    pub(crate) refresh_documents: String,
    pub(crate) release: String,
    pub(crate) renew: String,
    pub(crate) resync: ResyncPlan,
    pub(crate) sample: String,
    /// Of a store: a switch to another model renames columns, so a column is searched with `ai.search`.
    pub(crate) search: Option<String>,
    pub(crate) size: String,
    /// Of a store: a column keeps no chunks.
    pub(crate) transfer: Option<Transfer>,
    pub(crate) waiting: String,
}

/// One column of a source table's primary key.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    /// The type as `format_type` writes it: legal in a cast.
    pub(crate) type_name: String,
    /// The equality of the primary key's index: `operator(pg_catalog.=)`.
    pub(crate) equals: String,
    /// The greater-than operator of that index: `operator(pg_catalog.>)`.
    pub(crate) after: String,
    /// The less-than-or-equal operator: `operator(pg_catalog.<=)`.
    pub(crate) at_most: String,
    /// Whether `array[value]` is an array of such values (of arrays, it is an array of their elements).
    pub(crate) fits_in_array: bool,
}

/// A source column that the template or the loading uses.
#[derive(Clone, Debug)]
pub(crate) struct TemplateColumn {
    pub(crate) name: String,
    /// The type without its modifier, domains resolved.
    pub(crate) base_type: String,
}

/// The oids of the extension's type `vector` and of its arrays, which differ between databases.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct VectorTypes {
    pub(crate) vector: u32,
    pub(crate) array: u32,
}

/// Where the vectors are stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Destination<'a> {
    /// A column of the source itself, with this name: one vector for each row.
    Column(&'a str),
    /// The store with this schema and name.
    Table(&'a str, &'a str),
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct PlanInput<'a> {
    pub(crate) vectorizer: i64,
    /// The number in the names of its lease and its bell.
    pub(crate) number: i64,
    pub(crate) source: (&'a str, &'a str),
    pub(crate) destination: Destination<'a>,
    pub(crate) queue_schema: &'a str,
    pub(crate) queue_table: &'a str,
    pub(crate) failed_table: &'a str,
    pub(crate) vector_schema: &'a str,
    pub(crate) vector_types: VectorTypes,
    pub(crate) searched: Searched,
    pub(crate) key: &'a [KeyColumn],
    pub(crate) loading: &'a TemplateColumn,
    pub(crate) columns: &'a [TemplateColumn],
    pub(crate) dimensions: usize,
    /// Whether the store has a column that says where each chunk comes from.
    pub(crate) has_location: bool,
    /// How often its documents are checked again, in seconds.
    pub(crate) refresh: Option<u64>,
    /// Whether a row's only chunk is its unchanged text.
    pub(crate) has_plain_texts: bool,
    /// Items in one claim.
    pub(crate) rows: usize,
    /// The longest backoff, in seconds.
    pub(crate) backoff_max: u64,
    /// Whether the database's encoding is UTF-8.
    pub(crate) is_utf8: bool,
    /// Digests of the configuration of its vectors and texts: a claim returns nothing if other
    /// digests are recorded.
    pub(crate) made_by: &'a MakerDigests,
    /// The maximum bytes of a row's texts that are read.
    pub(crate) row_bytes: usize,
}

impl TemplateColumn {
    /// Whether its value is used in a template unchanged.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.base_type.as_str(), "text" | "character varying")
    }
}

impl Plan {
    /// Whether rows that move to the failed table lose their vectors.
    pub(crate) const fn clears_vectors(&self) -> bool {
        self.fail_and_clear.is_some()
    }

    pub(crate) fn new(input: &PlanInput<'_>) -> Self {
        let values = values(input);
        let fill = |template: &str| fill(template, &values);
        let (commit, read, search) = match input.destination {
            Destination::Column(_) => (column::COMMIT, column::READ, None),
            Destination::Table(..) => (protocol::COMMIT, protocol::READ, Some(commands::SEARCH)),
        };
        let fail = |items: &str, cleared: &str| {
            let template = protocol::FAIL.replace("{items}", items);
            fill(&template.replace("{cleared}", cleared))
        };
        Self {
            vectorizer: input.vectorizer,
            number: input.number,
            key_columns: input.key.len(),
            dimensions: input.dimensions,
            has_location: input.has_location,
            rows: input.rows,
            refresh: input.refresh,
            vector_types: input.vector_types,
            vector: fill("{vector}"),
            bell: fill(protocol::BELL),
            claim: fill(&claim(input.is_utf8)),
            commit: fill(commit),
            enqueue: fill(resync::QUEUE),
            enqueued: fill(resync::QUEUED),
            extend: fill(protocol::EXTEND),
            fail: fail(protocol::FAIL_ITEMS, ""),
            fail_and_clear: matches!(input.destination, Destination::Column(_))
                .then(|| fail(column::FAIL_ITEMS, column::FAIL_CLEARED)),
            read: fill(read),
            read_held: format!("{}{}", super::HOLD, fill(read)),
            refresh_documents: fill(checks::REFRESH),
            release: fill(protocol::RELEASE),
            renew: fill(resync::RENEW),
            resync: ResyncPlan::new(input),
            sample: fill(commands::SAMPLE),
            search: search.map(|search| {
                with_row_security(
                    &fill(search),
                    input.key.len() + 3 + usize::from(input.has_location),
                )
            }),
            size: fill(commands::SIZE),
            transfer: matches!(input.destination, Destination::Table(..))
                .then(|| Transfer::new(&values, input.key.len())),
            waiting: fill(protocol::WAITING),
        }
    }
}

/// The same statement, which returns arrays of this many texts, restricted to rows that the calling
/// role can see.
fn with_row_security(statement: &str, columns: usize) -> String {
    let fields: Vec<String> = (1..=columns).map(|at| format!("f.found[{at}]")).collect();
    format!(
        "select {} from ai._with_row_security({}, $1::text, $2::bigint) as f(found)",
        fields.join(", "),
        literal(statement)
    )
}

/// The claim. It also checks the keys if the database's encoding is not UTF-8.
fn claim(is_utf8: bool) -> String {
    let [unreadable, only_readable, how_many] = if is_utf8 {
        [""; 3]
    } else {
        [
            protocol::UNREADABLE,
            " where {d.readable}",
            ",\n  (select count(*) from unreadable)::text",
        ]
    };
    protocol::CLAIM
        .replace("{unreadable}", unreadable)
        .replace("{only readable}", only_readable)
        .replace("{how many unreadable}", how_many)
}

/// The value of each `{name}` in the protocol's statements.
fn values(input: &PlanInput<'_>) -> BTreeMap<String, String> {
    let mut values = Values::default();
    values.objects(input);
    values.key(input.key);
    values.columns(input);
    values.parameters(input.key.len());
    values.location(input.has_location);
    values.documents(input);
    values.0
}

/// The values of a plan's placeholders, by name.
#[derive(Default)]
struct Values(BTreeMap<String, String>);

impl Values {
    fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    /// Tables, types and constants.
    fn objects(&mut self, input: &PlanInput<'_>) {
        let queue = |table: &str| qualified(input.queue_schema, table);

        self.set("id", input.vectorizer.to_string());
        self.set("number", input.number.to_string());
        self.set("source", qualified(input.source.0, input.source.1));
        match input.destination {
            Destination::Column(name) => self.set("column", quoted(name)),
            Destination::Table(schema, name) => self.set("store", qualified(schema, name)),
        }
        self.set("queue", queue(input.queue_table));
        self.set("failed", queue(input.failed_table));
        self.set(
            "lease",
            queue(&format!("_vectorizer_lease_{}", input.number)),
        );
        let bell = queue(&format!("_vectorizer_bell_{}", input.number));
        // Inside of E'…', where a backslash is the same whatever the session's settings are.
        self.set("bell", bell.replace('\\', r"\\").replace('\'', "''"));
        let now = "(extract(epoch from clock_timestamp()) * 1000)::bigint";
        self.set("now_ms", now.to_owned());
        self.set("vector", qualified(input.vector_schema, "vector"));
        for (name, value) in input.searched.values(input.vector_schema, input.dimensions) {
            self.set(name, value);
        }
        self.set("dimensions", input.dimensions.to_string());
        self.set("rows", input.rows.to_string());
        self.set("backoff_max", input.backoff_max.to_string());
        let digest = |digest: &str| format!("'{}'", digest.replace('\'', "''"));
        self.set("made_by vectors", digest(&input.made_by.vectors));
        self.set("made_by texts", digest(&input.made_by.texts));
    }

    /// The key in each form. `input` and what comes from it calls its columns k1, k2 …; so names of columns
    /// never meet names of ours.
    fn key(&mut self, key: &[KeyColumn]) {
        let each = |of: &dyn Fn(usize, &KeyColumn) -> String| {
            let columns = key.iter().zip(1..);
            Vec::from_iter(columns.map(|(column, at)| of(at, column)))
        };
        self.set("keys", each(&|_, column| quoted(&column.name)).join(", "));
        for alias in ["q", "c", "l", "s", "t", "u"] {
            let name = format!("{alias}.keys");
            self.set(
                &name,
                each(&|_, column| format!("{alias}.{}", quoted(&column.name))).join(", "),
            );
        }
        self.set("i.keys", each(&|at, _| format!("i.k{at}")).join(", "));
        for alias in ["s", "t"] {
            self.set(
                &format!("{alias}.keys as text"),
                each(&|_, column| format!("{alias}.{}::text", quoted(&column.name))).join(", "),
            );
        }
        self.set(
            "l.keys aliased",
            each(&|at, column| format!("l.{} as k{at}", quoted(&column.name))).join(", "),
        );
        self.set(
            "i.keys typed",
            each(&|at, column| format!("i.k{at}::{} as k{at}", column.type_name)).join(", "),
        );
        self.set(
            "d.readable",
            each(&|_, column| {
                let value = format!("d.{}::text", quoted(&column.name));
                format!("ai._readable({value}) = {value} collate \"C\"")
            })
            .join(" and "),
        );
        self.set(
            "u.keys readable",
            each(&|_, column| format!("ai._readable(u.{}::text)", quoted(&column.name))).join(", "),
        );
        self.set("unreadable reason", protocol::UNREADABLE_REASON.to_owned());
        self.set("input keys", each(&|at, _| format!("k{at}")).join(", "));
        for first in [1, 2, 3] {
            let name = format!("key params {first}");
            self.set(
                &name,
                each(&|at, _| format!("${}::text[]", at + first - 1)).join(", "),
            );
        }
        for pair in [
            "l=q", "l=d", "q=l", "s=i", "s=z", "q=i", "l=i", "t=i", "t=z", "f=i", "w=i", "d=i",
            "q=u", "l=u", "u=i",
        ] {
            self.set(pair, equality(key, pair, true));
        }
        self.set("t=c", equality(key, "t=c", false));
    }

    /// The columns of the source that are read.
    fn columns(&mut self, input: &PlanInput<'_>) {
        let first = input
            .key
            .first()
            .map_or_else(String::new, |column| quoted(&column.name));
        self.set("s.first", format!("s.{first}"));
        self.set("s.loading", format!("s.{}", quoted(&input.loading.name)));
        // (PostgreSQL has no text of more than 1 GB.)
        let row_bytes = input.row_bytes.min(1 << 30);
        self.set("row bytes", row_bytes.to_string());
        self.set("s.size", size(input));
        self.set("s.loading as text", as_text(input.loading));
        self.set("read loading", read_loading(input.loading, row_bytes));
        let mut columns = String::new();
        for column in input.columns {
            let _ = write!(columns, ", {}", read(column, row_bytes));
        }
        self.set("read columns", columns);
    }

    /// The numbers of the parameters that follow the key's.
    fn parameters(&mut self, key_columns: usize) {
        let next = key_columns + 2;
        let after = [
            "generations",
            "chunks",
            "c.row",
            "c.place",
            "c.text",
            "c.origin",
            "c.hash",
            "c.vector",
            "c.location",
        ];
        for (name, at) in after.into_iter().zip(next..) {
            self.set(name, at.to_string());
        }
        let after = ["f.retry", "f.step", "f.reason", "f.message", "f.details"];
        for (name, at) in after.into_iter().zip(next + 1..) {
            self.set(name, at.to_string());
        }
    }
}

/// `l."a" = q."a" and l."b" = q."b" …` for the pair `l=q`; what comes from `input` calls its columns
/// k1, k2 …
///
/// As a lookup it begins with `l."a" = any (array[q."a"])`, so that the planner must look up the left
/// side by index. With a plain equality it can also use a merge join and read the whole index. It
/// does that if the statistics were taken at rest and say that the table is empty, while it contains
/// a new backlog and many dead rows.
fn equality(key: &[KeyColumn], pair: &str, is_lookup: bool) -> String {
    let (left, right) = pair.split_once('=').unwrap_or_default();
    let terms = key.iter().zip(1..).map(|(column, at)| {
        let name = quoted(&column.name);
        let other = match right {
            "i" | "z" => format!("{right}.k{at}"),
            _ => format!("{right}.{name}"),
        };
        let other = if is_lookup && at == 1 && column.fits_in_array {
            format!("any (array[{other}])")
        } else {
            other
        };
        format!("{left}.{name} {} {other}", column.equals)
    });
    format!("({})", terms.collect::<Vec<_>>().join(" and "))
}

/// Quotes an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// Replaces each `{name}` in one pass, so that replaced values are not searched for names.
pub(crate) fn fill(template: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let end = rest.find('}').unwrap_or(rest.len());
        let name = &rest[..end];
        // A name without a value is a mistake in this crate; PostgreSQL would refuse the statement,
        // and the unit test below finds it first.
        match values.get(name) {
            Some(value) => filled.push_str(value),
            None => {
                let _ = write!(filled, "{{{name}}}");
            }
        }
        rest = rest.get(end + 1..).unwrap_or("");
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests;
