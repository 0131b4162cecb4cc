//! Signature Version 4 of Amazon Web Services.
//!
//! Source: "Create a signed AWS API request" in the IAM User Guide. Every header that the request has when
//! it is signed is signed.

use http::{HeaderName, Uri};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Http, Vault, put, value};
use crate::request::{AwsCredential, AwsKeys};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Headers that a shell or a proxy may change on the way.
const UNSIGNED: [&str; 2] = ["accept-encoding", "user-agent"];

/// Signs a request. Returns what must not be seen in the answer.
pub(super) fn sign(
    http: &mut Http,
    credential: &AwsCredential,
    vault: &impl Vault,
) -> Result<Vec<String>, String> {
    let keys = match &credential.issued {
        Some(keys) => keys.clone(),
        None => keys(credential, vault)?,
    };
    let time = Timestamp::from_second(i64::try_from(vault.wall_time().as_secs()).unwrap_or(0))
        .map_err(|error| format!("the clock is wrong: {error}"))?;
    let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
    keys.sign(http, credential, &time)?;
    Ok(std::iter::once(keys.secret).chain(keys.session).collect())
}

/// The keys of the environment, or of a profile file, as AWS's own programs look for them.
fn keys(credential: &AwsCredential, vault: &impl Vault) -> Result<AwsKeys, String> {
    let set = |name: &str| {
        let value = vault.variable(name)?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let Some(secret) = set(&credential.variable) else {
        return profile(vault);
    };
    Ok(match &credential.key_id {
        Some(id) => AwsKeys {
            id: id.clone(),
            secret,
            session: None,
        },
        None => AwsKeys {
            id: value("AWS_ACCESS_KEY_ID", vault)?,
            secret,
            session: set("AWS_SESSION_TOKEN"),
        },
    })
}

/// The keys of the profile that `AWS_PROFILE` names, or of `default`.
fn profile(vault: &impl Vault) -> Result<AwsKeys, String> {
    let name = vault.variable("AWS_PROFILE");
    let name = name.unwrap_or_else(|| "default".to_owned());
    let path = vault.variable("AWS_SHARED_CREDENTIALS_FILE").or_else(|| {
        let home = vault.variable("HOME")?;
        Some(format!("{home}/.aws/credentials"))
    });
    let path = path.ok_or("ApiKeyNotFoundError: AWS_SECRET_ACCESS_KEY is not set")?;
    let text = vault
        .file(&path)
        .map_err(|reason| format!("the profile file {path} cannot be read: {reason}"))?;
    let section = format!("[{name}]");
    let lines = text.lines().map(str::trim);
    let lines = lines.skip_while(|line| *line != section).skip(1);
    let lines: Vec<(&str, &str)> = lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let field = |name: &str| {
        let mut lines = lines.iter();
        let line = lines.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(line.1.to_owned())
    };
    match (field("aws_access_key_id"), field("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Ok(AwsKeys {
            id,
            secret,
            session: field("aws_session_token"),
        }),
        _ => Err(format!(
            "ApiKeyNotFoundError: the profile {name} of {path} has no aws_access_key_id and aws_secret_access_key"
        )),
    }
}

/// Puts a request for keys into the body: a role, and a token that shows who is asking
/// (AssumeRoleWithWebIdentity of AWS's Security Token Service).
pub(super) fn ask_for_keys(http: &mut Http, vault: &impl Vault) -> Result<Vec<String>, String> {
    let role = value("AWS_ROLE_ARN", vault)?;
    let path = value("AWS_WEB_IDENTITY_TOKEN_FILE", vault)?;
    let token = vault.file(&path).map_err(|reason| {
        format!("the file that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read: {reason}")
    })?;
    let token = token.trim();
    let session = vault.variable("AWS_ROLE_SESSION_NAME");
    let session = session.unwrap_or_else(|| "pgai-worker".to_owned());
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", &role),
        ("RoleSessionName", &session),
        ("WebIdentityToken", token),
    ];
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        value.bytes().for_each(|byte| encode(&mut body, byte));
    }
    *http.body_mut() = body.into_bytes();
    let json = http::HeaderValue::from_static("application/json");
    http.headers_mut().insert(http::header::ACCEPT, json);
    Ok(vec![token.to_owned()])
}

