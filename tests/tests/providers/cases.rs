//! The providers, with what is special about their requests.

/// A provider: its name, the rest of `ai.embedding_litellm` after the dimensions with `{url}` in place of the
/// stub's address, the path of a request, and the header that shows who asks.
pub(crate) struct Case(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

pub(crate) const CASES: [Case; 35] = [
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
        "llamafile/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "content-type",
        "application/json",
    ),
    Case(
        "ovhcloud/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-ovhcloud",
    ),
    Case(
        "perplexity/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-perplexity",
    ),
    Case(
        "sambanova/m",
        r#"{"api_base": "{url}/v1"}"#,
        "/v1/embeddings",
        "authorization",
        "Bearer key-of-sambanova",
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
        "Bearer key-of-watsonx",
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
const KEYS: [&str; 26] = [
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
    "OVHCLOUD",
    "PERPLEXITY",
    "SAMBANOVA",
    "TOGETHER",
    "VOYAGE",
    "XINFERENCE",
];

/// Made for this test; it opens nothing.
const PRIVATE_KEY: &str = include_str!("../../golden/providers/service-account.pem");

/// All keys, and the JSON key of a service account.
pub(crate) fn environment(credentials: &str) -> Vec<(String, String)> {
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
        ("WATSONX_TOKEN", "key-of-watsonx"),
        ("VERTEX_CREDENTIALS", credentials),
    ];
    let others = others.map(|(name, value)| (name.to_owned(), value.to_owned()));
    keys.chain(others).collect()
}

/// The JSON key of a service account whose tokens the stub at this address issues.
pub(crate) fn service_account(url: &str) -> String {
    let key = serde_json::Value::from(PRIVATE_KEY);
    format!(
        r#"{{"type": "service_account", "client_email": "a@p.example", "private_key_id": "k",
           "private_key": {key}, "token_uri": "{url}/token"}}"#
    )
}

/// As [`tests::stage::Stage::worker_with`] takes it.
pub(crate) fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    let variables = environment.iter();
    variables
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}
