//! Rerankers: models that read a question together with each text, and say how well it answers.
//!
//! The operator names one, as LiteLLM does: `cohere/rerank-v3.5`. A vectorizer's config does not, so nobody else chooses
//! where a question and its texts are sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::known::{self, COHERE_BASE};
use super::refusal::Refusal;
use super::wire::post;
use crate::address::BaseUrl;
use crate::call::{Call, Reply};
use crate::model::{ModelAnswer, ModelRequest, Wanted};
use crate::request::{Credential, RequestError, Secret};
use crate::settings::Settings;

/// A reranker that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Reranker {
    /// As the operator named it.
    name: String,
    model: String,
    wire: Wire,
}

#[derive(Clone, Debug)]
enum Wire {
    Http {
        url: http::Uri,
        shape: Shape,
        credential: Option<Box<Credential>>,
    },
    /// In this process.
    Model { models_dir: Option<String> },
}

/// The names of the members of a request and of its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    /// Of Cohere, and of Jina, who followed.
    Cohere,
    /// Of Hugging Face's text-embeddings-inference.
    Tei,
    Voyage,
}

/// A server of text-embeddings-inference takes 32 texts unless it was told otherwise; the others take 1,000. A model in
/// this process cannot be stopped, so it gets few at a time.
const INPUTS_MAX: [usize; 2] = [32, 500];
/// A score in an answer with its surroundings, and what stands around all of them.
const SCORE_BYTES: usize = 256;
const AROUND_BYTES: usize = 64 * 1024;

impl Reranker {
    /// Parses a name: `cohere/MODEL`, `jina_ai/MODEL`, `voyage/MODEL`, `tei/URL`, or a model that runs in this process.
    ///
    /// # Errors
    /// If its key is missing, or its address is none.
    pub(crate) fn new(name: &str, settings: &Settings) -> Result<Self, String> {
        let (provider, model) = name.split_once('/').unwrap_or(("", name));
        let http = |provider: &str, base: &str, shape| {
            let place = BaseUrl::from_operator(base)?;
            let (hosts, keys) = known::provider(provider)
                .map_or((&[][..], &[][..]), |known| (known.hosts, known.keys));
            let is_set = |key: &&&str| settings.secrets.has(key);
            let key = keys.iter().find(is_set).or_else(|| keys.first()).copied();
            let key = key.unwrap_or_default();
            let refusal = settings.secrets.refusal(key, &place, hosts);
            refusal.map_or(Ok(()), |refusal| {
                Err(format!("the reranker {name}: {refusal}"))
            })?;
            Ok::<_, String>(Wire::Http {
                url: place.endpoint("rerank")?,
                shape,
                credential: Some(Box::new(Credential::Key(Secret::bearer(key.to_owned())))),
            })
        };
        let address = |variable, usual| settings.variable(&[variable]).unwrap_or(usual);
        let wire = match provider {
            "cohere" => {
                let base = address(COHERE_BASE, "https://api.cohere.com/v2");
                http("cohere", base, Shape::Cohere)?
            }
            "jina_ai" => {
                let base = address("JINA_AI_API_BASE", "https://api.jina.ai/v1");
                http("jina_ai", base, Shape::Cohere)?
            }
            "tei" => Wire::Http {
                url: BaseUrl::from_operator(model)?.endpoint("rerank")?,
                shape: Shape::Tei,
                credential: None,
            },
            "voyage" => {
                let base = address("VOYAGE_BASE_URL", "https://api.voyageai.com/v1");
                http("voyage", base, Shape::Voyage)?
            }
            _ => {
                return Ok(Self {
                    name: name.to_owned(),
                    model: name.to_owned(),
                    wire: Wire::Model {
                        models_dir: settings.models_dir.clone(),
                    },
                });
            }
        };
        Ok(Self {
            name: name.to_owned(),
            model: model.to_owned(),
            wire,
        })
    }

    /// The most texts in one call.
    pub(crate) const fn inputs_max(&self) -> usize {
        match &self.wire {
            Wire::Http {
                shape: Shape::Cohere | Shape::Voyage,
                ..
            } => INPUTS_MAX[1],
            Wire::Http {
                shape: Shape::Tei, ..
            }
            | Wire::Model { .. } => INPUTS_MAX[0],
        }
    }

    /// The call that scores these texts.
    pub(crate) fn call(&self, query: &Arc<str>, texts: &[Arc<str>], timeout: Duration) -> Call {
        match &self.wire {
            Wire::Http {
                url,
                shape,
                credential,
            } => {
                let bytes_max = texts.len() * SCORE_BYTES + AROUND_BYTES;
                let body = shape.body(&self.model, query, texts);
                let mut request = post(url, body, timeout, bytes_max);
                request.credential = credential.as_deref().cloned();
                request.into()
            }
            Wire::Model { models_dir } => Call::Model(ModelRequest {
                model: self.model.clone(),
                models_dir: models_dir.clone(),
                wanted: Wanted::Scores,
                texts: std::iter::once(query).chain(texts).cloned().collect(),
            }),
        }
    }

