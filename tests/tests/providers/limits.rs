//! The size of requests.

use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::{Answer, Behaviour, INFO_INPUTS, Recorded};

use crate::SHELLS;
use crate::cases::{CASES, Case, borrowed, environment, service_account};

/// The bytes of each text in the test of limits.
const TEXT: usize = 3_000;
/// What workers send at most in one request.
const TEXTS_MAX: usize = 64;

/// How many texts of this size a request of this model holds at most: the providers' limits in texts, or in tokens, each
/// taken as three bytes.
fn texts_max(model: &str) -> usize {
    let bytes = |bytes: usize| bytes / TEXT;
    match model {
        "bedrock/amazon.titan-embed-text-v2:0"
        | "bedrock/amazon.nova-2-multimodal-embeddings-v1:0"
        | "vertex_ai/gemini-embedding-2-preview" => 1,
        "dashscope/text-embedding-v4" => 10,
        "gemini/gemini-embedding-001" | "vertex_ai/text-embedding-005" => bytes(60_000),
        "mistral/mistral-embed" => bytes(48_000),
        _ => TEXTS_MAX,
    }
}

/// No request holds too many texts, and there are no more requests than that needs.
#[test]
fn requests_are_filled_to_the_limit_of_their_provider() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.url();
        let rows = TEXTS_MAX;
        stage.run(&format!(
            "create table t (id int primary key, body text);
             insert into t select n, rpad('text ' || n, {TEXT}, '.') from generate_series(1, {rows}) n"
        ));
        for (number, Case(model, options, ..)) in CASES.iter().enumerate() {
            let options = options.replace("{url}", &format!("{url}/~{number}"));
            stage.run(&format!(
                "select ai.create_vectorizer('t', name => 'v{number}', loading => ai.loading_column('body'),
                   embedding => ai.embedding_litellm('{model}', {DIMENSIONS}, extra_options => '{options}'),
                   processing => ai.processing_default(batch_size => {rows}),
                   chunking => ai.chunking_none(), destination => ai.destination_table('d{number}'))"
            ));
        }
        let environment = environment(&service_account(&url));
        let mut worker = stage.worker_with(shell, &["--once"], &borrowed(&environment));
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        let requests = stage.stub.requests();
        for (number, Case(model, ..)) in CASES.iter().enumerate() {
            let place = format!("/~{number}/");
            let requests = requests.iter();
            let texts: Vec<usize> = requests
                .filter(|request| request.path.starts_with(&place))
                .map(|request| request.inputs.len())
                .collect();
            assert_eq!(texts.iter().sum::<usize>(), rows, "{shell}: {model}");
            let max = texts_max(model);
            assert!(
                texts.iter().all(|texts| *texts <= max),
                "{shell}: {model}: {texts:?}"
            );
            assert_eq!(
                texts.len(),
                rows.div_ceil(max),
                "{shell}: {model}: {texts:?}"
            );
        }
    }
}

/// Text Embeddings Inference says on a page of its own how many texts it takes.
#[test]
fn the_limits_of_text_embeddings_inference_are_read_first() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.url();
        stage.run(&format!(
            "create table t (id int primary key, body text);
             insert into t select n, 'text ' || n from generate_series(1, 64) n;
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_litellm('huggingface/m', {DIMENSIONS},
                 extra_options => '{{\"api_base\": \"{url}/pipeline/feature-extraction/embed\"}}'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))"
        ));
        let mut worker = stage.worker(shell, &["--once"]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        let requests = stage.stub.requests();
        assert_eq!(requests[0].path, "/pipeline/feature-extraction/info");
        let texts: Vec<usize> = requests[1..]
            .iter()
            .map(|request| request.inputs.len())
            .collect();
        assert_eq!(texts.iter().sum::<usize>(), 64, "{shell}");
        assert!(
            texts.iter().all(|texts| *texts <= INFO_INPUTS),
            "{shell}: {texts:?}"
        );
        assert_eq!(stage.stub.complaints(), Vec::<String>::new());
    }
}

/// What a server says to a request that is too large for it.
type Says = fn(&Recorded) -> Option<String>;

/// A server that takes ten texts says so, and is asked for ten from then on: 1,000 texts take 100 requests
/// and a few more.
#[test]
fn the_size_of_requests_is_learnt_from_a_refusal() {
    let says: [Says; 2] = [
        |request| {
            let said = r#"{"error": {"message": "batch size is invalid, it should not be larger than 10.: input.contents"}}"#;
            (request.inputs.len() > 10).then(|| said.to_owned())
        },
        |request| {
            let tokens = 1500 * request.inputs.iter().map(String::len).sum::<usize>();
            let said = format!("Requested {tokens} tokens, max 300000 tokens per request");
            (tokens > 300_000).then(|| format!(r#"{{"error": {{"message": "{said}"}}}}"#))
        },
    ];
    for shell in SHELLS {
        for (number, says) in says.into_iter().enumerate() {
            let mut stage = Stage::new();
            let url = stage.stub.openai_url();
            stage.run(&format!(
                "create table t (id int primary key, body text);
                 select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
                   embedding => ai.embedding_litellm('openai/m', 8, extra_options => '{{\"api_base\": \"{url}\"}}'),
                   chunking => ai.chunking_none(), destination => ai.destination_table('d'),
                   processing => ai.processing_default(batch_size => 1000))"
            ));
            // Texts of 19 bytes: ten of them are 190.
            stage.run("insert into t select n, 'a text with ' || 1000000 + n from generate_series(1, 1000) n");
            stage.stub.behave(move |request| {
                let said = says(request);
                said.map_or(Behaviour::Honest, |said| {
                    Behaviour::Answer(Answer {
                        status: 400,
                        headers: vec![],
                        body: Some(said),
                    })
                })
            });
            let mut worker = stage.worker_with(shell, &["--once"], &[("OPENAI_API_KEY", "a-key")]);
            assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell} {number}");
            assert_eq!(stage.number("select count(*) from d_store"), 1000);
            let requests = stage.stub.requests().len();
            assert!(
                (100..=140).contains(&requests),
                "{shell} {number}: {requests} requests"
            );
        }
    }
}
