//! Where the vectors are in a provider's answer, and the reader that follows the path.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{BadAnswer, Numbers, Reading, Wanted, read};

/// One step from the outside of an answer to a vector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::provider) enum Step {
    /// Into an array with one element for each text.
    Each,
    /// Into this member of an object.
    Member(&'static str),
    /// Into this member if there is an object, and otherwise nowhere.
    Within(&'static str),
}

use Step::{Each, Member, Within};

/// What an answer looks like.
#[derive(Clone, Copy, Debug)]
pub(in crate::provider) struct AnswerFormat {
    steps: &'static [Step],
    /// The names of the members, one within the other, that contain the number of tokens.
    tokens: &'static [&'static str],
}

/// `{"data": [{"index": 0, "embedding": …}, …]}`, as OpenAI and many others answer.
pub(in crate::provider) const OPENAI: AnswerFormat = AnswerFormat {
    steps: &[Member("data"), Each, Member("embedding")],
    tokens: &["usage", "total_tokens"],
};
/// `{"embeddings": [[…], …]}`.
pub(in crate::provider) const OLLAMA: AnswerFormat = AnswerFormat {
    steps: &[Member("embeddings"), Each],
    tokens: &["prompt_eval_count"],
};
/// `{"embeddings": {"float": [[…], …]}}`, or without `float` if the request names no type.
pub(in crate::provider) const COHERE: AnswerFormat = AnswerFormat {
    steps: &[Member("embeddings"), Within("float"), Each],
    tokens: &["meta", "billed_units", "input_tokens"],
};
/// `{"embeddings": [{"values": […]}, …]}`.
pub(in crate::provider) const GEMINI: AnswerFormat = AnswerFormat {
    steps: &[Member("embeddings"), Each, Member("values")],
    tokens: &["usageMetadata", "promptTokenCount"],
};
/// `{"predictions": [{"embeddings": {"values": […]}}, …]}`.
pub(in crate::provider) const VERTEX: AnswerFormat = AnswerFormat {
    steps: &[
        Member("predictions"),
        Each,
        Member("embeddings"),
        Member("values"),
    ],
    tokens: &[],
};
/// `{"embedding": {"values": […]}}`: one text for each request.
pub(in crate::provider) const ONE_CONTENT: AnswerFormat = AnswerFormat {
    steps: &[Member("embedding"), Member("values")],
    tokens: &["usageMetadata", "promptTokenCount"],
};
/// `{"embedding": […]}`: one text for each request.
pub(in crate::provider) const TITAN: AnswerFormat = AnswerFormat {
    steps: &[Member("embedding")],
    tokens: &["inputTextTokenCount"],
};
/// `{"embeddings": [{"embedding": […]}]}`.
pub(in crate::provider) const NOVA: AnswerFormat = AnswerFormat {
    steps: &[Member("embeddings"), Each, Member("embedding")],
    tokens: &["inputTextTokenCount"],
};
/// `[[…], …]`, as Text Embeddings Inference and Hugging Face answer.
pub(in crate::provider) const BARE: AnswerFormat = AnswerFormat {
    steps: &[Each],
    tokens: &[],
};
/// `{"results": [{"embedding": […]}, …]}`, of watsonx.
pub(in crate::provider) const WATSONX: AnswerFormat = AnswerFormat {
    steps: &[Member("results"), Each, Member("embedding")],
    tokens: &["input_token_count"],
};

/// The vectors in the order of the texts, and the tokens that the provider has counted.
pub(super) fn vectors(
    body: &[u8],
    format: AnswerFormat,
    wanted: Wanted,
) -> Result<(Vec<Vec<f32>>, Option<u64>), BadAnswer> {
    let reading = Reading::new(wanted);
    let found = Found::default();
    read(body, &reading, |reading| Walk {
        reading,
        found: &found,
        steps: format.steps,
        tokens: format.tokens,
    })?;
    let vectors = ordered(found.vectors.into_inner())?;
    Ok((vectors, found.tokens.get()))
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Each with its `index`, if it has one.
    vectors: RefCell<Vec<(Option<usize>, Vec<f32>)>>,
    tokens: Cell<Option<u64>>,
}

