//! Loads arrays and ranges.

use super::python::Python;

/// How many dimensions PostgreSQL's arrays have at most.
const DIMENSIONS_MAX: usize = 6;

/// Loads an element or a bound from its text.
type Load<'a> = &'a dyn Fn(&str) -> Option<Python>;

/// Loads an array as nested lists.
pub(super) fn array(value: &str, delimiter: char, load: Load<'_>) -> Option<Python> {
    // Bounds that do not start at 1 come first: `[2:3]={5,6}`.
    let start = if value.starts_with('[') {
        value.find('=')? + 1
    } else {
        0
    };
    let mut reader = Reader {
        rest: value.get(start..)?,
    };
    let list = reader.list(delimiter, load, 1)?;
    reader.rest.is_empty().then_some(list)
}

/// Loads a range.
pub(super) fn range(value: &str, load: Load<'_>) -> Option<Python> {
    let mut reader = Reader { rest: value };
    let range = reader.range(load)?;
    reader.rest.is_empty().then_some(range)
}

/// Loads a multirange.
pub(super) fn multirange(value: &str, load: Load<'_>) -> Option<Python> {
    let mut reader = Reader { rest: value };
    let (mut texts, mut reprs) = (Vec::new(), Vec::new());
    if !reader.eat('{') {
        return None;
    }
    while !reader.eat('}') {
        reader.eat(',');
        let range = reader.range(load)?;
        reprs.push(range.repr());
        texts.push(range.text()?);
    }
    let text = format!("{{{}}}", texts.join(", "));
    let repr = format!("Multirange([{}])", reprs.join(", "));
    Some(Python::Object { text, repr })
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn list(&mut self, delimiter: char, load: Load<'_>, depth: usize) -> Option<Python> {
        if depth > DIMENSIONS_MAX || !self.eat('{') {
            return None;
        }
        let mut items = Vec::new();
        if self.eat('}') {
            return Some(Python::List(items));
        }
        loop {
            items.push(if self.rest.starts_with('{') {
                self.list(delimiter, load, depth + 1)?
            } else {
                let (item, is_quoted) = self.item(&[delimiter, '}'])?;
                if item == "NULL" && !is_quoted {
                    Python::None
                } else {
                    load(&item)?
                }
            });
            if self.eat('}') {
                return Some(Python::List(items));
            }
            if !self.eat(delimiter) {
                return None;
            }
        }
    }

    fn range(&mut self, load: Load<'_>) -> Option<Python> {
        if let Some(rest) = self.rest.strip_prefix("empty") {
            self.rest = rest;
            let (text, repr) = ("empty".to_owned(), "Range(empty=True)".to_owned());
            return Some(Python::Object { text, repr });
        }
        let open = if self.eat('[') { '[' } else { '(' };
        if open == '(' && !self.eat('(') {
            return None;
        }
        let lower = self.bound(&[','], load)?;
        if !self.eat(',') {
            return None;
        }
        let upper = self.bound(&[']', ')'], load)?;
        let close = if self.eat(']') { ']' } else { ')' };
        if close == ')' && !self.eat(')') {
            return None;
        }
        let repr = format!("Range({}, {}, '{open}{close}')", lower.repr(), upper.repr());
        let text = format!("{open}{}, {}{close}", lower.text()?, upper.text()?);
        Some(Python::Object { text, repr })
    }

    fn bound(&mut self, ends: &[char], load: Load<'_>) -> Option<Python> {
        match self.item(ends)? {
            (bound, false) if bound.is_empty() => Some(Python::None),
            (bound, _) => load(&bound),
        }
    }

    /// Reads up to one of the ends; tells whether any of it was in quotes.
    fn item(&mut self, ends: &[char]) -> Option<(String, bool)> {
        let mut item = String::new();
        let (mut in_quotes, mut is_quoted) = (false, false);
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => item.push(characters.next()?.1),
                // Ranges write a quote twice, arrays put a backslash before it.
                '"' if in_quotes && self.rest[at + 1..].starts_with('"') => {
                    characters.next();
                    item.push('"');
                }
                '"' => {
                    in_quotes = !in_quotes;
                    is_quoted = true;
                }
                _ if !in_quotes && ends.contains(&character) => {
                    self.rest = &self.rest[at..];
                    return Some((item, is_quoted));
                }
                _ => item.push(character),
            }
        }
        None
    }
}
