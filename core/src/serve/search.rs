//! A search over HTTP or MCP: what it may ask, its statement, and its answer.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ServeLimits;
use super::embed::read;
use super::refused::Refused;
use crate::command::found;
use crate::command::rerank::candidates;
use crate::provider::order;
use crate::query::{Param, Query, Rows};
use crate::vectorizer::Profile;

/// The most chunks before and after a chunk, and the most columns of a row.
const NEIGHBOURS_MAX: u32 = 10;
const COLUMNS_MAX: usize = 100;

/// The name or the id of a vectorizer.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Name(pub(super) String);

impl TryFrom<Value> for Name {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = value.as_i64().map(|id| id.to_string());
        let name = number.or_else(|| value.as_str().map(str::to_owned));
        name.map(Self)
            .ok_or_else(|| "a vectorizer is given by its name or its id".to_owned())
    }
}

/// The body of `/v1/search`, and the arguments of MCP's tool.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    pub(super) vectorizer: Name,
    pub(super) query: Option<String>,
    pub(super) embedding: Option<Vec<f32>>,
    /// The generation whose model has made the embedding; without it, the one that served when the vectorizers were read.
    pub(super) generation: Option<i32>,
    #[serde(default = "ten")]
    k: u32,
    #[serde(default)]
    hybrid: bool,
    filter: Option<Map<String, Value>>,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    neighbours: u32,
    #[serde(default)]
    best_per_row: bool,
    #[serde(default)]
    pub(super) rerank: bool,
    vector_weight: Option<f64>,
    text_weight: Option<f64>,
}

const fn ten() -> u32 {
    10
}

impl Search {
    pub(super) fn parse(body: &[u8], limits: &ServeLimits) -> Result<Self, Refused> {
        let search: Self = read(body)?;
        search.check(limits).map_err(Refused::request)?;
        Ok(search)
    }

    fn check(&self, limits: &ServeLimits) -> Result<(), String> {
        let query = self.query.as_deref();
        if query.is_some_and(|query| query.trim().is_empty()) {
            return Err("query is empty".to_owned());
        }
        if query.is_none() && (self.embedding.is_none() || self.hybrid || self.rerank) {
            return Err(if self.hybrid {
                "a hybrid search needs query: the words to look for".to_owned()
            } else if self.rerank {
                "a reranker needs query: the question".to_owned()
            } else {
                "give query, a text, or embedding, its vector".to_owned()
            });
        }
        if self.generation.is_some() && self.embedding.is_none() {
            return Err(
                "generation belongs to embedding: a query is embedded by the model that serves"
                    .to_owned(),
            );
        }
        if !(1..=limits.max_k).contains(&self.k) {
            return Err(format!("k is {}: give 1 to {}", self.k, limits.max_k));
        }
        if self.neighbours > NEIGHBOURS_MAX {
            return Err(format!(
                "neighbours is {}: give at most {NEIGHBOURS_MAX}",
                self.neighbours
            ));
        }
        if self.columns.len() > COLUMNS_MAX {
            return Err(format!("columns has more than {COLUMNS_MAX} names"));
        }
        let weights = [self.vector_weight, self.text_weight];
        if weights.iter().any(Option::is_some) && !self.hybrid {
            return Err("weights are for a hybrid search: add \"hybrid\": true".to_owned());
        }
        let numbers = self.embedding.iter().flatten();
        if numbers.clone().any(|number| !number.is_finite()) {
            return Err("embedding has a number that is too large".to_owned());
        }
        Ok(())
    }