/// Puts vectors in the order of the texts. Some servers count from 1 or send no index at all; an order
/// that can be understood in two ways is rejected.
fn ordered(vectors: Vec<(Option<usize>, Vec<f32>)>) -> Result<Vec<Vec<f32>>, BadAnswer> {
    let indices = || vectors.iter().map(|(index, _)| *index);
    let in_order = indices()
        .enumerate()
        .all(|(at, index)| index.is_none_or(|index| index == at));
    if in_order {
        return Ok(vectors.into_iter().map(|(_, vector)| vector).collect());
    }
    let indices: Option<Vec<usize>> = indices().collect();
    let indices = indices.ok_or(BadAnswer::Order)?;
    let first = indices.iter().copied().min().unwrap_or(0).min(1);
    let mut places: Vec<Option<Vec<f32>>> = vec![None; vectors.len()];
    for (index, (_, vector)) in indices.into_iter().zip(vectors) {
        match places.get_mut(index - first) {
            Some(free @ None) => *free = Some(vector),
            Some(Some(_)) | None => return Err(BadAnswer::Order),
        }
    }
    Ok(places.into_iter().flatten().collect())
}

/// Reads what stands where these steps begin.
#[derive(Clone, Copy)]
struct Walk<'r> {
    reading: &'r Reading,
    found: &'r Found,
    steps: &'static [Step],
    tokens: &'static [&'static str],
}

impl<'r> Walk<'r> {
    /// What stands a step further.
    const fn further(self, steps: &'static [Step]) -> Self {
        Self {
            steps,
            tokens: &[],
            ..self
        }
    }

