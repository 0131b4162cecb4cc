//! Loads JSON as Python's `json.loads` does.

use std::collections::BTreeMap;

use super::python::{Python, float};

/// The maximum nesting depth of JSON: about Python's limit.
const DEPTH_MAX: usize = 950;

/// The maximum number of digits of an integer: Python does not format more.
const DIGITS_MAX: usize = 4300;

/// Loads a `json` or `jsonb`, which PostgreSQL has checked.
pub(super) fn json(value: &str) -> Option<Python> {
    let mut reader = Reader { rest: value };
    let loaded = reader.value(0)?;
    reader.skip_space();
    reader.rest.is_empty().then_some(loaded)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, text: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Python> {
        if depth > DEPTH_MAX {
            return None;
        }
        let words = [
            ("null", Python::None),
            ("true", Python::Bool(true)),
            ("false", Python::Bool(false)),
        ];
        for (word, value) in words {
            if self.eat(word) {
                return Some(value);
            }
        }
        if self.eat("[") {
            self.list(depth)
        } else if self.eat("{") {
            self.dict(depth)
        } else if self.eat("\"") {
            self.string().map(text)
        } else {
            self.number()
        }
    }

    fn list(&mut self, depth: usize) -> Option<Python> {
        let mut items = Vec::new();
        if self.eat("]") {
            return Some(Python::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.eat("]") {
                return Some(Python::List(items));
            }
            if !self.eat(",") {
                return None;
            }
        }
    }

    /// A repeated key keeps its position and gets the later value.
    fn dict(&mut self, depth: usize) -> Option<Python> {
        let mut entries: Vec<(Python, Python)> = Vec::new();
        let mut places: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
        if self.eat("}") {
            return Some(Python::Dict(entries));
        }
        loop {
            if !self.eat("\"") {
                return None;
            }
            let key = self.string()?;
            if !self.eat(":") {
                return None;
            }
            let value = self.value(depth + 1)?;
            match places.get(&key) {
                Some(&place) => entries[place].1 = value,
                None => {
                    places.insert(key.clone(), entries.len());
                    entries.push((text(key), value));
                }
            }
            if self.eat("}") {
                return Some(Python::Dict(entries));
            }
            if !self.eat(",") {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<Python> {
        let is_part = |c: char| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        if number.contains(['.', 'e', 'E']) {
            return float(number);
        }
        match number {
            "" => None,
            "-0" => Some(Python::Number("0".to_owned())),
            _ if number.trim_start_matches('-').len() > DIGITS_MAX => None,
            _ => Some(Python::Number(number.to_owned())),
        }
    }

    /// Reads the rest of a string, as code points: an escape may name half of a surrogate pair.
    fn string(&mut self) -> Option<Vec<u32>> {
        let mut codes = Vec::new();
        let mut characters = self.rest.chars();
        loop {
            let code = match characters.next()? {
                '"' => break,
                '\\' => match characters.next()? {
                    'b' => 0x08,
                    'f' => 0x0C,
                    'n' => 0x0A,
                    'r' => 0x0D,
                    't' => 0x09,
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code << 4 | characters.next()?.to_digit(16)?;
                        }
                        code
                    }
                    other => u32::from(other),
                },
                other => u32::from(other),
            };
            match (codes.last().copied(), code) {
                (Some(high @ 0xD800..=0xDBFF), 0xDC00..=0xDFFF) => {
                    codes.pop();
                    codes.push(0x1_0000 + ((high - 0xD800) << 10) + (code - 0xDC00));
                }
                _ => codes.push(code),
            }
        }
        self.rest = characters.as_str();
        Some(codes)
    }
}

fn text(codes: Vec<u32>) -> Python {
    match codes.iter().map(|&code| char::from_u32(code)).collect() {
        Some(text) => Python::Text(text),
        None => Python::Surrogates(codes),
    }
}
