//! Reads JSON no further than what was requested: an answer of millions of empty vectors costs no
//! more than the bytes of its text.

use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::{BadAnswer, Wanted};

/// An answer that is being read.
pub(in crate::provider) struct Reading {
    pub(in crate::provider) wanted: Wanted,
    /// Why reading stopped, if the reason is not the syntax.
    bad: Cell<Option<BadAnswer>>,
}

impl Reading {
    /// Stops reading.
    pub(in crate::provider) fn refuse<T, E: de::Error>(&self, bad: BadAnswer) -> Result<T, E> {
        self.bad.set(Some(bad));
        Err(E::custom("broken off"))
    }

    /// Stops reading because there is one vector more than wanted.
    pub(in crate::provider) fn too_many<T, E: de::Error>(&self) -> Result<T, E> {
        let wanted = self.wanted.count;
        let got = wanted.saturating_add(1);
        self.refuse(BadAnswer::Count { wanted, got })
    }

    fn other_dimensions<T, E: de::Error>(&self, got: usize) -> Result<T, E> {
        let wanted = self.wanted.dimensions;
        self.refuse(BadAnswer::Dimensions { wanted, got })
    }
}

/// Reads a body with what `seed` makes.
pub(in crate::provider) fn read<'b, 'r, S>(
    body: &'b [u8],
    reading: &'r Reading,
    seed: impl FnOnce(&'r Reading) -> S,
) -> Result<S::Value, BadAnswer>
where
    S: DeserializeSeed<'b>,
{
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = seed(reading).deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    value.map_err(|error| match reading.bad.take() {
        Some(bad) => bad,
        None if body.len() >= reading.wanted.bytes_max() => {
            BadAnswer::TooLong(reading.wanted.bytes_max())
        }
        None => BadAnswer::Unreadable(form_of(&error)),
    })
}

/// An error message without the texts of the answer.
fn form_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &text[..=first], &text[last..])
        }
        _ => text,
    }
}

impl Reading {
    pub(in crate::provider) const fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            bad: Cell::new(None),
        }
    }
}

/// One vector in either form: an array of numbers, or base64 of little-endian `f32`s.
pub(in crate::provider) struct Numbers<'r>(pub(in crate::provider) &'r Reading);

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = Vec<f32>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<f32>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = Vec<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers or base64")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<f32>, E> {
        let wanted = self.0.wanted.dimensions;
        // Four characters are three bytes. What is much too long is not unpacked.
        if text.len() / 4 * 3 / 4 > wanted.saturating_add(1) {
            return self.0.other_dimensions(text.len() / 4 * 3 / 4);
        }
        let bytes = STANDARD.decode(text).map_err(E::custom)?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom("the base64 does not hold whole 32-bit numbers"));
        }
        if numbers.len() != wanted {
            return self.0.other_dimensions(numbers.len());
        }
        Ok(numbers
            .iter()
            .map(|number| f32::from_le_bytes(*number))
            .collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<f32>, A::Error> {
        let wanted = self.0.wanted.dimensions;
        let mut numbers = Vec::with_capacity(wanted);
        while numbers.len() < wanted {
            match sequence.next_element()? {
                Some(number) => numbers.push(number),
                None => return self.0.other_dimensions(numbers.len()),
            }
        }
        // The others are only counted: the message says how many there are.
        let mut got = wanted;
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            got += 1;
        }
        if got > wanted {
            return self.0.other_dimensions(got);
        }
        Ok(numbers)
    }
}
