//! `{"embeddings": [[…], …]}`, as Ollama answers.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{BadAnswer, Numbers, Reading, Wanted, read};

pub(super) fn vectors(body: &[u8], wanted: Wanted) -> Result<Vec<Vec<f32>>, BadAnswer> {
    read(body, &Reading::new(wanted), Answer)
}

/// `{"embeddings": [[…], …]}`.
struct Answer<'r>(&'r Reading);

/// `[[…], …]`.
struct Vectors<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for Answer<'_> {
    type Value = Vec<Vec<f32>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = Vec<Vec<f32>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with embeddings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut vectors = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == "embeddings" {
                vectors = Some(map.next_value_seed(Vectors(self.0))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        vectors.ok_or_else(|| A::Error::missing_field("embeddings"))
    }
}

impl<'de> DeserializeSeed<'de> for Vectors<'_> {
    type Value = Vec<Vec<f32>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Vectors<'_> {
    type Value = Vec<Vec<f32>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of vectors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut vectors: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::with_capacity(self.0.wanted.count);
        while all.len() < self.0.wanted.count {
            match vectors.next_element_seed(Numbers(self.0))? {
                Some(vector) => all.push(vector),
                None => return Ok(all),
            }
        }
        match vectors.next_element::<IgnoredAny>()? {
            Some(_) => self.0.too_many(),
            None => Ok(all),
        }
    }
}
