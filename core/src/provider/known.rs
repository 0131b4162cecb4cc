//! The providers that speak OpenAI's interface, with what is special about each; and the variables and
//! hosts of all providers.
//!
//! The names are those of LiteLLM's prefixes. Sources: the providers' documentation, and the requests that
//! LiteLLM 1.110 sends (`tests/golden/litellm.json`).

/// A provider by its name in LiteLLM.
#[derive(Debug)]
pub(crate) struct Known {
    /// The prefix of a model's name.
    pub(crate) name: &'static str,
    /// Its base URL; empty if the operator or the vectorizer must give one.
    pub(super) base_url: &'static str,
    /// The environment variables that contain another base URL.
    pub(super) base_variables: &'static [&'static str],
    /// The environment variables of its key: the first one that is set is used.
    pub(super) keys: &'static [&'static str],
    /// Its own hosts, to which its keys may be sent.
    pub(crate) hosts: &'static [&'static str],
    pub(super) wire: Dialect,
    /// The maximum number of texts in one request.
    pub(super) inputs: usize,
    /// The maximum number of bytes of text in one request. Where the provider limits tokens, a token is
    /// counted as three bytes.
    pub(super) bytes: usize,
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    Azure,
    Bedrock,
    Cohere,
    Gemini,
    HuggingFace,
    Ollama,
    /// OpenAI's interface; the name of the parameter for dimensions.
    OpenAi(&'static str),
    Vertex,
    Watsonx,
}

use Dialect::OpenAi;

/// For a provider without a documented limit; what is too much is learnt.
const INPUTS: usize = 2048;
const BYTES: usize = 8 * 1024 * 1024;

/// OpenAI's interface at a place that must be given, with keys that are sent nowhere else.
const OWN_SERVER: Known = Known {
    name: "",
    base_url: "",
    base_variables: &[],
    keys: &[],
    hosts: &[],
    wire: OpenAi("dimensions"),
    inputs: INPUTS,
    bytes: BYTES,
};

