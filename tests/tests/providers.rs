//! Every provider, with both workers: what is asked, with which key, and what is stored.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeSet;

use tests::python;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::{Answer, Behaviour, Recorded, TOKEN, vector_of};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// A provider: its name, the rest of `ai.embedding_litellm` after the dimensions with `{url}` in place of the
/// stub's address, the path of a request, and the header that shows who asks.
struct Case(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const CASES: [Case; 31] = [
    Case(
        "azure/dep",
        r#"{"api_base": "{url}", "api_version": "2024-02-01"}"#,
        "/openai/deployments/dep/embeddings?api-version=2024-02-01",
        "api-key",
        "key-of-azure",
    ),
    Case(
        "azure/dep",
        r#"{"api_base": "{url}", "api_version": "v1"}"#,
        "/openai/v1/embeddings",
        "authorization",
        "Bearer key-of-azure",
    ),
    Case(
        "azure_ai/embed-v-4-0",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-azure_ai",
    ),
    Case(
        "bedrock/amazon.titan-embed-text-v2:0",
        r#"{"aws_region_name": "eu-west-1", "aws_bedrock_runtime_endpoint": "{url}"}"#,
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
    ),
    Case(
        "bedrock/amazon.nova-2-multimodal-embeddings-v1:0",
        r#"{"aws_region_name": "us-east-1", "aws_bedrock_runtime_endpoint": "{url}"}"#,
        "/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke",
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
    ),
    Case(
        "bedrock/cohere.embed-english-v3",
        r#"{"aws_region_name": "us-east-1", "aws_bedrock_runtime_endpoint": "{url}"}"#,
        "/model/cohere.embed-english-v3/invoke",
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
    ),
    Case(
        "cohere/embed-v4.0",
        r#"{"api_base": "{url}/v2/embed"}"#,
        "/v2/embed",
        "authorization",
        "Bearer key-of-cohere",
    ),
    Case(
        "dashscope/text-embedding-v4",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-dashscope",
    ),
    Case(
        "databricks/m",
        r#"{"api_base": "{url}/serving-endpoints"}"#,
        "/serving-endpoints/embeddings",
        "authorization",
        "Bearer key-of-databricks",
    ),
    Case(
        "deepinfra/m",
        r#"{"api_base": "{url}/v1/openai"}"#,
        "/v1/openai/embeddings",
        "authorization",
        "Bearer key-of-deepinfra",
    ),
    Case(
        "fireworks_ai/m",
        r#"{"api_base": "{url}/inference/v1"}"#,
        "/inference/v1/embeddings",
        "authorization",
        "Bearer key-of-fireworks",
    ),
    Case(
        "gemini/gemini-embedding-001",
        r#"{"api_base": "{url}/v1beta", "task_type": "RETRIEVAL_DOCUMENT"}"#,
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        "x-goog-api-key",
        "key-of-gemini",
    ),
    Case(
        "github/m",
        r#"{"api_base": "{url}/inference"}"#,
        "/inference/embeddings",
        "authorization",
        "Bearer key-of-github",
    ),
    Case(
        "hosted_vllm/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-hosted_vllm",
    ),
    Case(
        "huggingface/BAAI/bge-small-en-v1.5",
        r#"{"api_base": "{url}/pipeline/feature-extraction/x", "wait_for_model": true}"#,
        "/pipeline/feature-extraction/x",
        "authorization",
        "Bearer key-of-huggingface",
    ),
    Case(
        "infinity/m",
        r#"{"api_base": "{url}"}"#,
        "/embeddings",
        "authorization",
        "Bearer key-of-infinity",
    ),
    Case(
        "jina_ai/jina-embeddings-v3",
        r#"{"api_base": "{url}/v1", "task": "retrieval.passage"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-jina_ai",
    ),
    Case(
        "litellm_proxy/m",
        r#"{"api_base": "{url}"}"#,
        "/embeddings",
        "authorization",
        "Bearer key-of-litellm_proxy",
    ),
    Case(
        "lm_studio/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-lm_studio",
    ),
    Case(
        "mistral/mistral-embed",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-mistral",
    ),
    Case(
        "nebius/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-nebius",
    ),
    Case(
        "nvidia_nim/m",
        r#"{"api_base": "{url}/v1", "input_type": "passage"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-nvidia_nim",
    ),
    Case(
        "ollama/m",
        r#"{"api_base": "{url}", "num_ctx": 64}"#,
        "/api/embed",
        "content-type",
        "application/json",
    ),
    Case(
        "openai/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-openai",
    ),
    Case(
        "openrouter/openai/m",
        r#"{"api_base": "{url}/api/v1"}"#,
        "/api/v1/embeddings",
        "authorization",
        "Bearer key-of-openrouter",
    ),
    Case(
        "together_ai/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-together",
    ),
    Case(
        "vertex_ai/text-embedding-005",
        r#"{"api_base": "{url}", "vertex_project": "p", "vertex_location": "europe-west1"}"#,
        "/v1/projects/p/locations/europe-west1/publishers/google/models/text-embedding-005:predict",
        "authorization",
        "Bearer ya29.issued-by-the-stub",
    ),
    Case(
        "vertex_ai/gemini-embedding-2-preview",
        r#"{"api_base": "{url}", "vertex_project": "p"}"#,
        "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-embedding-2-preview:embedContent",
        "authorization",
        "Bearer ya29.issued-by-the-stub",
    ),
    Case(
        "voyage/voyage-3",
        r#"{"api_base": "{url}/v1", "input_type": "document"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-voyage",
    ),
    Case(
        "watsonx/ibm/slate",
        r#"{"api_base": "{url}", "project_id": "p"}"#,
        "/ml/v1/text/embeddings?version=2024-03-13",
        "authorization",
        "Bearer tok",
    ),
    Case(
        "xinference/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-xinference",
    ),
];

/// The names of keys; `together` has the value `key-of-together`.
const KEYS: [&str; 23] = [
    "AZURE",
    "AZURE_AI",
    "COHERE",
    "DASHSCOPE",
    "DATABRICKS",
    "DEEPINFRA",
    "FIREWORKS",
    "GEMINI",
    "GITHUB",
    "HOSTED_VLLM",
    "HUGGINGFACE",
    "INFINITY",
    "JINA_AI",
    "LITELLM_PROXY",
    "LM_STUDIO",
    "MISTRAL",
    "NEBIUS",
    "NVIDIA_NIM",
    "OPENAI",
    "OPENROUTER",
    "TOGETHER",
    "VOYAGE",
    "XINFERENCE",
];

/// Made for this test; it opens nothing.
const PRIVATE_KEY: &str = include_str!("../golden/providers/service-account.pem");

fn environment(credentials: &str) -> Vec<(String, String)> {
    let keys = KEYS.iter().map(|name| {
        let value = format!("key-of-{}", name.to_lowercase());
        (format!("{name}_API_KEY"), value)
    });
    let others = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        ),
        ("WATSONX_TOKEN", "tok"),
        ("VERTEX_CREDENTIALS", credentials),
    ];
    let others = others.map(|(name, value)| (name.to_owned(), value.to_owned()));
    keys.chain(others).collect()
}