impl AwsKeys {
    /// `time` is in ISO 8601 without punctuation, in UTC.
    fn sign(&self, http: &mut Http, credential: &AwsCredential, time: &str) -> Result<(), String> {
        let broken = || "an AWS key holds characters that no header may carry".to_owned();
        put(http, &DATE, time).ok_or_else(broken)?;
        if let Some(session) = &self.session {
            put(http, &SESSION, session).ok_or_else(broken)?;
        }
        let (names, request) = canonical(http);
        let date = time.get(..8).unwrap_or_default();
        let (region, service) = (&credential.region, credential.service);
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hash(request.as_bytes()));
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), date);
        for part in [region, service, "aws4_request"] {
            key = hmac(&key, part);
        }
        let signature = hexadecimal(&hmac(&key, &to_sign));
        let id = &self.id;
        let value = format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        put(http, &http::header::AUTHORIZATION, &value).ok_or_else(broken)
    }
}

/// The names of the signed headers, and the request in its canonical form.
fn canonical(http: &Http) -> (String, String) {
    let host = http.uri().authority().map_or("", |host| host.as_str());
    let mut headers: Vec<(&str, String)> = vec![("host", host.to_owned())];
    for name in http.headers().keys() {
        if UNSIGNED.contains(&name.as_str()) {
            continue;
        }
        let values = http.headers().get_all(name).iter();
        let values: Vec<String> = values
            .map(|value| one_space(&String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.push((name.as_str(), values.join(",")));
    }
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let (path, query) = (path(http.uri()), query(http.uri()));
    let (method, body) = (http.method(), hash(http.body()));
    let request = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}");
    (names, request)
}

/// A value of a header with single spaces.
fn one_space(value: &str) -> String {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// The path, encoded once more, as every service but S3 wants it.
fn path(uri: &Uri) -> String {
    let mut path = String::new();
    for byte in uri.path().bytes() {
        match byte {
            b'/' => path.push('/'),
            byte => encode(&mut path, byte),
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// The parts of the query in order.
fn query(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let parts = query.split('&').filter(|part| !part.is_empty());
    let mut parts: Vec<(&str, &str)> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    parts.sort_unstable();
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parts.join("&")
}

/// Percent-encodes a byte unless RFC 3986 calls it unreserved.
fn encode(text: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        text.push(char::from(byte));
    } else {
        text.push_str(&format!("%{byte:02X}"));
    }
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut padded = [0_u8; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(padded.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(padded.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> AwsKeys {
        AwsKeys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session: None,
        }
    }

    fn signed(http: http::request::Builder, body: &str, service: &'static str) -> String {
        let mut http = http.body(body.as_bytes().to_vec()).unwrap();
        let credential = AwsCredential {
            key_id: None,
            variable: String::new(),
            region: "us-east-1".to_owned(),
            service,
            issued: None,
        };
        keys()
            .sign(&mut http, &credential, "20150830T123600Z")
            .unwrap();
        let value = http.headers()[http::header::AUTHORIZATION]
            .to_str()
            .unwrap();
        value.to_owned()
    }

    fn request(method: &str, uri: &str) -> http::request::Builder {
        let uri = format!("https://example.amazonaws.com{uri}");
        http::Request::builder().method(method).uri(uri)
    }

    /// The signatures of the test suite that AWS publishes for version 4: get-vanilla, get-vanilla-query,
    /// get-vanilla-query-order-key-case, get-vanilla-utf8-query, post-vanilla, post-vanilla-query,
    /// post-x-www-form-urlencoded, get-header-value-trim.
    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        for (method, uri, headers, body, names, signature) in [
            (
                "GET",
                "/",
                &[][..],
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                "host;x-amz-date",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "GET",
                "/?%E1%88%B4=bar",
                &[],
                "",
                "host;x-amz-date",
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "POST",
                "/",
                &[],
                "",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                "/?Param1=value1",
                &[],
                "",
                "host;x-amz-date",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "POST",
                "/",
                &[("content-type", "application/x-www-form-urlencoded")],
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "GET",
                "/",
                &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                "",
                "host;my-header1;my-header2;x-amz-date",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
        ] {
            let mut request = request(method, uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            assert_eq!(
                signed(request, body, "service"),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders={names}, Signature={signature}"
                ),
                "{method} {uri}"
            );
        }
    }

    /// Variables and one file.
    struct Known(&'static [(&'static str, &'static str)], &'static str);

    impl Vault for Known {
        fn variable(&self, name: &str) -> Option<String> {
            let known = self.0.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| (*value).to_owned())
        }

        fn file(&self, path: &str) -> Result<String, String> {
            let is_there = path == "/home/me/.aws/credentials" || path == "/file";
            is_there
                .then(|| self.1.to_owned())
                .ok_or_else(|| "it is not there".to_owned())
        }

        fn wall_time(&self) -> std::time::Duration {
            std::time::Duration::from_secs(1_440_938_160)
        }

        fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, String> {
            Err("there are no keys".to_owned())
        }
    }

    fn found(known: &Known) -> Result<AwsKeys, String> {
        let credential = AwsCredential {
            key_id: None,
            variable: "AWS_SECRET_ACCESS_KEY".to_owned(),
            region: "us-east-1".to_owned(),
            service: "bedrock",
            issued: None,
        };
        super::keys(&credential, known)
    }

    #[test]
    fn keys_are_looked_for_where_the_programs_of_aws_look() {
        const FILE: &str = "[other]\naws_access_key_id = o\naws_secret_access_key=os\n\n\
            [default]\n# a comment\naws_access_key_id=d\nAWS_SECRET_ACCESS_KEY = ds=\naws_session_token = dt\n[x]\n";
        for (variables, id, secret, session) in [
            (
                &[
                    ("AWS_ACCESS_KEY_ID", "e"),
                    ("AWS_SECRET_ACCESS_KEY", "es"),
                    ("HOME", "/home/me"),
                ][..],
                "e",
                "es",
                None,
            ),
            (&[("HOME", "/home/me")], "d", "ds=", Some("dt")),
            (
                &[
                    ("AWS_SHARED_CREDENTIALS_FILE", "/file"),
                    ("AWS_PROFILE", "other"),
                ],
                "o",
                "os",
                None,
            ),
        ] {
            let keys = found(&Known(variables, FILE)).unwrap();
            assert_eq!(
                (&*keys.id, &*keys.secret, keys.session.as_deref()),
                (id, secret, session)
            );
        }
        for variables in [
            &[("HOME", "/home/other")][..],
            &[("HOME", "/home/me"), ("AWS_PROFILE", "x")],
            &[("HOME", "/home/me"), ("AWS_PROFILE", "nope")],
            &[],
        ] {
            found(&Known(variables, FILE)).unwrap_err();
        }
    }

    #[test]
    fn a_role_is_taken_on_with_a_token() {
        let known = Known(
            &[
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/file"),
            ],
            "a+token\n",
        );
        let mut http = request("POST", "/").body(vec![]).unwrap();
        assert_eq!(ask_for_keys(&mut http, &known).unwrap(), ["a+token"]);
        assert_eq!(
            String::from_utf8(http.into_body()).unwrap(),
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr\
             &RoleSessionName=pgai-worker&WebIdentityToken=a%2Btoken"
        );
    }

    /// RFC 4231, test cases 1, 2 and 6.
    #[test]
    fn the_code_of_a_message_is_that_of_the_rfc() {
        for (key, message, code) in [
            (
                &[0x0b; 20][..],
                "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hexadecimal(&hmac(key, message)), code);
        }
    }
}
