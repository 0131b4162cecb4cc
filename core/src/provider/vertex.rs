//! Google's Vertex AI: `POST …/publishers/google/models/…:predict`, with a token of a service account.

use serde_json::{Map, Value};

use super::answer;
use super::gemini::put_content;
use super::litellm::{Asked, Made, encoded, plain, question};
use super::wire::{HttpWire, Texts, TokenSource};
use crate::address::BaseUrl;
use crate::request::{Credential, Secret};

/// The location if nobody names one.
const LOCATION: &str = "us-central1";
/// Where Google issues tokens. The key file names one, too, which could be anybody's.
const TOKENS: &str = "https://oauth2.googleapis.com/token";

pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let settings = asked.settings;
    let variable = |names: &[&str]| settings.variable(names).map(str::to_owned);
    if asked.options.0.contains_key("vertex_credentials") {
        return Err(
            "embedding config: extra_options must not contain vertex_credentials: put the path of the key \
             file into the worker's environment variable VERTEX_CREDENTIALS"
                .to_owned(),
        );
    }
    let project = asked.options.text("vertex_project")?;
    let project = project.or_else(|| variable(&["VERTEXAI_PROJECT", "VERTEX_PROJECT"]));
    let project = project.ok_or(
        "embedding config: put vertex_project into extra_options, or set VERTEXAI_PROJECT for the worker",
    )?;
    let project = plain("vertex_project", project)?;
    let location = asked.options.text("vertex_location")?;
    let location = location.or_else(|| variable(&["VERTEXAI_LOCATION", "VERTEX_LOCATION"]));
    let location = plain(
        "vertex_location",
        location.unwrap_or_else(|| LOCATION.to_owned()),
    )?;
    let host = match location.as_str() {
        "global" => "aiplatform.googleapis.com".to_owned(),
        location => format!("{location}-aiplatform.googleapis.com"),
    };
    let given = asked.options.text("api_base")?;
    let base_url = match (given, settings.variable(asked.known.base_variables)) {
        (Some(url), _) => BaseUrl::from_config(&url)?,
        (None, Some(url)) => BaseUrl::from_operator(url)?,
        (None, None) => BaseUrl::from_operator(&format!("https://{host}"))?,
    };
    let name = asked
        .key_name()
        .unwrap_or_else(|| "VERTEX_CREDENTIALS".to_owned());
    // A token that is ready needs no exchange.
    let is_token = name.ends_with("_TOKEN");
    let refusal = settings.secrets.refusal_to_sign(&name, &base_url, &host);
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let one_by_one = asked.model.starts_with("gemini-embedding-2");
    let method = if one_by_one {
        "embedContent"
    } else {
        "predict"
    };
    let model = encoded(&asked.model, "@");
    let path = format!(
        "v1/projects/{project}/locations/{location}/publishers/google/models/{model}:{method}"
    );
    let url = base_url.endpoint(&path)?;
    let credential = is_token.then(|| Credential::Key(Secret::bearer(name.clone())));
    let mut wire = if one_by_one {
        let body = asked.options.rest("outputDimensionality");
        let mut wire = HttpWire::new(url, body, answer::ONE_CONTENT, credential);
        wire.question = question(&wire.body);
        wire.texts = Texts::One(put_content);
        wire
    } else {
        predict(asked, url, credential)
    };
    if !is_token {
        wire.token = Some(TokenSource {
            url: BaseUrl::from_operator(TOKENS)?.itself()?,
            credential: Credential::Google {
                variable: name.clone(),
            },
        });
    }
    Ok(Made {
        wire,
        base_url,
        secret: Some(name),
        // This model takes one text for each request.
        inputs: if one_by_one || asked.model.starts_with("gemini-embedding") {
            1
        } else {
            asked.known.inputs
        },
    })
}

fn predict(asked: &mut Asked<'_>, url: http::Uri, credential: Option<Credential>) -> HttpWire {
    let parameters = asked.options.rest("outputDimensionality");
    let object: Map<String, Value> = ["task_type", "title"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), parameters.get(name)?.clone())))
        .collect();
    let mut body = Map::new();
    body.insert("parameters".to_owned(), parameters.into());
    let mut wire = HttpWire::new(url, body, answer::VERTEX, credential);
    wire.question = question(&object);
    wire.texts = Texts::Objects {
        array: "instances",
        object,
        put: |object, text| {
            object.insert("content".to_owned(), text.into());
        },
    };
    wire
}