#[test]
fn every_provider_is_asked_in_its_own_way() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.url();
        stage.run(
            "create table t (id int primary key, body text);
             insert into t values (1, 'one'), (2, 'two')",
        );
        for (number, Case(model, options, ..)) in CASES.iter().enumerate() {
            let options = options.replace("{url}", &url);
            stage.run(&format!(
                "select ai.create_vectorizer('t', name => 'v{number}', loading => ai.loading_column('body'),
                   embedding => ai.embedding_litellm('{model}', {DIMENSIONS}, extra_options => '{options}'),
                   chunking => ai.chunking_none(), destination => ai.destination_table('d{number}'))"
            ));
        }
        let credentials = format!(
            r#"{{"type": "service_account", "client_email": "a@p.example", "private_key_id": "k",
               "private_key": {}, "token_uri": "{url}/token"}}"#,
            serde_json::Value::from(PRIVATE_KEY),
        );
        let environment = environment(&credentials);
        let environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut worker = stage.worker_with(shell, &["--once"], &environment);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        let asked = stage.stub.requests();
        for (number, Case(model, _, path, header, value)) in CASES.iter().enumerate() {
            let sql = format!("select chunk, embedding::real[] from d{number}_store order by id");
            let rows = stage.sql.query(&sql, &[]).unwrap();
            assert_eq!(rows.len(), 2, "{shell}: {model}");
            for row in rows {
                let (text, vector): (String, Vec<f32>) = (row.get(0), row.get(1));
                assert_eq!(vector, vector_of(&text, DIMENSIONS), "{shell}: {model}");
            }
            let is_it = |request: &&Recorded| {
                let is_carried = |sent: &str| sent.starts_with(value);
                request.path == *path && request.header(header).is_some_and(is_carried)
            };
            let requests: Vec<_> = asked.iter().filter(is_it).collect();
            assert!(!requests.is_empty(), "{shell}: {model}: {path}");
        }
        let tokens: Vec<_> = asked
            .iter()
            .filter(|request| request.path == "/token")
            .collect();
        assert_eq!(
            tokens.len(),
            1,
            "{shell}: the two vectorizers of an account share a token"
        );
        let form = tokens[0].fields["form"].as_str().unwrap();
        assert!(form.contains("jwt-bearer&assertion=ey"), "{form}");
        assert_eq!(stage.stub.complaints(), Vec::<String>::new());
        // No secret is in a log line or in the database.
        let lines = worker.lines();
        for secret in [TOKEN, "key-of-", "wJalrXUtn", "PRIVATE KEY"] {
            assert!(
                !lines.iter().any(|line| line.contains(secret)),
                "{shell}: {secret}"
            );
        }
    }
}

