//! Any legal table: types of keys, names, partitions, inheritance, cascades, several vectorizers.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod families;
mod keys;
mod names;

fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
