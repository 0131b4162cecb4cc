//! Google's Vertex AI: `POST …/publishers/google/models/…:predict`, with a token of a service account.

use serde_json::{Map, Value};

use super::answer;
use super::gemini::put_content;
use super::litellm::{Asked, Made, encoded, plain, question};
use super::wire::{HttpWire, Texts, TokenSource};
use crate::address::BaseUrl;
use crate::request::{Credential, Secret};
use crate::settings::{METADATA_HOST, metadata_token};

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
    let base_url = asked.base_url_or(given, &host)?;
    let (credential, token) = credentials(asked, &base_url, &host)?;
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
    let secret = match (&credential, &token) {
        (Some(Credential::Key(secret)), _) => Some(secret.variable.clone()),
        (
            _,
            Some(TokenSource {
                credential: Credential::Google { variable },
                ..
            }),
        ) => Some(variable.clone()),
        _ => None,
    };
    let mut wire = if one_by_one {
        let body = asked.options.rest("outputDimensionality");
        let mut wire = HttpWire::new(url, body, answer::ONE_CONTENT, credential);
        wire.question = question(&wire.body);
        wire.texts = Texts::One(put_content);
        wire
    } else {
        predict(asked, url, credential)
    };
    wire.token = token;
    Ok(Made {
        wire,
        base_url,
        secret,
        // This model takes one text for each request.
        inputs: if one_by_one || asked.model.starts_with("gemini-embedding") {
            1
        } else {
            asked.known.inputs
        },
    })
}

/// What requests carry: a token that is ready, or one that is issued first, for a service account or for the
/// machine.
fn credentials(
    asked: &Asked<'_>,
    base_url: &BaseUrl,
    host: &str,
) -> Result<(Option<Credential>, Option<TokenSource>), String> {
    let settings = asked.settings;
    let name = asked.key_name();
    let machine = settings.variable(&[METADATA_HOST]);
    if let (Some(machine), None) = (machine, &name) {
        if let Some(refusal) = settings.secrets.refusal_of_issued(base_url, host) {
            return Err(refusal);
        }
        let url = metadata_token(machine)
            .ok_or_else(|| format!("{METADATA_HOST} is neither a host nor host:port"))?;
        let credential = Credential::Metadata;
        return Ok((None, Some(TokenSource { url, credential })));
    }
    let name = name.unwrap_or_else(|| "VERTEX_CREDENTIALS".to_owned());
    if let Some(refusal) = settings.secrets.refusal_to_sign(&name, base_url, host) {
        return Err(refusal);
    }
    // A token that is ready needs no exchange.
    if name.ends_with("_TOKEN") {
        return Ok((Some(Credential::Key(Secret::bearer(name))), None));
    }
    let url = BaseUrl::from_operator(TOKENS)?.itself()?;
    let credential = Credential::Google { variable: name };
    Ok((None, Some(TokenSource { url, credential })))
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
