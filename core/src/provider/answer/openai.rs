//! `{"data": [{"index": 0, "embedding": …}, …]}`, as OpenAI and many others answer.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{BadAnswer, Numbers, Reading, Wanted, read};

/// The vectors in the order of their `index`; a server that sends none has them in order.
pub(super) fn vectors(body: &[u8], wanted: Wanted) -> Result<Vec<Vec<f32>>, BadAnswer> {
    let reading = Reading::new(wanted);
    let places = read(body, &reading, Answer)?;
    Ok(places.into_iter().flatten().collect())
}

/// `{"data": […]}`.
struct Answer<'r>(&'r Reading);

/// `[{"index": 0, "embedding": …}, …]`: the place of each text, with its vector.
struct Items<'r>(&'r Reading);

/// `{"index": 0, "embedding": …}`.
struct Item<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for Answer<'_> {
    type Value = Vec<Option<Vec<f32>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = Vec<Option<Vec<f32>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut places = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == "data" {
                places = Some(map.next_value_seed(Items(self.0))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        places.ok_or_else(|| A::Error::missing_field("data"))
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<Option<Vec<f32>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<Option<Vec<f32>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of embeddings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut places: Vec<Option<Vec<f32>>> = vec![None; self.0.wanted.count];
        for place in 0..places.len() {
            let Some((index, vector)) = items.next_element_seed(Item(self.0))? else {
                return Ok(places);
            };
            match places.get_mut(index.unwrap_or(place)) {
                Some(free @ None) => *free = Some(vector),
                Some(Some(_)) | None => return self.0.refuse(BadAnswer::Order),
            }
        }
        match items.next_element::<IgnoredAny>()? {
            Some(_) => self.0.too_many(),
            None => Ok(places),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = (Option<usize>, Vec<f32>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = (Option<usize>, Vec<f32>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an embedding")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut index, mut vector) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "embedding" => vector = Some(map.next_value_seed(Numbers(self.0))?),
                "index" => index = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let vector = vector.ok_or_else(|| A::Error::missing_field("embedding"))?;
        Ok((index, vector))
    }
}