#[test]
fn prompts_are_sent_and_not_stored() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(
            "create table t (id int primary key, body text);
             insert into t values (1, 'one');
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('embeddinggemma:300m', 8, document_prompt => 'auto',
                 query_prompt => 'auto'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))",
        );
        stage.once(shell);
        assert_eq!(stage.stub.inputs(), ["title: none | text: one"]);
        let stored: String = stage
            .sql
            .query_one("select chunk from d_store", &[])
            .unwrap()
            .get(0);
        assert_eq!(stored, "one");
        let mut search = stage.worker(shell, &["search", "v", "what"]);
        assert_eq!(search.wait(PATIENCE).code(), Some(0));
        let sent: BTreeSet<String> = stage.stub.inputs().into_iter().collect();
        assert!(
            sent.contains("task: search result | query: what"),
            "{sent:?}"
        );
    }
}

/// As on EKS: a role, and a token in a file.
#[test]
fn keys_of_aws_are_issued_for_a_role() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.url();
        stage.run(
            "create table t (id int primary key, body text);
             insert into t values (1, 'one'), (2, 'two');
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_litellm('bedrock/amazon.titan-embed-text-v2:0', 8),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))",
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "a-token-of-kubernetes\n").unwrap();
        let sts = format!("{url}/token");
        let environment = [
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url.as_str()),
            ("AWS_ENDPOINT_URL_STS", &sts),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ];
        let mut worker = stage.worker_with(shell, &["--once"], &environment);
        assert_eq!(
            worker.wait(PATIENCE).code(),
            Some(0),
            "{shell}: {:?}",
            worker.lines()
        );
        let requests = stage.stub.requests();
        assert!(
            requests[0].fields["form"]
                .as_str()
                .unwrap()
                .contains("a-token-of-kubernetes")
        );
        for request in &requests[1..] {
            let signature = request.header("authorization").unwrap();
            assert!(signature.contains("Credential=ASIAISSUED/"), "{signature}");
            assert!(signature.contains("x-amz-security-token"), "{signature}");
            assert_eq!(
                request.header("x-amz-security-token"),
                Some("issued-session")
            );
        }
        assert_eq!(requests.len(), 3, "{shell}");
        assert!(
            !worker
                .lines()
                .iter()
                .any(|line| line.contains("issued-secret"))
        );
        let mut search = stage.worker_with(shell, &["search", "v", "what"], &environment);
        assert_eq!(
            search.wait(PATIENCE).code(),
            Some(0),
            "{shell}: {:?}",
            search.lines()
        );
    }
}

