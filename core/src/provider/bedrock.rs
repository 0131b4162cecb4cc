//! Models at AWS Bedrock: `POST /model/…/invoke`, signed, or with a bearer key.

use serde_json::{Map, Value, json};

use super::answer;
use super::litellm::{Asked, Made, encoded, plain, question};
use super::wire::{HttpWire, Texts, TokenSource};
use crate::address::{BaseUrl, operators_url};
use crate::request::{AwsCredential, Credential, Secret};
use crate::settings::AwsSource;

/// A key of Bedrock's own, which is sent as it is.
const BEARER: &str = "AWS_BEARER_TOKEN_BEDROCK";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// Another address of the Security Token Service.
const STS: &str = "AWS_ENDPOINT_URL_STS";
/// The dimensions of Amazon's Nova model if nobody names others.
const NOVA_DIMENSIONS: u64 = 3072;

pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let settings = asked.settings;
    let region = region(asked)?;
    for name in ["aws_secret_access_key", "aws_session_token"] {
        if asked.options.0.contains_key(name) {
            return Err(format!(
                "embedding config: extra_options must not contain {name}: put it into the worker's \
                 environment"
            ));
        }
    }
    let key_id = asked.options.text("aws_access_key_id")?;
    let host = format!("bedrock-runtime.{region}.amazonaws.com");
    let endpoint = asked.options.text("aws_bedrock_runtime_endpoint")?;
    let endpoint = endpoint.or(asked.options.text("api_base")?);
    let base_url = asked.base_url_or(endpoint, &host)?;
    let has_bearer = settings.secrets.present.contains(BEARER);
    let name = match asked.key_name() {
        Some(name) if name != SECRET_KEY || !has_bearer => name,
        _ if has_bearer => BEARER.to_owned(),
        _ => SECRET_KEY.to_owned(),
    };
    if let Some(refusal) = settings.secrets.refusal_to_sign(&name, &base_url, &host) {
        return Err(refusal);
    }
    if name == SECRET_KEY && key_id.is_none() && !settings.secrets.has("AWS_ACCESS_KEY_ID") {
        return Err(
            "ApiKeyNotFoundError: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the worker"
                .to_owned(),
        );
    }
    // The environment's own keys win over issued ones.
    let is_own = name != SECRET_KEY || key_id.is_some();
    let source = settings.secrets.aws.as_ref().filter(|_| !is_own);
    let credential = if name == SECRET_KEY {
        Credential::Aws(AwsCredential {
            key_id,
            variable: name.clone(),
            region: region.clone(),
            service: "bedrock",
            issued: None,
        })
    } else {
        Credential::Key(Secret::bearer(name.clone()))
    };
    let id = asked.options.text("model_id")?;
    let id = encoded(&id.unwrap_or_else(|| asked.model.clone()), "");
    let url = base_url.endpoint(&format!("model/{id}/invoke"))?;
    let mut wire = of_model(asked, url, credential)?;
    wire.token = source
        .map(|source| token(source, &region, settings.variable(&[STS])))
        .transpose()?;
    Ok(Made {
        inputs: match wire.texts {
            Texts::One(_) => 1,
            Texts::Array(_) | Texts::Objects { .. } => asked.known.inputs,
        },
        wire,
        base_url,
        secret: Some(name),
    })
}

fn region(asked: &mut Asked<'_>) -> Result<String, String> {
    let region = asked.options.text("aws_region_name")?;
    let region = region.or_else(|| {
        let variables = ["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"];
        asked.settings.variable(&variables).map(str::to_owned)
    });
    let region = region.ok_or(
        "embedding config: put aws_region_name into extra_options, or set AWS_REGION_NAME for the worker",
    )?;
    plain("aws_region_name", region)
}

/// The request for keys. `sts` is another address of the Security Token Service.
fn token(source: &AwsSource, region: &str, sts: Option<&str>) -> Result<TokenSource, String> {
    Ok(match source {
        AwsSource::Container(url) => TokenSource {
            url: operators_url(url)
                .ok_or("the URL of the container's keys (AWS_CONTAINER_CREDENTIALS_…) is no URL")?,
            credential: Credential::Container,
        },
        AwsSource::Instance(_) => {
            return Err(
                "the keys of an EC2 instance are used for documents only: set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_BEARER_TOKEN_BEDROCK for the worker"
                    .to_owned(),
            );
        }
        AwsSource::WebIdentity => {
            let place = format!("https://sts.{region}.amazonaws.com/");
            TokenSource {
                url: BaseUrl::from_operator(sts.unwrap_or(&place))?.itself()?,
                credential: Credential::WebIdentity,
            }
        }
    })
}

/// The request of each maker's models. The name may begin with a group of regions (`eu.`).
fn of_model(
    asked: &mut Asked<'_>,
    url: http::Uri,
    credential: Credential,
) -> Result<HttpWire, String> {
    let model = asked.model.clone();
    let name = |maker: &str| model.starts_with(maker) || model.contains(&format!(".{maker}"));
    let credential = Some(credential);
    if name("cohere.embed") {
        let mut body = asked.options.rest("output_dimension");
        body.entry("input_type")
            .or_insert_with(|| "search_document".into());
        let mut wire = HttpWire::new(url, body, answer::COHERE, credential);
        wire.texts = Texts::Array("texts");
        wire.question = question(&wire.body);
        Ok(wire)
    } else if name("amazon.titan-embed") {
        let body = asked.options.rest("dimensions");
        let mut wire = HttpWire::new(url, body, answer::TITAN, credential);
        wire.texts = Texts::One(|body, text| {
            body.insert("inputText".to_owned(), text.into());
        });
        Ok(wire)
    } else if name("amazon.nova") {
        let dimensions = asked.options.take("dimensions");
        let dimensions = dimensions.unwrap_or_else(|| NOVA_DIMENSIONS.into());
        let parameters = |purpose: &str| {
            json!({
                "embeddingPurpose": purpose,
                "embeddingDimension": dimensions,
                "text": {"truncationMode": "END"},
            })
        };
        let mut body = Map::new();
        body.insert(
            "schemaVersion".to_owned(),
            "nova-multimodal-embed-v1".into(),
        );
        body.insert("taskType".to_owned(), "SINGLE_EMBEDDING".into());
        body.insert(
            "singleEmbeddingParams".to_owned(),
            parameters("GENERIC_INDEX"),
        );
        let mut wire = HttpWire::new(url, body, answer::NOVA, credential);
        wire.question = vec![("singleEmbeddingParams", parameters("GENERIC_RETRIEVAL"))];
        wire.texts = Texts::One(put_nova);
        Ok(wire)
    } else {
        Err(format!(
            "this worker does not know the model {model:?} of Bedrock: it knows amazon.titan-embed…, \
             amazon.nova… and cohere.embed…"
        ))
    }
}

fn put_nova(body: &mut Map<String, Value>, text: &str) {
    if let Some(Value::Object(parameters)) = body.get_mut("singleEmbeddingParams")
        && let Some(Value::Object(place)) = parameters.get_mut("text")
    {
        place.insert("value".to_owned(), text.into());
    }
}