    /// The scores of `count` texts, in their order: a higher one is better.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn scores(
        &self,
        reply: Reply,
        count: usize,
        wall: Duration,
    ) -> Result<Vec<f64>, String> {
        let failed = |reason: &dyn fmt::Display| format!("reranking with {}: {reason}", self.name);
        let scores = match (reply, &self.wire) {
            (Reply::Http(Ok(answer)), Wire::Http { shape, url, .. }) => {
                let response = answer.response();
                if !response.status().is_success() {
                    let place = format!(
                        "{}{}",
                        url.authority().map_or("", |at| at.as_str()),
                        url.path()
                    );
                    return Err(failed(&Refusal::from_response(response, wall, &place)));
                }
                shape.read(response.body(), count)
            }
            (Reply::Http(Err(RequestError::Secret(reason))), _) => return Err(failed(&reason)),
            (Reply::Http(Err(error)), _) => {
                return Err(failed(&format!("it does not answer: {error}")));
            }
            (Reply::Model(Ok(ModelAnswer::Scores(scores))), _) => {
                Some(scores.into_iter().map(f64::from).collect())
            }
            (Reply::Model(Err(error)), _) => return Err(failed(&error)),
            (
                Reply::Http(Ok(_))
                | Reply::Model(Ok(_))
                | Reply::Build(_)
                | Reply::Compute(_)
                | Reply::File(_)
                | Reply::Parse(_),
                _,
            ) => None,
        };
        let good = |scores: &Vec<f64>| {
            scores.len() == count && scores.iter().all(|score| score.is_finite())
        };
        scores
            .filter(good)
            .ok_or_else(|| failed(&format!("its answer does not have {count} scores")))
    }
}

impl Shape {
    fn body(self, model: &str, query: &str, texts: &[Arc<str>]) -> Value {
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let mut body = Map::new();
        body.insert("query".to_owned(), query.into());
        match self {
            Self::Cohere | Self::Voyage => {
                body.insert("model".to_owned(), model.into());
                body.insert("documents".to_owned(), texts.into());
            }
            Self::Tei => {
                body.insert("texts".to_owned(), texts.into());
                body.insert("truncate".to_owned(), true.into());
            }
        }
        body.into()
    }

    /// The scores of an answer, in the order of the texts; `None` if one is missing or is there twice.
    fn read(self, body: &[u8], count: usize) -> Option<Vec<f64>> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let (items, score) = match self {
            Self::Cohere => (&answer["results"], "relevance_score"),
            Self::Tei => (&answer, "score"),
            Self::Voyage => (&answer["data"], "relevance_score"),
        };
        let mut scores = vec![None; count];
        for item in items.as_array()? {
            let place = usize::try_from(item["index"].as_u64()?).ok()?;
            let old = scores.get_mut(place)?.replace(item[score].as_f64()?);
            if old.is_some() {
                return None;
            }
        }
        scores.into_iter().collect()
    }
}

/// The places of texts with these scores, the best first; of equal ones, the first.
pub(crate) fn order(scores: &[f64]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    places
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scores_come_in_the_order_of_the_texts() {
        let results =
            json!([{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]);
        for (shape, body) in [
            (Shape::Cohere, json!({"id": "x", "results": results})),
            (Shape::Voyage, json!({"object": "list", "data": results})),
            (
                Shape::Tei,
                json!([{"index": 1, "score": 0.9}, {"index": 0, "score": 0.2}]),
            ),
        ] {
            let read = shape.read(body.to_string().as_bytes(), 2);
            assert_eq!(read, Some(vec![0.2, 0.9]), "{shape:?}");
            assert_eq!(
                shape.read(body.to_string().as_bytes(), 3),
                None,
                "{shape:?}"
            );
            assert_eq!(
                shape.read(body.to_string().as_bytes(), 1),
                None,
                "{shape:?}"
            );
        }
        let twice = br#"[{"index": 0, "score": 1}, {"index": 0, "score": 1}]"#;
        assert_eq!(Shape::Tei.read(twice, 2), None);
        assert_eq!(order(&[0.1, 0.9, 0.9, -3.0]), [1, 2, 0, 3]);
    }

    #[test]
    fn a_name_says_who_is_asked() {
        let mut settings = Settings::new("test");
        let refused = |name: &str, settings: &Settings| Reranker::new(name, settings).unwrap_err();
        assert!(refused("cohere/rerank-v3.5", &settings).contains("COHERE_API_KEY"));
        assert!(refused("tei/no url", &settings).contains("no url"));
        settings.secrets.names = vec!["*_API_KEY".to_owned()];
        for key in ["COHERE_API_KEY", "JINA_AI_API_KEY", "VOYAGE_API_KEY"] {
            settings.secrets.present.insert(key.to_owned());
        }
        for (name, url) in [
            ("cohere/rerank-v3.5", "https://api.cohere.com/v2/rerank"),
            (
                "jina_ai/jina-reranker-v2-base-multilingual",
                "https://api.jina.ai/v1/rerank",
            ),
            ("voyage/rerank-2.5", "https://api.voyageai.com/v1/rerank"),
            ("tei/http://localhost:8080", "http://localhost:8080/rerank"),
        ] {
            let reranker = Reranker::new(name, &settings).unwrap();
            let Call::Http(request) =
                reranker.call(&Arc::from("q"), &[Arc::from("t")], Duration::MAX)
            else {
                panic!("{name}");
            };
            assert_eq!(request.http.uri().to_string(), url);
        }
        let local = Reranker::new("cross-encoder/ms-marco-MiniLM-L6-v2", &settings).unwrap();
        assert!(matches!(local.wire, Wire::Model { .. }));
    }
}