#[test]
fn doctor_says_that_a_model_wants_prompts() {
    let mut stage = Stage::new();
    stage.run("create table t (id int primary key, body text)");
    for (name, prompt) in [("without", ""), ("with", ", query_prompt => 'auto'")] {
        stage.run(&format!(
            "select ai.create_vectorizer('t', name => '{name}', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('nomic-embed-text:v1.5', 8{prompt}),
               destination => ai.destination_table('d_{name}'))"
        ));
    }
    let mut doctor = stage.worker("worker", &["doctor", "--offline"]);
    assert_eq!(doctor.wait(PATIENCE).code(), Some(0));
    let lines = doctor.lines();
    let says = |name: &str| {
        let said =
            format!("the vectorizer {name}: its model nomic-embed-text:v1.5 is made for prompts");
        lines.iter().any(|line| line.contains(&said))
    };
    assert!(says("without"), "{lines:?}");
    assert!(!says("with"), "{lines:?}");
}

#[test]
fn a_paused_key_does_not_stop_the_others() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.openai_url();
        stage.run(&format!(
            "create table t (id int primary key, body text);
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_openai('m', 8, base_url => '{url}'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))"
        ));
        stage.run("insert into t select n, 'text ' || n from generate_series(1, 300) n");
        stage.stub.require_key("good");
        let mut worker =
            stage.worker_with(shell, &["--once"], &[("OPENAI_API_KEY", "bad, good,worse")]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        assert_eq!(stage.number("select count(*) from d_store"), 300);
        let requests = stage.stub.requests();
        let with = |key: &str| {
            let key = format!("Bearer {key}");
            requests
                .iter()
                .filter(|request| request.header("authorization") == Some(&key))
                .count()
        };
        assert!((1..=4).contains(&with("bad")), "{shell}: {}", with("bad"));
        assert!(
            (1..=4).contains(&with("worse")),
            "{shell}: {}",
            with("worse")
        );
        let lines = worker.lines();
        let told = lines
            .iter()
            .filter(|line| line.contains("of 3 is not used for 300 s"));
        assert!(told.count() >= 2, "{shell}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("worse")), "{shell}");
    }
}

#[test]
fn a_key_that_is_replaced_in_its_file_is_used_without_a_restart() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.openai_url();
        stage.run(&format!(
            "create table t (id int primary key, body text);
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_openai('m', 8, base_url => '{url}'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))"
        ));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "first\n").unwrap();
        stage.stub.require_key("first");
        let variable = [("OPENAI_API_KEY_FILE", file.to_str().unwrap())];
        let _worker = stage.worker_with(shell, &["--poll-interval", "1"], &variable);
        stage.run("insert into t values (1, 'one')");
        stage.wait_until_done();
        std::fs::write(&file, "second\n").unwrap();
        stage.stub.require_key("second");
        stage.run("insert into t values (2, 'two')");
        stage.wait_until_done();
        assert_eq!(stage.number("select count(*) from d_store"), 2, "{shell}");
    }
}

#[test]
fn create_vectorizer_says_what_is_wrong_with_a_model() {
    let mut stage = Stage::new();
    stage.run("create table t (id int primary key, body text)");
    for (embedding, said) in [
        (
            "ai.embedding_litellm('nope/x', 8)",
            "the provider of the model \"nope/x\" is not known",
        ),
        (
            r#"ai.embedding_litellm('openai/x', 8, extra_options => '{"api_key": "hunter2"}')"#,
            "extra_options must not contain api_key",
        ),
        (
            r#"ai.embedding_litellm('cohere/x', 8, extra_options => '{"api_base": "https://u:hunter2@x"}')"#,
            "api_base must not hold a user",
        ),
        (
            "ai.embedding_litellm('cohere/x', 8, extra_options => '[1]')",
            "extra_options must be",
        ),
        (
            "ai.embedding_ollama('all-minilm', 8, document_prompt => 'auto')",
            "no prompts are known for the model",
        ),
    ] {
        let error = stage
            .sql
            .batch_execute(&format!(
                "select ai.create_vectorizer('t', loading => ai.loading_column('body'), embedding => {embedding})"
            ))
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains(said), "{embedding}: {error:?}");
        assert!(
            !format!("{error:?}").contains("hunter2"),
            "{embedding}: {error:?}"
        );
    }
}

