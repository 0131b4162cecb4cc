//! Requests to embedding providers, and their answers.

use std::fmt;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::packing::Packing;
use crate::provider::{BadAnswer, Reader, Vectors};
use crate::settings::{AzureSecret, EntraProof};

/// One request to a provider.
#[derive(Clone)]
pub struct Request {
    /// The request, without secrets.
    pub http: http::Request<Vec<u8>>,
    /// What [`authorize`](crate::authorize) adds, if the provider wants to know who is asking.
    pub credential: Option<Credential>,
    /// The timeout of the whole request, from the connection to the last byte of the answer.
    pub timeout: Duration,
    /// A valid answer is not longer than this many bytes, neither packed nor unpacked.
    pub answer_bytes_max: usize,
    /// Whether it may go to addresses of the public internet only: a shell checks them with
    /// [`public_addresses`](crate::public_addresses).
    pub is_public: bool,
    /// Reads the vectors of an answer; `None` if the request does not ask for vectors.
    pub(crate) reader: Option<Reader>,
    /// How a document is packed that it asks for.
    pub(crate) packing: Option<Packing>,
}

/// How a request shows who is asking. Apart from a token that a provider has issued to this worker, it
/// names the source of a secret and does not contain it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credential {
    /// A signature of Amazon Web Services.
    Aws(AwsCredential),
    /// A signature of Azure's storage.
    Azure(AzureCredential),
    /// An application or a workload of Microsoft Entra ID, in exchange for a token.
    Entra(EntraProof),
    /// A signed statement of a Google service account, in exchange for a token (RFC 7523).
    Google {
        /// The environment variable that contains the account's JSON key, or the path of its file.
        variable: String,
    },
    /// What the operator's environment provides, in exchange for keys that a container has at Amazon Web
    /// Services.
    Container,
    /// An API key of IBM Cloud, in exchange for a token.
    Ibm {
        /// The environment variable that contains the key.
        variable: String,
    },
    /// A key in a header.
    Key(Secret),
    /// Nothing but the place: a machine of Google's gives its token to its own processes.
    Metadata,
    /// A token that was issued to this worker.
    Token(Token),
    /// The token of a Kubernetes service account or of another issuer, in exchange for keys of Amazon Web
    /// Services.
    WebIdentity,
}

/// A secret of a request: its source and its header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secret {
    /// The name of the environment variable that contains it.
    pub variable: String,
    /// Which of several keys, separated by commas, if there are several.
    pub(crate) number: usize,
    /// The header that carries it.
    pub(crate) header: HeaderName,
    /// The prefix in the header.
    pub(crate) scheme: &'static str,
}

impl Secret {
    /// A bearer token (RFC 6750).
    #[must_use]
    pub const fn bearer(variable: String) -> Self {
        Self::in_header(variable, AUTHORIZATION, "Bearer ")
    }

    /// A key in this header, after a prefix.
    pub(crate) const fn in_header(
        variable: String,
        header: HeaderName,
        scheme: &'static str,
    ) -> Self {
        Self {
            variable,
            number: 0,
            header,
            scheme,
        }
    }
}

/// What a signature of Amazon Web Services is made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AwsCredential {
    /// The id of the key, if the vectorizer's config contains it; otherwise the variable
    /// `AWS_ACCESS_KEY_ID` contains it.
    pub(crate) key_id: Option<String>,
    /// The environment variable that contains the secret key.
    pub(crate) variable: String,
    /// Such as `us-east-1`.
    pub(crate) region: String,
    /// Such as `bedrock`. `s3` is signed in its own way.
    pub(crate) service: &'static str,
    /// Keys that were issued to this worker, instead of those of the variables.
    pub(crate) issued: Option<AwsKeys>,
}

/// What a signature of Azure's storage is made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AzureCredential {
    pub(crate) account: String,
    pub(crate) secret: AzureSecret,
}

/// Keys of Amazon Web Services. They are never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct AwsKeys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) session: Option<String>,
}

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKeys(..)")
    }
}

/// A token that a provider has issued to this worker. It is never printed.
#[derive(Clone, Eq, PartialEq)]
pub enum Token {
    /// Keys with which requests are signed.
    Aws(AwsKeys),
    /// A bearer token (RFC 6750).
    Bearer(String),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Request {
    /// A request without a secret that does not ask for vectors.
    #[must_use]
    pub const fn new(
        http: http::Request<Vec<u8>>,
        timeout: Duration,
        answer_bytes_max: usize,
    ) -> Self {
        Self {
            http,
            credential: None,
            timeout,
            answer_bytes_max,
            is_public: false,
            reader: None,
            packing: None,
        }
    }

    /// Lets it carry what was issued, or be signed with it.
    pub(crate) fn carry(&mut self, token: &Token) {
        match (&mut self.credential, token) {
            (Some(Credential::Aws(credential)), Token::Aws(keys)) => {
                credential.issued = Some(keys.clone());
            }
            (credential, token) => *credential = Some(Credential::Token(token.clone())),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.http.method())
            .field("uri", self.http.uri())
            .field("bytes", &self.http.body().len())
            .field("credential", &self.credential)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// A provider's answer, with any status.
pub type Response = http::Response<Vec<u8>>;

/// An answer that [`Intake::take`](crate::Intake::take) has processed, so its vectors have been
/// read.
#[derive(Debug)]
pub struct Received {
    /// The answer; its body is empty if it was read.
    pub(crate) response: Response,
    /// The vectors of the body.
    pub(crate) vectors: Option<Result<Vectors, BadAnswer>>,
    /// Why the document in the body cannot be unpacked.
    pub(crate) damage: Option<String>,
}

impl Received {
    /// The answer; its body is empty if vectors were read from it.
    #[must_use]
    pub const fn response(&self) -> &Response {
        &self.response
    }

    /// Takes the memory of a body from which vectors were read. A shell reuses it for the next body, or frees it: the
    /// core has no use for it.
    #[must_use]
    pub fn take_buffer(&mut self) -> Vec<u8> {
        match self.vectors {
            Some(_) => std::mem::take(self.response.body_mut()),
            None => vec![],
        }
    }
}

/// An answer that has not been read yet.
impl From<Response> for Received {
    fn from(response: Response) -> Self {
        Self {
            response,
            vectors: None,
            damage: None,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequestError {
    /// The connection broke; the provider may have done the work.
    Broken(String),
    /// No connection could be made.
    Connect(String),
    /// The secret does not exist, so nothing was sent.
    Secret(String),
    /// The timeout was exceeded.
    Timeout,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => write!(f, "the connection broke: {reason}"),
            Self::Connect(reason) => write!(f, "no connection: {reason}"),
            Self::Secret(reason) => f.write_str(reason),
            Self::Timeout => f.write_str("no answer within the time given"),
        }
    }
}

impl std::error::Error for RequestError {}
