//! Python's `string.Template`, with `substitute`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use thiserror::Error;

use super::strip::ends_line;
use crate::cut::cut;

/// A text with placeholders: `$name` or `${name}`, and `$$` for a dollar sign.
///
/// Names consist of ASCII letters, digits and underscores, and are case-sensitive. A value is
/// not searched for further placeholders.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
    names: BTreeSet<String>,
}

/// Why a template cannot be parsed or filled.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TemplateError {
    /// A dollar sign is followed by neither a name nor another dollar sign.
    #[error("Invalid placeholder in string: line {line}, col {column}")]
    Invalid {
        /// The line of the dollar sign, from 1.
        line: usize,
        /// Its place in the line in code points, from 1.
        column: usize,
    },
    /// A placeholder has no value.
    #[error("the template names {0:?}, which the row does not have")]
    Missing(String),
    /// The result exceeds the limit in bytes.
    #[error(
        "its formatted texts take more than {0} bytes: shorten the template, or let the worker's \
         operator raise --max-row-bytes"
    )]
    TooMuch(usize),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(String),
    Name(String),
}

impl Template {
    /// Parses a template.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after_escape) = after.strip_prefix('$') {
                literal.push('$');
                rest = after_escape;
                continue;
            }
            let Some((name, length)) = placeholder(after) else {
                return Err(invalid(&source[..source.len() - after.len()]));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = &after[length..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let names = parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Name(name) => Some(name.clone()),
        });
        let names = names.collect();
        Ok(Self { parts, names })
    }

    /// Returns the names of the placeholders, each once, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether its result is always the chunk itself.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Name(name)] if name == "chunk")
    }

    /// Replaces all placeholders with values.
    pub fn substitute<'v>(
        &self,
        value: impl Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<String, TemplateError> {
        let mut bytes_left = usize::MAX;
        self.substitute_within(usize::MAX, &mut bytes_left, value)
    }

    /// Replaces all placeholders with values, and subtracts the cost from the bytes that are left: a
    /// byte for every part, plus the bytes of the text. `bytes_max` is the initial number of bytes.
    pub fn substitute_within<'v>(
        &self,
        bytes_max: usize,
        bytes_left: &mut usize,
        value: impl Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<String, TemplateError> {
        let mut text = String::new();
        let mut push = |part: &str| {
            let left = bytes_left.checked_sub(part.len().saturating_add(1));
            *bytes_left = left.ok_or(TemplateError::TooMuch(bytes_max))?;
            text.push_str(part);
            Ok(())
        };
        for part in &self.parts {
            match part {
                Part::Literal(literal) => push(literal)?,
                Part::Name(name) => {
                    let value = value(name);
                    push(&value.ok_or_else(|| TemplateError::Missing(cut(name)))?)?;
                }
            }
        }
        Ok(text)
    }
}

/// Returns the name at the start of a text and its length in bytes, including braces.
fn placeholder(text: &str) -> Option<(&str, usize)> {
    match text.strip_prefix('{') {
        None => name(text).map(|name| (name, name.len())),
        Some(braced) => {
            let name = name(braced)?;
            braced[name.len()..]
                .starts_with('}')
                .then_some((name, name.len() + 2))
        }
    }
}

fn name(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let name = &text[..end];
    let starts_with_digit = name.starts_with(|c: char| c.is_ascii_digit());
    (!name.is_empty() && !starts_with_digit).then_some(name)
}

/// `before` ends with the dollar sign that is wrong.
fn invalid(before: &str) -> TemplateError {
    let (mut line, mut column) = (1, 0);
    let mut characters = before.chars().peekable();
    while let Some(character) = characters.next() {
        column += 1;
        let is_half = character == '\r' && characters.peek() == Some(&'\n');
        if ends_line(character) && !is_half {
            (line, column) = (line + 1, 0);
        }
    }
    TemplateError::Invalid { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_put_in_once() {
        let template = Template::parse("$title: ${chunk}s cost $$5, $chunk").unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), ["chunk", "title"]);
        let text = template.substitute(|name| Some(Cow::Owned(format!("<{name} $id>"))));
        assert_eq!(
            text.unwrap(),
            "<title $id>: <chunk $id>s cost $5, <chunk $id>"
        );
    }

    #[test]
    fn templates_are_those_of_python() {
        const GOLDEN: &str = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/golden/text/templates.json"
        ));
        let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        let values = &golden["values"][0];
        for case in golden["cases"].as_array().unwrap() {
            let filled = Template::parse(case["template"].as_str().unwrap()).and_then(|template| {
                template.substitute(|name| values[name].as_str().map(Cow::Borrowed))
            });
            match filled {
                Ok(text) => assert_eq!(case["text"], text, "{case}"),
                Err(TemplateError::Missing(name)) => assert_eq!(case["missing"], name, "{case}"),
                // Python reports a missing name first if it stands first.
                Err(error @ (TemplateError::Invalid { .. } | TemplateError::TooMuch(_))) => {
                    assert!(
                        case["invalid"] == error.to_string() || case.get("missing").is_some(),
                        "{error}: {case}"
                    )
                }
            }
        }
    }
}