/// The names of providers stand in SQL, too, where an unknown one is refused.
#[test]
fn sql_knows_the_providers_that_the_workers_know() {
    let source = include_str!("../../core/src/provider/known.rs");
    let names = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("name: \""));
    let names: BTreeSet<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
    let names: BTreeSet<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let mut stage = Stage::new();
    let known = stage
        .sql
        .query_one("select ai._litellm_providers()", &[])
        .unwrap();
    let known: Vec<String> = known.get(0);
    assert_eq!(names, known.iter().map(String::as_str).collect());
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

/// The manual's examples run as they are, with the stub at every provider's address.
#[test]
fn the_examples_of_the_manual_embed() {
    let manual = include_str!("../../docs/providers.md");
    let known = include_str!("../../core/src/provider/known.rs");
    let mut stage = Stage::new();
    let url = stage.stub.url();
    let mut examples = 0;
    for (name, block) in python::blocks(manual) {
        assert_eq!(name, "sql");
        stage.run(block);
        let Some((_, rest)) = block.split_once("embedding => ai.embedding_") else {
            continue;
        };
        let mut arguments = rest.split(['(', ',', ')']);
        let model = arguments.nth(1).unwrap().trim_matches('\'');
        let model = model.split_once('/').map_or(model, |(_, model)| model);
        let dimensions = arguments.next().unwrap().trim().parse().unwrap();
        // As the path of a request has it.
        stage.stub.add_model(&model.replace(':', "%3A"), dimensions);
        stage.stub.add_model(model, dimensions);
        stage
            .stub
            .add_model(model.rsplit('/').next().unwrap(), dimensions);
        examples += 1;
    }
    stage.run("insert into blog values (1, 'title', 'a text')");
    let credentials = format!(
        r#"{{"client_email": "a@p.example", "private_key": {}, "token_uri": "{url}/token"}}"#,
        serde_json::Value::from(PRIVATE_KEY),
    );
    let mut environment = environment(&credentials);
    for line in known.lines() {
        let Some((_, names)) = line.split_once("base_variables: &[\"") else {
            continue;
        };
        let name = names.split('"').next().unwrap();
        let path = match name {
            "COHERE_API_BASE" => "/v2/embed",
            "HUGGINGFACE_API_BASE" => "/pipeline/feature-extraction/bge-small-en-v1.5",
            "OLLAMA_API_BASE" | "AZURE_API_BASE" | "VERTEXAI_API_BASE" => "",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" => "",
            _ => "/v1",
        };
        environment.push((name.to_owned(), format!("{url}{path}")));
    }
    environment.push(("VOYAGE_BASE_URL".to_owned(), format!("{url}/v1")));
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    let stores = "select format('%I.%I', config #>> '{destination,target_schema}',
        config #>> '{destination,target_table}') from ai.vectorizer";
    let stores = stage.sql.query(stores, &[]).unwrap();
    for store in &stores {
        let store: String = store.get(0);
        assert_eq!(
            stage.number(&format!("select count(*) from {store}")),
            1,
            "{store}"
        );
    }
    assert_eq!((stores.len(), examples), (12, 12));
    assert_eq!(stage.stub.complaints(), Vec::<String>::new());
}

/// The table of all names has each provider with its keys and addresses.
#[test]
fn the_manual_names_every_provider() {
    let manual = include_str!("../../docs/providers.md");
    let known = include_str!("../../core/src/provider/known.rs");
    let mut names = 0;
    for part in known.split("    Known {\n").skip(1) {
        let field = |field: &str| -> Vec<&str> {
            let rest = part.split_once(field).map_or("", |(_, rest)| rest);
            let rest = rest.split_once("],").map_or("", |(list, _)| list);
            rest.split('"').skip(1).step_by(2).collect()
        };
        let Some((_, name)) = part.split_once("name: \"") else {
            continue;
        };
        let name = name.split('"').next().unwrap();
        let row = manual
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the manual"));
        for variable in field("keys: &[").iter().chain(&field("base_variables: &[")) {
            assert!(
                row.contains(&format!("`{variable}`")),
                "{name}: {variable}: {row}"
            );
        }
        names += 1;
    }
    assert!(names >= 31, "{names}");
}
