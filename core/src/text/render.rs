//! Formats PostgreSQL's values as Python pgai does in templates: with `str()` of the values
//! that psycopg 3 loads.
//!
//! A value that Python cannot represent (a date before Christ or at infinity, 24:00:00, an
//! infinite interval, JSON nested too deeply) is formatted as in PostgreSQL; psycopg fails on most
//! of these. A value of a type that psycopg does not know, such as an enum, is also formatted as
//! in PostgreSQL, as in psycopg.
//!
//! Differences from psycopg:
//! * psycopg formats an infinite interval as `0:00:00`, and formats one of millions of years
//!   incorrectly.
//! * IPv6 addresses that embed IPv4 ones are formatted as in Python up to 3.12: `::ffff:102:304`.
//!   Nothing else depends on Python's version.
//! * If the session's time zone is one that only PostgreSQL knows (`<+0230>-02:30`), psycopg
//!   converts times with time zone to UTC.
//! * If a clock is set back, psycopg marks the second of two equal clock times with `fold=1` in
//!   arrays of times with time zone.

mod array;
mod json;
mod python;
mod time;

use std::borrow::Cow;

use array::{array, multirange, range};
use python::Python;

/// Formats a value from PostgreSQL's text form, in a session whose time zone is UTC.
///
/// `type_name` is the result of `format_type` for the base type without modifiers, such as
/// `timestamp with time zone` or `integer[]`. The session has `DateStyle` ISO, `IntervalStyle`
/// postgres and `bytea_output` hex.
pub fn python_text<'a>(value: Option<&'a str>, type_name: &str) -> Cow<'a, str> {
    python_text_in(value, type_name, "UTC")
}

/// Formats a value like [`python_text`], in a session with another `TimeZone`: its name appears
/// in arrays of times with time zone.
pub fn python_text_in<'a>(
    value: Option<&'a str>,
    type_name: &str,
    time_zone: &str,
) -> Cow<'a, str> {
    let Some(value) = value else {
        return Cow::Borrowed("None");
    };
    match load(value, type_name, time_zone).and_then(|value| value.text()) {
        Some(text) => Cow::Owned(text),
        None => Cow::Borrowed(value),
    }
}

/// Types that psycopg loads as texts, and whose arrays it supports.
const TEXTS: &[&str] = &[
    "\"char\"",
    "aclitem",
    "bit",
    "bit varying",
    "box",
    "character",
    "character varying",
    "cid",
    "circle",
    "int2vector",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "oidvector",
    "path",
    "pg_lsn",
    "point",
    "polygon",
    "refcursor",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "text",
    "tid",
    "tsquery",
    "tsvector",
    "txid_snapshot",
    "xid",
    "xid8",
    "xml",
];

/// Returns the Python object; `None` if there is none, or if the object is the text itself.
fn load(value: &str, type_name: &str, time_zone: &str) -> Option<Python> {
    if let Some(element) = type_name.strip_suffix("[]") {
        let delimiter = if element == "box" { ';' } else { ',' };
        return array(value, delimiter, &|item| {
            element_of(item, element, time_zone)
        });
    }
    scalar(value, type_name, time_zone)
}

/// Returns an element of an array, of which a text is one, too.
fn element_of(value: &str, type_name: &str, time_zone: &str) -> Option<Python> {
    if TEXTS.binary_search(&type_name).is_ok() {
        Some(Python::Text(value.to_owned()))
    } else {
        scalar(value, type_name, time_zone)
    }
}

fn scalar(value: &str, type_name: &str, time_zone: &str) -> Option<Python> {
    if let Some(bound) = range_of(type_name, "range") {
        return range(value, &|bound_value| scalar(bound_value, bound, time_zone));
    }
    if let Some(bound) = range_of(type_name, "multirange") {
        return multirange(value, &|bound_value| scalar(bound_value, bound, time_zone));
    }
    match type_name {
        "bigint" | "integer" | "oid" | "smallint" => Some(Python::Number(value.to_owned())),
        "boolean" => Some(Python::Bool(value.starts_with('t'))),
        "bytea" => python::bytes(value),
        "cidr" => python::address(value, "Network"),
        "date" => time::date(value),
        "double precision" | "real" => python::float(value),
        "inet" if value.contains('/') => python::address(value, "Interface"),
        "inet" => python::address(value, "Address"),
        "interval" => time::interval(value),
        "json" | "jsonb" => json::json(value),
        "numeric" => python::decimal(value),
        "time with time zone" => time::time_with_zone(value),
        "time without time zone" => time::time(value),
        "timestamp with time zone" => time::timestamp_with_zone(value, time_zone),
        "timestamp without time zone" => time::timestamp(value),
        "uuid" => Some(Python::Object {
            text: value.to_owned(),
            repr: format!("UUID('{value}')"),
        }),
        _ => None,
    }
}

/// Returns the type of the bounds of a range.
fn range_of(type_name: &str, kind: &str) -> Option<&'static str> {
    Some(match type_name.strip_suffix(kind)? {
        "date" => "date",
        "int4" => "integer",
        "int8" => "bigint",
        "num" => "numeric",
        "ts" => "timestamp without time zone",
        "tstz" => "timestamp with time zone",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{TEXTS, python_text, python_text_in};

    const GOLDEN: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/text/values.json"
    ));

    #[test]
    fn values_are_those_of_psycopg() {
        let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let field = |name: &str| case[name].as_str().unwrap();
            // What psycopg cannot load stays as PostgreSQL writes it.
            let expected = case["text"].as_str().unwrap_or_else(|| field("value"));
            let ours = python_text_in(Some(field("value")), field("type"), field("zone"));
            assert_eq!(ours, expected, "{case}");
        }
    }

    #[test]
    fn what_psycopg_does_not_know_stays_as_it_is() {
        assert_eq!(python_text(None, "integer"), "None");
        assert_eq!(python_text(Some("sad"), "public.mood"), "sad");
        assert_eq!(python_text(Some("{sad}"), "public.mood[]"), "{sad}");
        assert_eq!(python_text(Some("[1,2]"), "vector"), "[1,2]");
    }

    #[test]
    fn types_are_in_the_order_that_the_search_needs() {
        assert!(TEXTS.is_sorted());
    }
}
