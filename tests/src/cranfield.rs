//! The Cranfield abstracts: 1,400 real documents, for tests that want more than invented sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// One abstract of the collection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Doc {
    /// Counts from 1 and names the document in the collection's judgements.
    pub id: i32,
    /// In lower case, with a space before its full stop, as the collection has it.
    pub title: String,
    /// Surnames and initials; may be empty.
    pub author: String,
    /// Where it was published; may be empty.
    pub source: String,
    /// The abstract, in lines; begins with the title. Two documents have none.
    pub body: String,
}

/// Loads the collection, or `None` where this checkout has no `../shared` beside it.
///
/// # Panics
///
/// If the file is there but is not what it should be: half a collection would pass as a whole one.
pub fn load() -> Option<Vec<Doc>> {
    let text = fs::read_to_string(path()).ok()?;
    Some(text.lines().map(parse).collect())
}

/// One question of the collection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// The question.
    pub text: String,
    /// The ids of the documents that answer it.
    pub answers: BTreeSet<i32>,
}

/// The questions with their judged answers, or `None` as [`load`].
///
/// # Panics
///
/// As [`load`].
pub fn questions() -> Option<Vec<Question>> {
    let questions = fs::read_to_string(directory().join("queries.jsonl")).ok()?;
    let judgements = fs::read_to_string(directory().join("qrels.tsv")).ok()?;
    let mut answers = BTreeMap::<i64, BTreeSet<i32>>::new();
    for line in judgements.lines().skip(1) {
        let mut fields = line.split('\t');
        let question = fields.next().and_then(|id| id.parse().ok());
        let document = fields.next().and_then(|id| id.parse().ok());
        let question = answers
            .entry(question.expect("a question's id"))
            .or_default();
        question.insert(document.expect("a document's id"));
    }
    let question = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        Question {
            text: value["text"].as_str().expect("a text").to_owned(),
            answers: answers
                .remove(&value["id"].as_i64().expect("an id"))
                .unwrap_or_default(),
        }
    };
    Some(questions.lines().map(question).collect())
}

fn directory() -> PathBuf {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    PathBuf::from(repository).join("../shared/data/cranfield")
}

fn path() -> PathBuf {
    directory().join("docs.jsonl")
}

fn parse(line: &str) -> Doc {
    let value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    let text = |field: &str| {
        let text = value[field].as_str();
        text.unwrap_or_else(|| panic!("no text in {field}: {line}"))
            .to_owned()
    };
    Doc {
        id: value["id"]
            .as_i64()
            .and_then(|id| i32::try_from(id).ok())
            .expect("an id"),
        title: text("title"),
        author: text("author"),
        source: text("source"),
        body: text("body"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_document() {
        let line = r#"{"id": 7, "title": "wings .", "author": "", "source": "j.", "body": "a\nb"}"#;
        let doc = parse(line);
        assert_eq!(
            (doc.id, doc.title.as_str(), doc.author.as_str()),
            (7, "wings .", "")
        );
        assert_eq!((doc.source.as_str(), doc.body.as_str()), ("j.", "a\nb"));
    }

    #[test]
    fn the_collection_is_whole_or_absent() {
        let Some(docs) = load() else {
            assert!(!path().exists());
            return;
        };
        assert_eq!(docs.len(), 1_400);
        assert!(docs.iter().zip(1..).all(|(doc, id)| doc.id == id));
        let questions = questions().unwrap();
        assert_eq!(questions.len(), 225);
        assert!(
            questions
                .iter()
                .all(|question| !question.answers.is_empty())
        );
        assert!(
            docs[0]
                .body
                .starts_with("experimental investigation of the aerodynamics")
        );
    }
}