    /// The vector itself.
    fn vector(self) -> Numbers<'r> {
        Numbers(self.reading)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.steps {
            [] => {
                let vector = self.vector().deserialize(deserializer)?;
                self.found.vectors.borrow_mut().push((None, vector));
                Ok(())
            }
            [Each, ..] => deserializer.deserialize_seq(self),
            [Member(_), ..] => deserializer.deserialize_map(self),
            [Within(_), ..] => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.steps {
            [Member(name), ..] => write!(f, "an object with {name}"),
            [Within(name), Each, ..] => write!(f, "an array of vectors or an object with {name}"),
            _ => f.write_str("an array with one element for each text"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (Some(Member(wanted) | Within(wanted)), Some(rest)) =
            (self.steps.first(), self.steps.get(1..))
        else {
            return Err(A::Error::custom("an array was expected"));
        };
        let (mut is_found, mut index) = (false, None);
        while let Some(name) = map.next_key::<String>()? {
            if name == *wanted && !is_found {
                is_found = true;
                map.next_value_seed(self.further(rest))?;
            } else if name == "index" {
                index = map.next_value::<Option<usize>>()?;
            } else if self.tokens.first().is_some_and(|first| *first == name) {
                let tokens = map.next_value_seed(Count(&self.tokens[1..]))?;
                self.found.tokens.set(tokens);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if !is_found {
            return Err(A::Error::missing_field(wanted));
        }
        if index.is_some()
            && let Some(last) = self.found.vectors.borrow_mut().last_mut()
        {
            last.0 = index;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let ([Within(_), Each, rest @ ..] | [Each, rest @ ..]) = self.steps else {
            return Err(A::Error::custom("an object was expected"));
        };
        for _ in 0..self.reading.wanted.count {
            if elements.next_element_seed(self.further(rest))?.is_none() {
                return Ok(());
            }
        }
        match elements.next_element::<IgnoredAny>()? {
            Some(_) => self.reading.too_many(),
            None => Ok(()),
        }
    }
}

/// A number within objects; whatever else stands there is none.
struct Count(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Count {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then_some(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float converts to the nearest number"
    )]
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok((self.0.is_empty() && number >= 0.0).then_some(number as u64))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut count = None;
        while let Some(name) = map.next_key::<String>()? {
            match self.0 {
                [wanted, rest @ ..] if name == *wanted => {
                    count = map.next_value_seed(Self(rest))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(count: usize) -> Wanted {
        Wanted {
            count,
            dimensions: 1,
        }
    }

    fn read_one(format: AnswerFormat, body: &str) -> (Vec<f32>, Option<u64>) {
        let count = body.matches('7').count();
        let (vectors, tokens) = vectors(body.as_bytes(), format, wanted(count)).unwrap();
        (vectors.concat(), tokens)
    }

    #[test]
    fn every_format_is_read_with_its_tokens() {
        for (format, body, tokens) in [
            (
                OPENAI,
                r#"{"object": "list", "usage": {"prompt_tokens": 2, "total_tokens": 3}, "data": [{"embedding": [7], "index": 0}]}"#,
                Some(3),
            ),
            (
                OPENAI,
                r#"{"data": [{"embedding": [7]}], "usage": null}"#,
                None,
            ),
            (
                OLLAMA,
                r#"{"model": "m", "embeddings": [[7], [7]], "prompt_eval_count": 4}"#,
                Some(4),
            ),
            (
                COHERE,
                r#"{"id": "x", "embeddings": {"int8": [[1]], "float": [[7]]}, "meta": {"billed_units": {"input_tokens": 5}}}"#,
                Some(5),
            ),
            (
                COHERE,
                r#"{"embeddings": [[7], [7]], "meta": {"warnings": ["x"], "billed_units": {"input_tokens": 6.0}}}"#,
                Some(6),
            ),
            (
                GEMINI,
                r#"{"embeddings": [{"values": [7]}, {"values": [7]}]}"#,
                None,
            ),
            (
                VERTEX,
                r#"{"predictions": [{"embeddings": {"statistics": {"token_count": 3}, "values": [7]}}], "metadata": {}}"#,
                None,
            ),
            (
                TITAN,
                r#"{"embedding": [7], "embeddingsByType": {"float": [1]}, "inputTextTokenCount": 8}"#,
                Some(8),
            ),
            (
                NOVA,
                r#"{"embeddings": [{"embeddingType": "TEXT", "embedding": [7]}]}"#,
                None,
            ),
            (BARE, "[[7], [7]]", None),
            (
                WATSONX,
                r#"{"model_id": "m", "results": [{"embedding": [7]}], "input_token_count": 9}"#,
                Some(9),
            ),
        ] {
            let (vectors, counted) = read_one(format, body);
            assert!(vectors.iter().all(|number| *number == 7.0), "{body}");
            assert_eq!(vectors.len(), body.matches('7').count(), "{body}");
            assert_eq!(counted, tokens, "{body}");
        }
    }

    #[test]
    fn an_order_that_can_be_understood_in_two_ways_is_rejected() {
        let read = |indices: [&str; 3]| {
            let item = |(at, index): (usize, &str)| match index {
                "" => format!(r#"{{"embedding": [{at}]}}"#),
                index => format!(r#"{{"embedding": [{at}], "index": {index}}}"#),
            };
            let items: Vec<_> = indices.into_iter().enumerate().map(item).collect();
            let body = format!(r#"{{"data": [{}]}}"#, items.join(","));
            vectors(body.as_bytes(), OPENAI, wanted(3)).map(|(vectors, _)| vectors.concat())
        };
        for (indices, order) in [
            (["0", "1", "2"], [0.0, 1.0, 2.0]),
            (["2", "0", "1"], [1.0, 2.0, 0.0]),
            (["3", "1", "2"], [1.0, 2.0, 0.0]),
            (["1", "2", "3"], [0.0, 1.0, 2.0]),
            (["", "", ""], [0.0, 1.0, 2.0]),
            (["null", "null", "null"], [0.0, 1.0, 2.0]),
            (["0", "", "2"], [0.0, 1.0, 2.0]),
        ] {
            assert_eq!(read(indices).unwrap(), order, "{indices:?}");
        }
        for indices in [
            ["0", "0", "1"],
            ["1", "1", "2"],
            ["2", "", "0"],
            ["0", "2", "3"],
            ["2", "3", "4"],
        ] {
            let bad = read(indices).unwrap_err();
            assert!(matches!(bad, BadAnswer::Order), "{indices:?}: {bad}");
        }
    }
}
