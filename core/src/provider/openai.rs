//! OpenAI's interface, which many other servers speak: `POST /v1/embeddings`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use super::answer::{Numbers, Reading, Wanted, read};
use super::{Account, BadAnswer, Post, RequestLimits, Wire, leave_out};
use crate::address::BaseUrl;
use crate::cut::cut;
use crate::request::Request;
use crate::settings::{OPENAI_HOSTS, Settings};
use crate::tokens;

/// At most 2,048 inputs. The bound of 300,000 tokens is enforced as a quarter of the bytes
/// (pgai#730), so 1.2 MB; a tenth of it is kept in hand.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    inputs: 2048,
    bytes: 1_080_000,
};

/// The models that pgai cuts texts for, at one token less than they take.
const CUT: &[&str] = &[
    "text-embedding-ada-002",
    "text-embedding-3-small",
    "text-embedding-3-large",
];
const TOKENS_MAX: usize = 8191;

#[derive(Clone, Debug)]
pub(crate) struct OpenAi {
    pub(super) model: String,
    pub(super) dimensions: usize,
    base_url: BaseUrl,
    embeddings: http::Uri,
    secret: Option<String>,
    user: Option<String>,
}

#[derive(serde::Deserialize)]
struct Config {
    api_key_name: Option<String>,
    base_url: Option<String>,
    user: Option<String>,
}

impl OpenAi {
    pub(super) fn from_config(
        config: &Value,
        model: String,
        dimensions: usize,
        settings: &Settings,
    ) -> Result<Self, String> {
        let config: Config = serde_json::from_value(config.clone())
            .map_err(|error| format!("embedding config: {}", cut(&error.to_string())))?;
        if model.ends_with("text-embedding-ada-002") && dimensions != 1536 {
            return Err("dimensions must be 1536 for text-embedding-ada-002".to_owned());
        }
        let base_url = match (&config.base_url, &settings.openai_base_url) {
            (Some(url), _) => BaseUrl::from_config(url)?,
            (None, Some(url)) => BaseUrl::from_operator(url)?,
            (None, None) => BaseUrl::from_operator("https://api.openai.com/v1")?,
        };
        let embeddings = base_url.endpoint("embeddings")?;
        let refusal = config
            .api_key_name
            .as_ref()
            .and_then(|name| settings.secrets.refusal(name, &base_url, OPENAI_HOSTS));
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Self {
                model,
                dimensions,
                base_url,
                embeddings,
                secret: config.api_key_name,
                user: config.user,
            }),
        }
    }

    pub(super) fn account(&self) -> Account {
        Account {
            provider: "openai",
            base_url: self.base_url.as_str().to_owned(),
            secret: self.secret.clone(),
        }
    }

    /// What is sent in place of a text that has more tokens than the model takes.
    pub(super) fn cut(&self, text: &str) -> Option<String> {
        if CUT.contains(&self.model.as_str()) {
            tokens::cut(text, TOKENS_MAX)
        } else {
            None
        }
    }

    pub(super) fn sends(&self, parameter: &str) -> bool {
        match parameter {
            // This model refuses the parameter.
            "dimensions" => !self.model.ends_with("text-embedding-ada-002"),
            "encoding_format" => true,
            "user" => self.user.is_some(),
            _ => false,
        }
    }

    pub(super) fn request(
        &self,
        texts: &[Arc<str>],
        timeout: Duration,
        without: &[&'static str],
    ) -> Request {
        let mut body = Map::new();
        body.insert(
            "input".to_owned(),
            texts.iter().map(|text| &**text).collect(),
        );
        body.insert("model".to_owned(), self.model.as_str().into());
        if self.sends("dimensions") {
            body.insert("dimensions".to_owned(), self.dimensions.into());
        }
        if let Some(user) = &self.user {
            body.insert("user".to_owned(), user.as_str().into());
        }
        body.insert("encoding_format".to_owned(), "base64".into());
        leave_out(&mut body, without);
        Post {
            url: &self.embeddings,
            body: Value::Object(body),
            secret: self.secret.clone(),
            timeout,
        }
        .embedding(Wire::OpenAi, texts.len(), self.dimensions)
    }
}

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
