//! A docling-serve: a server of Docling, which parses documents with OCR and models of their layout.
//!
//! Source: the reference of its interface, version 1 (`POST /v1/convert/file`).

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use super::{Document, Parsed, Parts};
use crate::address::BaseUrl;
use crate::provider::{brief, said};
use crate::request::{Credential, Received, Request, RequestError, Response, Secret};
use crate::settings::Settings;

/// A server of Docling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DoclingServe {
    endpoint: Uri,
    /// What messages call it.
    place: String,
    secret: Option<Secret>,
}

/// Why a document did not become text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum NotConverted {
    /// The document is at fault.
    Document {
        reason: String,
        /// It would fail again.
        is_final: bool,
    },
    /// The server is, or its address or its key: no document is converted.
    Server(String),
}

/// The header with the key.
const KEY: HeaderName = HeaderName::from_static("x-api-key");
/// An answer is not longer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const NAME_BYTES_MAX: usize = 100;

impl DoclingServe {
    /// # Errors
    /// If nothing may be sent to the address, or not the key: what to do.
    pub(crate) fn new(url: &str, key: Option<&str>, settings: &Settings) -> Result<Self, String> {
        let of_parsing = |reason: String| {
            reason.replacen("embedding config: base_url", "parsing config: url", 1)
        };
        let base = BaseUrl::from_config(url).map_err(of_parsing)?;
        let refusal = key.and_then(|key| settings.secrets.refusal(key, &base, &[]));
        refusal.map_or(Ok(()), |refusal| Err(format!("parsing config: {refusal}")))?;
        Ok(Self {
            endpoint: base.endpoint("v1/convert/file").map_err(of_parsing)?,
            place: base.as_str().to_owned(),
            secret: key.map(|key| Secret::in_header(key.to_owned(), KEY, "")),
        })
    }

    /// The request for the text of a document. `boundary` stands in no document: those who wrote them did not know it.
    pub(crate) fn request(&self, file: &Document, boundary: &str, timeout: Duration) -> Request {
        let mut body = Vec::with_capacity(file.bytes.len() + 1024);
        // A picture stands in Markdown as a remark that there is one, and not with its bytes.
        for (name, value) in [("to_formats", "md"), ("image_export_mode", "placeholder")] {
            let part = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(part.as_bytes());
        }
        let (name, kind) = (plain_name(file), plain_type(file));
        let part = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(part.as_bytes());
        body.extend_from_slice(&file.bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let mut http = http::Request::new(body);
        *http.method_mut() = Method::POST;
        *http.uri_mut() = self.endpoint.clone();
        let headers = http.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"));
        if let Ok(form) = form {
            headers.insert(CONTENT_TYPE, form);
        }
        let mut request = Request::new(http, timeout, ANSWER_BYTES_MAX + 1);
        request.credential = self.secret.clone().map(Credential::Key);
        request
    }

    /// What its answer means.
    ///
    /// # Errors
    /// If there is no text in it: whose fault that is.
    pub(crate) fn text(
        &self,
        answer: Result<Received, RequestError>,
    ) -> Result<Parsed, NotConverted> {
        let place = &self.place;
        let response = match answer {
            Ok(received) => received.response,
            // One document may take too long, or more memory than the server has.
            Err(error @ (RequestError::Timeout | RequestError::Broken(_))) => {
                return Err(NotConverted::Document {
                    reason: format!("{place}: {error}"),
                    is_final: false,
                });
            }
            Err(error @ (RequestError::Connect(_) | RequestError::Secret(_))) => {
                return Err(NotConverted::Server(format!("{place}: {error}")));
            }
        };
        if !response.status().is_success() {
            return Err(self.refusal(&response));
        }
        let failed = |reason: String| NotConverted::Document {
            reason: format!("{place}: {reason}"),
            is_final: true,
        };
        if response.body().len() > ANSWER_BYTES_MAX {
            let most = ANSWER_BYTES_MAX >> 20;
            return Err(failed(format!("the text has more than {most} MB")));
        }
        let not_docling = format!("{place}: its answer is not that of a docling-serve");
        let Converted {
            document,
            status,
            errors,
        } = serde_json::from_slice(response.body())
            .map_err(|_| NotConverted::Server(not_docling))?;
        if status != "success" {
            let why = errors.into_iter().map(|error| error.error_message);
            let why = Vec::from_iter(why).join("; ");
            return Err(failed(format!("{}: {}", brief(&status), brief(&why))));
        }
        let text = document.and_then(|document| document.md_content);
        match text.filter(|text| !text.trim().is_empty()) {
            Some(text) => Ok(Parsed {
                text,
                parts: Parts::default(),
            }),
            None => Err(failed("there is no text in the document".to_owned())),
        }
    }

    fn refusal(&self, response: &Response) -> NotConverted {
        let (place, status) = (&self.place, response.status());
        let said = said(response.body());
        let reason = |advice: &str| format!("{place}: {status}{advice}: {said}");
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NotConverted::Server(reason(
                " (its key is in the variable that api_key_name of ai.parsing_docling_serve names)",
            )),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                NotConverted::Server(reason(" (a docling-serve answers at /v1/convert/file)"))
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE => NotConverted::Server(reason("")),
            StatusCode::GATEWAY_TIMEOUT => NotConverted::Document {
                reason: reason(" (DOCLING_SERVE_MAX_SYNC_WAIT of the server may be longer)"),
                is_final: false,
            },
            _ => NotConverted::Document {
                reason: reason(""),
                is_final: status.is_client_error(),
            },
        }
    }
}