    /// Refuses a vector that is not one of this vectorizer's model.
    pub(super) fn check_vector(&self, profile: &Profile) -> Result<(), Refused> {
        let wanted = profile.provider.dimensions;
        if self.generation(profile) != profile.plan.number {
            return Ok(());
        }
        match &self.embedding {
            Some(vector) if vector.len() != wanted => Err(Refused::request(format!(
                "embedding has {} numbers, and the vectors of {} have {wanted}",
                vector.len(),
                profile.name
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The generation to search: the one whose model has embedded the question.
    fn generation(&self, profile: &Profile) -> i64 {
        self.generation.map_or(profile.plan.number, i64::from)
    }

    /// The statement. Texts of the client are in a parameter only: so the database prepares a statement once for
    /// all searches that have the same options.
    pub(super) fn statement(&self, profile: &Profile, vector: &[f32]) -> Query {
        let k = match self.rerank {
            true => candidates(self.k),
            false => self.k,
        };
        let statement = format!(
            "select array[to_jsonb(found)::text] from {} found",
            self.call(profile.id, self.generation(profile), &profile.plan.vector)
        );
        let params = [Param::Text(Some(self.asked(vector))), Param::Int(k.into())];
        found::query(&statement, 1, params)
    }

    /// What the client has said, as JSON. (PostgreSQL's texts cannot contain the character 0.)
    fn asked(&self, vector: &[f32]) -> String {
        let text = |text: &str| text.replace('\0', " ");
        let columns = self.columns.iter().map(|name| text(name));
        json!({
            "embedding": found::vector(vector),
            "query": self.query.as_deref().map(text),
            "filter": self.filter,
            "columns": Vec::from_iter(columns),
            "neighbours": self.neighbours,
            "vector_weight": self.vector_weight,
            "text_weight": self.text_weight,
        })
        .to_string()
    }

    /// The call of the function: `$1` is what the client has said, and `$2` the number of chunks.
    fn call(&self, vectorizer: i64, generation: i64, vector_type: &str) -> String {
        let (function, query) = match self.hybrid {
            true => ("hybrid_search", "$1::jsonb ->> 'query', "),
            false => ("search", ""),
        };
        let options = self.options();
        format!(
            "ai.{function}({vectorizer}, {query}($1::jsonb ->> 'embedding')::{vector_type}, $2::int, \
             generation => {generation}{options})"
        )
    }

    fn options(&self) -> String {
        let mut options = String::new();
        if self.filter.is_some() {
            options += ", filter => $1::jsonb -> 'filter'";
        }
        if !self.columns.is_empty() {
            options += ", columns => array(select jsonb_array_elements_text($1::jsonb -> 'columns'))::name[]";
        }
        if self.neighbours > 0 {
            options += ", neighbours => ($1::jsonb -> 'neighbours')::int";
        }
        if self.best_per_row {
            options += ", best_per_row => true";
        }
        for (name, weight) in [
            ("vector_weight", self.vector_weight),
            ("text_weight", self.text_weight),
        ] {
            if weight.is_some() {
                options += &format!(", {name} => ($1::jsonb -> '{name}')::float8");
            }
        }
        options
    }

    /// What was found, without what was not asked for, and without the location where none is stored.
    pub(super) fn found(&self, rows: &Rows) -> Vec<Map<String, Value>> {
        let texts = rows.iter().filter_map(|row| row.first()?.as_deref());
        let results = texts.filter_map(|text| {
            let mut found: Map<String, Value> = serde_json::from_str(text).ok()?;
            if self.neighbours == 0 {
                found.remove("chunks_before");
                found.remove("chunks_after");
            }
            if self.columns.is_empty() {
                found.remove("source");
            }
            if found.get("location").is_some_and(Value::is_null) {
                found.remove("location");
            }
            Some(found)
        });
        results.collect()
    }

    /// The best of it by the scores of a reranker.
    pub(super) fn best(
        &self,
        found: &[Map<String, Value>],
        scores: &[f64],
    ) -> Vec<Map<String, Value>> {
        let best = order(scores).into_iter().take(self.k as usize);
        let best = best.filter_map(|at| {
            let mut found = found.get(at)?.clone();
            found.insert("rerank_score".to_owned(), json!(scores[at]));
            Some(found)
        });
        best.collect()
    }

    pub(super) fn answer(&self, profile: &Profile, found: Vec<Map<String, Value>>) -> Value {
        json!({"vectorizer": profile.name, "generation": self.generation(profile), "results": found})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Search, String> {
        let limits = ServeLimits::default();
        Search::parse(body.as_bytes(), &limits).map_err(|refused| refused.message)
    }

    #[test]
    fn a_wrong_search_is_told_why() {
        for (body, part) in [
            (r#"{"vectorizer": "a"}"#, "give query"),
            (r#"{"vectorizer": "a", "query": " "}"#, "query is empty"),
            (
                r#"{"vectorizer": "a", "query": "x", "generation": 2}"#,
                "belongs to embedding",
            ),
            (
                r#"{"vectorizer": "a", "query": "x", "k": 0}"#,
                "give 1 to 100",
            ),
            (
                r#"{"vectorizer": "a", "query": "x", "k": 101}"#,
                "give 1 to 100",
            ),
            (
                r#"{"vectorizer": "a", "query": "x", "k": -1}"#,
                "expected u32",
            ),
            (
                r#"{"vectorizer": "a", "query": "x", "neighbours": 11}"#,
                "at most 10",
            ),
            (
                r#"{"vectorizer": "a", "embedding": [1], "hybrid": true}"#,
                "needs query",
            ),
            (r#"{"vectorizer": "a", "embedding": [1e39]}"#, "too large"),
            (
                r#"{"vectorizer": "a", "query": "x", "text_weight": 1}"#,
                "hybrid",
            ),
            (
                r#"{"vectorizer": "a", "query": "x", "condition": "true"}"#,
                "unknown field `condition`",
            ),
            (
                r#"{"vectorizer": "a", "query": "x", "filter": "true"}"#,
                "expected a map",
            ),
            (r#"{"vectorizer": [], "query": "x"}"#, "name or its id"),
            ("", "EOF"),
        ] {
            let refused = parse(body).map(drop).unwrap_err();
            assert!(refused.contains(part), "{body}: {refused}");
        }
    }

    #[test]
    fn a_location_is_shown_where_there_is_one() {
        let search = parse(r#"{"vectorizer": "a", "query": "x"}"#).unwrap();
        let row = |text: &str| vec![Some(text.to_owned())];
        let found = search.found(&vec![
            row(r#"{"chunk": "a", "location": {"page": 2}, "source": null}"#),
            row(r#"{"chunk": "b", "location": null, "chunks_before": null}"#),
        ]);
        assert_eq!(
            json!(found),
            json!([{"chunk": "a", "location": {"page": 2}}, {"chunk": "b"}])
        );
    }

    #[test]
    fn texts_of_the_client_are_in_a_parameter() {
        let body = r#"{"vectorizer": 1, "query": "x", "columns": ["a'b"], "filter": {"c'd": "e'f"},
            "hybrid": true, "neighbours": 2, "best_per_row": true, "text_weight": 0.5}"#;
        let search = parse(body).unwrap();
        assert_eq!(
            search.call(7, 9, "public.vector"),
            "ai.hybrid_search(7, $1::jsonb ->> 'query', ($1::jsonb ->> 'embedding')::public.vector, $2::int, generation => 9, \
             filter => $1::jsonb -> 'filter', \
             columns => array(select jsonb_array_elements_text($1::jsonb -> 'columns'))::name[], \
             neighbours => ($1::jsonb -> 'neighbours')::int, best_per_row => true, \
             text_weight => ($1::jsonb -> 'text_weight')::float8)"
        );
        let asked: Value = serde_json::from_str(&search.asked(&[1.0, 2.5])).unwrap();
        let expected = json!({"embedding": "[1,2.5]", "query": "x", "filter": {"c'd": "e'f"}, "columns": ["a'b"],
            "neighbours": 2, "vector_weight": null, "text_weight": 0.5});
        assert_eq!(asked, expected);
        let search = parse(r#"{"vectorizer": 1, "query": "x"}"#).unwrap();
        assert_eq!(
            search.call(7, 7, "v"),
            "ai.search(7, ($1::jsonb ->> 'embedding')::v, $2::int, generation => 7)"
        );
    }
}
