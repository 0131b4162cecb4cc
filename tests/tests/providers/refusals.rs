//! The errors of every provider, in its own words, with both workers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::{Answer, Behaviour, Recorded};

use crate::SHELLS;
use crate::cases::{CASES, Case, borrowed, environment, service_account};

/// What each server answers, by its number.
type Answers = BTreeMap<String, Answer>;

/// One error of a provider.
struct Refusal {
    provider: String,
    kind: String,
    answer: Answer,
    /// The provider's words, as a worker shows them.
    words: String,
}

fn refusals(kinds: &[&str]) -> Vec<Refusal> {
    let lines = include_str!("../../golden/providers/refusals.jsonl").lines();
    let all = lines.map(|line| {
        let golden: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| golden[name].as_str().unwrap().to_owned();
        let mut answer =
            Answer::new(golden["status"].as_u64().unwrap().try_into().unwrap()).body(&text("body"));
        for (name, value) in golden["headers"].as_object().unwrap() {
            answer = answer.header(name, value.as_str().unwrap());
        }
        Refusal {
            provider: text("provider"),
            kind: text("kind"),
            words: words(&text("body")),
            answer,
        }
    });
    all.filter(|refusal| kinds.contains(&&*refusal.kind))
        .collect()
}

/// The longest sentence in a body, up to something that a worker may redact.
fn words(body: &str) -> String {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(list) => list.iter().for_each(|value| texts(value, found)),
            Value::Object(object) => object.values().for_each(|value| texts(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = vec![];
    texts(&serde_json::from_str(body).unwrap_or_default(), &mut found);
    let is_sentence = |text: &String| (text.contains(' '), text.len());
    let longest = found.into_iter().max_by_key(is_sentence);
    let longest = longest.unwrap_or_default();
    longest.split("sk-").next().unwrap().trim().to_owned()
}

/// A vectorizer for each of these errors, at a server of its own below the stub.
fn vectorizers(stage: &mut Stage, refusals: &[Refusal]) -> Answers {
    let url = stage.stub.url();
    let mut answers = Answers::new();
    for (number, refusal) in refusals.iter().enumerate() {
        let Case(model, options, ..) = case(&refusal.provider);
        let options = options.replace("{url}", &format!("{url}/~{number}"));
        stage.run(&format!(
            "select ai.create_vectorizer('t', name => 'v{number}', loading => ai.loading_column('body'),
               embedding => ai.embedding_litellm('{model}', {DIMENSIONS}, extra_options => '{options}'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d{number}'))"
        ));
        answers.insert(number.to_string(), refusal.answer.clone());
    }
    answers
}

/// How a provider is asked.
fn case(provider: &str) -> Case {
    let is_it = |case: &Case| case.0.split('/').next() == Some(provider);
    match CASES.into_iter().find(is_it) {
        Some(case) => case,
        None if provider == "tei" => Case(
            "huggingface/m",
            r#"{"api_base": "{url}/pipeline/feature-extraction/embed"}"#,
            "",
            "",
            "",
        ),
        None => panic!("{provider} has no case"),
    }
}

fn number_of(request: &Recorded) -> &str {
    let rest = request.path.strip_prefix("/~").unwrap_or_default();
    rest.split('/').next().unwrap()
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run(
        "create table t (id int primary key, body text);
         insert into t values (1, 'one'), (2, 'the bad one'), (3, 'three')",
    );
    stage
}

/// All rows are embedded, after one request that was refused.
#[test]
fn a_busy_provider_is_asked_again() {
    for shell in SHELLS {
        let mut stage = stage();
        let refusals = refusals(&["busy"]);
        let answers = Mutex::new(vectorizers(&mut stage, &refusals));
        stage.stub.behave(move |request| {
            let first = answers.lock().unwrap().remove(number_of(request));
            first.map_or(Behaviour::Honest, Behaviour::Answer)
        });
        let environment = environment(&service_account(&stage.stub.url()));
        let mut worker = stage.worker_with(shell, &["--once"], &borrowed(&environment));
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        for (number, refusal) in refusals.iter().enumerate() {
            let rows = stage.number(&format!("select count(*) from d{number}_store"));
            assert_eq!(rows, 3, "{shell}: {}", refusal.provider);
        }
        assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
    }
}

/// The bad row fails with the provider's words; the others are embedded.
#[test]
fn a_bad_input_is_told_from_the_others() {
    for shell in SHELLS {
        let mut stage = stage();
        let refusals = refusals(&["input"]);
        let answers = vectorizers(&mut stage, &refusals);
        stage.stub.behave(move |request| {
            let is_bad = request.inputs.iter().any(|text| text.contains("bad"));
            let answer = answers.get(number_of(request)).filter(|_| is_bad);
            answer.cloned().map_or(Behaviour::Honest, Behaviour::Answer)
        });
        let environment = environment(&service_account(&stage.stub.url()));
        let mut worker = stage.worker_with(shell, &["--once"], &borrowed(&environment));
        // The row is tried again in a few seconds, and `--once` does not wait for that.
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        for (number, refusal) in refusals.iter().enumerate() {
            let of = format!("{shell}: {}", refusal.provider);
            let stored = format!("select array_agg(id order by id)::text from d{number}_store");
            let stored: String = stage.sql.query_one(&stored, &[]).unwrap().get(0);
            assert_eq!(stored, "{1,3}", "{of}");
            let said = recorded(&mut stage, number);
            assert!(said.contains(&refusal.words), "{of}: {said}");
        }
    }
}

/// Nothing is embedded and no row is blamed; the operator reads the provider's words.
#[test]
fn a_wrong_key_a_used_up_account_and_a_missing_model_blame_no_row() {
    for shell in SHELLS {
        let mut stage = stage();
        let refusals = refusals(&["key", "quota", "model"]);
        let answers = vectorizers(&mut stage, &refusals);
        stage.stub.behave(move |request| {
            let answer = answers.get(number_of(request)).unwrap().clone();
            Behaviour::Answer(answer)
        });
        let environment = environment(&service_account(&stage.stub.url()));
        let mut worker = stage.worker_with(shell, &["--once"], &borrowed(&environment));
        assert_eq!(worker.wait(PATIENCE).code(), Some(1), "{shell}");
        for (number, refusal) in refusals.iter().enumerate() {
            let of = format!("{shell}: {} {}", refusal.provider, refusal.kind);
            let queue = format!("select count(*) from ai._vectorizer_q_{}", number + 1);
            assert_eq!(stage.number(&queue), 3, "{of}");
            let given_up = format!(
                "select count(*) from ai._vectorizer_q_failed_{}",
                number + 1
            );
            assert_eq!(stage.number(&given_up), 0, "{of}");
            let said = recorded(&mut stage, number);
            assert!(said.contains(&refusal.words), "{of}: {said}");
        }
        assert!(
            !worker.lines().iter().any(|line| line.contains("key-of-")),
            "{shell}"
        );
    }
}

/// What is recorded of a vectorizer.
fn recorded(stage: &mut Stage, number: usize) -> String {
    let sql = format!(
        "select coalesce(string_agg(message || ' ' || details::text, ' '), '')
         from ai.vectorizer_errors where id = {}",
        number + 1
    );
    let said: String = stage.sql.query_one(&sql, &[]).unwrap().get(0);
    said.replace("\\\"", "\"")
}