/// An answer; the members that are not named here do not matter.
#[derive(Deserialize)]
struct Converted {
    document: Option<Content>,
    status: String,
    #[serde(default)]
    errors: Vec<ConversionError>,
}

#[derive(Deserialize)]
struct Content {
    md_content: Option<String>,
}

#[derive(Deserialize)]
struct ConversionError {
    #[serde(default)]
    error_message: String,
}

/// The name of a document as a header may carry it. Its end says what it is.
fn plain_name(file: &Document) -> String {
    let name = file.name.as_deref().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let plain = name.chars().map(|c| if is_plain(c) { c } else { '_' });
    let plain: String = plain.collect();
    let start = plain.len().saturating_sub(NAME_BYTES_MAX);
    match &plain[start..] {
        "" => "document".to_owned(),
        end => end.to_owned(),
    }
}

fn plain_type(file: &Document) -> &str {
    let kind = file.content_type.as_deref().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.' | '+');
    match kind.contains('/') && kind.chars().all(is_plain) {
        true => kind,
        false => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(key: Option<&str>, url: &str) -> Result<DoclingServe, String> {
        let mut settings = Settings::new("test");
        settings.secrets.names = vec!["*_API_KEY".to_owned()];
        let present = "DOCLING_API_KEY".to_owned();
        settings.secrets.present.insert(present);
        settings.secrets.hosts = vec!["docling".to_owned()];
        DoclingServe::new(url, key, &settings)
    }

    fn answer(status: u16, body: &str) -> Result<Received, RequestError> {
        let mut response = http::Response::new(body.as_bytes().to_vec());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response.into())
    }

    #[test]
    fn a_document_is_sent_as_a_form() {
        let serve = serve(None, "http://docling:5001/").unwrap();
        let file = Document {
            bytes: b"%PDF".to_vec(),
            name: Some("https://a.example/b/\"c\r\n\u{e9}.pdf".to_owned()),
            content_type: Some("application/pdf; x=\r\n".to_owned()),
        };
        let request = serve.request(&file, "xyz", Duration::from_secs(1));
        assert_eq!(request.http.uri(), "http://docling:5001/v1/convert/file");
        assert!(request.credential.is_none());
        let body = String::from_utf8(request.http.into_body()).unwrap();
        assert_eq!(
            body,
            "--xyz\r\nContent-Disposition: form-data; name=\"to_formats\"\r\n\r\nmd\r\n\
             --xyz\r\nContent-Disposition: form-data; name=\"image_export_mode\"\r\n\r\nplaceholder\r\n\
             --xyz\r\nContent-Disposition: form-data; name=\"files\"; filename=\"_c___.pdf\"\r\n\
             Content-Type: application/pdf\r\n\r\n%PDF\r\n--xyz--\r\n"
        );
    }

    #[test]
    fn its_key_goes_where_the_operator_says() {
        let with_key = |url| serve(Some("DOCLING_API_KEY"), url);
        for url in ["http://docling:5001", "http://localhost:5001"] {
            assert!(with_key(url).unwrap().secret.is_some());
        }
        let refusal = with_key("https://evil.example").unwrap_err();
        assert!(refusal.contains("--allow-host evil.example"), "{refusal}");
        let refusal = serve(Some("OTHER_API_KEY"), "http://docling").unwrap_err();
        assert!(refusal.contains("OTHER_API_KEY"), "{refusal}");
        for url in ["http://169.254.169.254", "http://a/?q", "ftp://a", ""] {
            let refusal = serve(None, url).unwrap_err();
            assert!(refusal.starts_with("parsing config: url"), "{refusal}");
        }
    }

    #[test]
    fn an_answer_has_a_text_or_says_whose_fault_it_is() {
        let serve = serve(None, "http://docling").unwrap();
        let good = r##"{"document": {"md_content": "# Ducks"}, "status": "success", "errors": [], "more": 1}"##;
        assert_eq!(serve.text(answer(200, good)).unwrap().text, "# Ducks");
        for (status, body, is_final) in [
            (
                200,
                r#"{"document": {"md_content": " "}, "status": "success"}"#,
                true,
            ),
            (200, r#"{"document": {}, "status": "success"}"#, true),
            (
                200,
                r#"{"document": null, "status": "failure", "errors": [{"error_message": "broken"}]}"#,
                true,
            ),
            (
                200,
                r#"{"document": {"md_content": "a"}, "status": "partial_success"}"#,
                true,
            ),
            (422, r#"{"detail": "no such format"}"#, true),
            (500, "Internal Server Error", false),
            (504, r#"{"detail": "too long"}"#, false),
        ] {
            let error = serve.text(answer(status, body)).unwrap_err();
            assert!(
                matches!(&error, NotConverted::Document { is_final: it, .. } if *it == is_final),
                "{status} {body}: {error:?}"
            );
        }
        for (status, body) in [
            (401, r#"{"detail": "The provided API Key is invalid."}"#),
            (404, "Not Found"),
            (429, ""),
            (502, ""),
            (503, ""),
            (200, "<html></html>"),
        ] {
            let error = serve.text(answer(status, body)).unwrap_err();
            let is_server = matches!(error, NotConverted::Server(_));
            assert!(is_server, "{status}: {error:?}");
        }
        let error = serve.text(Err(RequestError::Connect("refused".to_owned())));
        assert!(matches!(error, Err(NotConverted::Server(_))));
        let error = serve.text(Err(RequestError::Timeout));
        assert!(matches!(
            error,
            Err(NotConverted::Document {
                is_final: false,
                ..
            })
        ));
    }
}