/// All providers.
pub(crate) const KNOWN: &[Known] = &[
    Known {
        name: "azure",
        base_variables: &["AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"],
        keys: &["AZURE_API_KEY", "AZURE_OPENAI_API_KEY"],
        hosts: &["openai.azure.com", "cognitiveservices.azure.com"],
        wire: Dialect::Azure,
        bytes: super::openai::BYTES_MAX,
        ..OWN_SERVER
    },
    Known {
        name: "azure_ai",
        base_variables: &["AZURE_AI_API_BASE"],
        keys: &["AZURE_AI_API_KEY"],
        hosts: &[
            "services.ai.azure.com",
            "models.ai.azure.com",
            "inference.ai.azure.com",
        ],
        wire: Dialect::Azure,
        // Of Cohere's models; OpenAI's take more.
        inputs: 96,
        ..OWN_SERVER
    },
    Known {
        name: "bedrock",
        // Its hosts have names of regions: see `bedrock.rs`.
        base_variables: &["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"],
        keys: &["AWS_SECRET_ACCESS_KEY"],
        wire: Dialect::Bedrock,
        inputs: 96,
        ..OWN_SERVER
    },
    Known {
        name: "cohere",
        base_url: "https://api.cohere.ai/v2/embed",
        base_variables: &["COHERE_API_BASE"],
        keys: &["COHERE_API_KEY", "CO_API_KEY"],
        hosts: &["api.cohere.ai", "api.cohere.com"],
        wire: Dialect::Cohere,
        inputs: 96,
        ..OWN_SERVER
    },
    Known {
        name: "dashscope",
        base_url: "https://dashscope.aliyuncs.com/compatible-mode/v1",
        base_variables: &["DASHSCOPE_API_BASE"],
        keys: &["DASHSCOPE_API_KEY"],
        hosts: &["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"],
        // Of text-embedding-v3 and v4.
        inputs: 10,
        ..OWN_SERVER
    },
    Known {
        name: "databricks",
        base_variables: &["DATABRICKS_API_BASE"],
        keys: &["DATABRICKS_API_KEY"],
        hosts: &[
            "cloud.databricks.com",
            "azuredatabricks.net",
            "gcp.databricks.com",
        ],
        inputs: 150,
        ..OWN_SERVER
    },
    Known {
        name: "deepinfra",
        base_url: "https://api.deepinfra.com/v1/openai",
        base_variables: &["DEEPINFRA_API_BASE"],
        keys: &["DEEPINFRA_API_KEY"],
        hosts: &["api.deepinfra.com"],
        inputs: 1024,
        ..OWN_SERVER
    },
    Known {
        name: "fireworks_ai",
        base_url: "https://api.fireworks.ai/inference/v1",
        base_variables: &["FIREWORKS_API_BASE"],
        keys: &[
            "FIREWORKS_API_KEY",
            "FIREWORKS_AI_API_KEY",
            "FIREWORKSAI_API_KEY",
        ],
        hosts: &["api.fireworks.ai"],
        ..OWN_SERVER
    },
    Known {
        name: "gemini",
        base_url: "https://generativelanguage.googleapis.com/v1beta",
        base_variables: &["GEMINI_API_BASE"],
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        hosts: &["generativelanguage.googleapis.com"],
        wire: Dialect::Gemini,
        inputs: 100,
        // 20,000 tokens.
        bytes: 60_000,
    },
    Known {
        name: "github",
        base_url: "https://models.github.ai/inference",
        base_variables: &["GITHUB_API_BASE"],
        keys: &["GITHUB_API_KEY"],
        hosts: &["models.github.ai", "models.inference.ai.azure.com"],
        // 64,000 tokens.
        bytes: 192_000,
        ..OWN_SERVER
    },
    Known {
        name: "hosted_vllm",
        base_variables: &["HOSTED_VLLM_API_BASE"],
        keys: &["HOSTED_VLLM_API_KEY"],
        ..OWN_SERVER
    },
    Known {
        name: "huggingface",
        base_url: "https://router.huggingface.co/hf-inference",
        base_variables: &["HUGGINGFACE_API_BASE"],
        keys: &["HUGGINGFACE_API_KEY", "HF_TOKEN"],
        hosts: &["router.huggingface.co", "endpoints.huggingface.cloud"],
        wire: Dialect::HuggingFace,
        ..OWN_SERVER
    },
    Known {
        name: "infinity",
        base_variables: &["INFINITY_API_BASE"],
        keys: &["INFINITY_API_KEY"],
        ..OWN_SERVER
    },
    Known {
        name: "jina_ai",
        base_url: "https://api.jina.ai/v1",
        base_variables: &["JINA_AI_API_BASE"],
        keys: &["JINA_AI_API_KEY", "JINA_API_KEY"],
        hosts: &["api.jina.ai"],
        inputs: 512,
        ..OWN_SERVER
    },
    Known {
        name: "litellm_proxy",
        base_variables: &["LITELLM_PROXY_API_BASE"],
        keys: &["LITELLM_PROXY_API_KEY"],
        ..OWN_SERVER
    },
    Known {
        name: "llamafile",
        base_url: "http://127.0.0.1:8080/v1",
        base_variables: &["LLAMAFILE_API_BASE"],
        keys: &["LLAMAFILE_API_KEY"],
        ..OWN_SERVER
    },
    Known {
        name: "lm_studio",
        base_variables: &["LM_STUDIO_API_BASE"],
        keys: &["LM_STUDIO_API_KEY"],
        ..OWN_SERVER
    },
    Known {
        name: "mistral",
        base_url: "https://api.mistral.ai/v1",
        base_variables: &["MISTRAL_API_BASE"],
        keys: &["MISTRAL_API_KEY"],
        hosts: &["api.mistral.ai"],
        wire: OpenAi("output_dimension"),
        inputs: 128,
        // 16,384 tokens.
        bytes: 48_000,
    },
    Known {
        name: "nebius",
        base_url: "https://api.studio.nebius.ai/v1",
        base_variables: &["NEBIUS_API_BASE"],
        keys: &["NEBIUS_API_KEY"],
        hosts: &["api.studio.nebius.ai", "api.tokenfactory.nebius.com"],
        ..OWN_SERVER
    },
    Known {
        name: "nvidia_nim",
        base_url: "https://integrate.api.nvidia.com/v1",
        base_variables: &["NVIDIA_NIM_API_BASE"],
        keys: &["NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY"],
        hosts: &["integrate.api.nvidia.com"],
        ..OWN_SERVER
    },
    Known {
        name: "ollama",
        base_url: "http://localhost:11434",
        base_variables: &["OLLAMA_API_BASE", "OLLAMA_HOST"],
        wire: Dialect::Ollama,
        ..OWN_SERVER
    },
    Known {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        base_variables: &["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        keys: &["OPENAI_API_KEY"],
        hosts: OPENAI_HOSTS,
        bytes: super::openai::BYTES_MAX,
        ..OWN_SERVER
    },
    Known {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        base_variables: &["OPENROUTER_API_BASE"],
        keys: &["OPENROUTER_API_KEY", "OR_API_KEY"],
        hosts: &["openrouter.ai"],
        ..OWN_SERVER
    },
    Known {
        name: "ovhcloud",
        base_url: "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        base_variables: &["OVHCLOUD_API_BASE"],
        keys: &["OVHCLOUD_API_KEY"],
        hosts: &["oai.endpoints.kepler.ai.cloud.ovh.net"],
        ..OWN_SERVER
    },
    Known {
        name: "perplexity",
        base_url: "https://api.perplexity.ai/v1",
        base_variables: &["PERPLEXITY_API_BASE"],
        keys: &["PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"],
        hosts: &["api.perplexity.ai"],
        ..OWN_SERVER
    },
    Known {
        name: "sambanova",
        base_url: "https://api.sambanova.ai/v1",
        base_variables: &["SAMBANOVA_API_BASE"],
        keys: &["SAMBANOVA_API_KEY"],
        hosts: &["api.sambanova.ai"],
        ..OWN_SERVER
    },
    Known {
        name: "together_ai",
        base_url: "https://api.together.ai/v1",
        base_variables: &["TOGETHERAI_API_BASE"],
        keys: &[
            "TOGETHER_API_KEY",
            "TOGETHER_AI_API_KEY",
            "TOGETHERAI_API_KEY",
        ],
        hosts: &["api.together.ai", "api.together.xyz"],
        ..OWN_SERVER
    },
    Known {
        name: "vertex_ai",
        // Its hosts have names of regions: see `vertex.rs`.
        base_variables: &["VERTEXAI_API_BASE"],
        keys: &[
            "VERTEXAI_CREDENTIALS",
            "VERTEX_CREDENTIALS",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ],
        wire: Dialect::Vertex,
        inputs: 250,
        // 20,000 tokens.
        bytes: 60_000,
        ..OWN_SERVER
    },
    Known {
        name: "voyage",
        base_url: "https://api.voyageai.com/v1",
        base_variables: &["VOYAGE_API_BASE", "VOYAGE_BASE_URL"],
        keys: &["VOYAGE_API_KEY", "VOYAGE_AI_API_KEY"],
        hosts: VOYAGE_HOSTS,
        wire: OpenAi("output_dimension"),
        inputs: 128,
        bytes: super::voyage::BYTES_MAX,
    },
    Known {
        name: "watsonx",
        base_variables: &["WATSONX_API_BASE", "WATSONX_URL", "WX_URL"],
        // A token that is ready, or an API key for which one is issued.
        keys: &[
            "WATSONX_TOKEN",
            "WX_TOKEN",
            "WATSONX_API_KEY",
            "WATSONX_APIKEY",
            "WX_API_KEY",
        ],
        hosts: &["ml.cloud.ibm.com"],
        wire: Dialect::Watsonx,
        inputs: 1000,
        ..OWN_SERVER
    },
    Known {
        name: "xinference",
        base_variables: &["XINFERENCE_API_BASE"],
        keys: &["XINFERENCE_API_KEY"],
        ..OWN_SERVER
    },
];

/// OpenAI's own hosts, and those of its models at Azure.
pub(crate) const OPENAI_HOSTS: &[&str] = &["openai.com", "openai.azure.com"];
/// Voyage AI's own hosts.
pub(crate) const VOYAGE_HOSTS: &[&str] = &["voyageai.com"];

/// Where Cohere's reranker is: its other variable is the whole address for embedding, as with LiteLLM.
pub(super) const COHERE_BASE: &str = "COHERE_RERANK_API_BASE";

/// Other variables that say where a provider is, or which part of it.
const VARIABLES: &[&str] = &[
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_STS",
    "AWS_REGION",
    "AWS_REGION_NAME",
    "AZURE_API_VERSION",
    COHERE_BASE,
    "GCE_METADATA_HOST",
    "VERTEXAI_LOCATION",
    "VERTEXAI_PROJECT",
    "VERTEX_LOCATION",
    "VERTEX_PROJECT",
    "WATSONX_IAM_URL",
    "WATSONX_PROJECT_ID",
];

/// The provider of this name.
pub(super) fn provider(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// The environment variables, other than secrets, that say something about providers.
pub(crate) fn variables() -> impl Iterator<Item = &'static str> {
    let bases = KNOWN.iter().flat_map(|known| known.base_variables);
    bases.chain(VARIABLES).copied()
}

/// The hosts of the provider whose key this variable usually contains: the key is not sent elsewhere
/// unless the operator allows it.
pub(crate) fn hosts_of_key(name: &str) -> Option<&'static [&'static str]> {
    if name == "ANTHROPIC_API_KEY" {
        return Some(&["api.anthropic.com"]);
    }
    let known = KNOWN.iter().find(|known| known.keys.contains(&name))?;
    // The keys of one's own servers have no home.
    let is_own_server = known.hosts.is_empty() && !is_signing(name);
    (!is_own_server).then_some(known.hosts)
}

/// Whether a variable contains what requests are signed with, or a token for one service: no key in a
/// header of another provider.
pub(crate) fn is_signing(name: &str) -> bool {
    let is_google = |known: &Known| known.wire == Dialect::Vertex && known.keys.contains(&name);
    OF_AWS.contains(&name) || KNOWN.iter().any(is_google)
}

/// The secrets of Amazon Web Services.
const OF_AWS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];
