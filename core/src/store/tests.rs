//! Requests for objects, and what answers do.

use super::*;
use crate::request::Credential;
use crate::settings::StoreSettings;

const WALL: Duration = Duration::from_secs(1_700_000_000);
const TIMEOUT: Duration = Duration::from_secs(9);

fn settings(variables: &[(&str, &str)], allowed: &[&str]) -> DocumentSettings {
    let value = |name: &str| {
        let mut all = variables.iter();
        let found = all.find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    DocumentSettings {
        allowed: allowed.iter().map(|text| (*text).to_owned()).collect(),
        stores: StoreSettings::of(value, |name| value(name).is_some()),
        ..DocumentSettings::default()
    }
}

const AWS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "i"), ("AWS_SECRET_ACCESS_KEY", "s")];
const ALL: [(&str, &str); 5] = [
    AWS[0],
    AWS[1],
    ("STORAGE_EMULATOR_HOST", "http://localhost:4443"),
    ("AZURE_STORAGE_ACCOUNT", "acme"),
    ("AZURE_STORAGE_KEY", "aw=="),
];

fn parse(address: &str, settings: &DocumentSettings) -> Result<Object, String> {
    let (scheme, rest) = address.split_once("://").unwrap();
    Object::parse(scheme, rest, None, settings).unwrap()
}

fn asked(stores: &Stores, object: &Object, settings: &DocumentSettings) -> (Asked, Request) {
    stores
        .request(object, settings, TIMEOUT, Time::ZERO)
        .unwrap()
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Received, RequestError> {
    let mut answer = http::Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    Ok(answer.body(body.as_bytes().to_vec()).unwrap().into())
}

#[test]
fn objects_have_urls() {
    let mut region = ALL.to_vec();
    region.push(("AWS_REGION", "eu-central-1"));
    let mut china = ALL.to_vec();
    china.push(("AWS_REGION", "cn-north-1"));
    let mut minio = ALL.to_vec();
    minio.push(("AWS_ENDPOINT_URL_S3", "http://minio:9000/"));
    for (variables, address, url) in [
        (
            &ALL[..],
            "s3://my-bucket/a/b c+ü.pdf",
            "https://my-bucket.s3.us-east-1.amazonaws.com/a/b%20c%2B%C3%BC.pdf",
        ),
        (
            &region,
            "s3a://my-bucket/a%20b?c#d",
            "https://my-bucket.s3.eu-central-1.amazonaws.com/a%2520b%3Fc%23d",
        ),
        (
            &china,
            "s3://b.c/k",
            "https://s3.cn-north-1.amazonaws.com.cn/b.c/k",
        ),
        (
            &minio,
            "s3://my-bucket/a//b",
            "http://minio:9000/my-bucket/a//b",
        ),
        (
            &ALL,
            "gs://b/a/b.pdf",
            "http://localhost:4443/storage/v1/b/b/o/a%2Fb.pdf?alt=media",
        ),
        (
            &ALL,
            "az://docs/a/b.pdf",
            "https://acme.blob.core.windows.net/docs/a/b.pdf",
        ),
        (
            &ALL,
            "abfss://docs@acme.dfs.core.windows.net/a",
            "https://acme.blob.core.windows.net/docs/a",
        ),
    ] {
        let settings = settings(variables, &[]);
        let object = parse(address, &settings).unwrap();
        let (what, request) = asked(&Stores::default(), &object, &settings);
        assert_eq!(
            (what, request.http.uri().to_string().as_str()),
            (Asked::Object, url)
        );
        assert_eq!(request.answer_bytes_max, settings.bytes_max + 1);
    }
}

#[test]
fn what_may_not_be_read_is_refused_before_anything_is_asked() {
    let all = settings(&ALL, &["s3://reports/*"]);
    for (address, words) in [
        ("s3://secrets/a", "--allow-uri"),
        ("s3n://secrets/a", "--allow-uri"),
        ("s3://reports/../secrets/a", ".."),
        ("s3://reports", "s3://bucket/key"),
        ("s3:///a", "s3://bucket/key"),
        ("s3://key:secret@reports/a", "plain name"),
        ("s3://evil.example?/a", "plain name"),
        ("abfss://docs@other.dfs.core.windows.net/a", "account other"),
    ] {
        let reason = parse(address, &all).unwrap_err();
        assert!(reason.contains(words), "{address}: {reason}");
    }
    parse("gs://anything/a", &all).unwrap();
    let none = settings(&[], &["*"]);
    for address in ["s3://b/a", "gs://b/a", "az://b/a"] {
        let reason = parse(address, &none).unwrap_err();
        assert!(reason.contains("has no credentials"), "{reason}");
    }
    assert!(Object::parse("ftp", "b/a", None, &all).is_none());
}

#[test]
fn the_region_of_a_bucket_is_learned_and_remembered() {
    let settings = settings(&AWS, &[]);
    let object = parse("s3://my-bucket/a", &settings).unwrap();
    let malformed =
        "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>";
    for (status, headers, body) in [
        (301, &[("x-amz-bucket-region", "eu-west-3")][..], ""),
        (400, &[], malformed),
    ] {
        let mut stores = Stores::default();
        let came = answer(status, headers, body);
        let heard = stores.heard(&object, Asked::Object, came, Time::ZERO, WALL);
        assert!(matches!(heard, Ok(Heard::Again(_))));
        let (_, request) = asked(&stores, &object, &settings);
        let url = request.http.uri().to_string();
        assert_eq!(url, "https://my-bucket.s3.eu-west-3.amazonaws.com/a");
        let Some(Credential::Aws(credential)) = request.credential else {
            panic!("{request:?}");
        };
        assert_eq!(
            (credential.region.as_str(), credential.service),
            ("eu-west-3", "s3")
        );
    }
    // No host is made of what a server says.
    let evil = answer(301, &[("x-amz-bucket-region", "evil.example/")], "");
    let heard = Stores::default().heard(&object, Asked::Object, evil, Time::ZERO, WALL);
    assert!(heard.is_err());
}

#[test]
fn a_role_is_taken_on_once_and_again_when_its_keys_run_out() {
    let mut variables = AWS.to_vec();
    variables.push(("AWS_ASSUME_ROLE_EXTERNAL_ID", "an id/1"));
    let settings = settings(&variables, &[]);
    let role = Some("arn:aws:iam::123:role/reader");
    let object = Object::parse("s3", "b-1/a", role, &settings)
        .unwrap()
        .unwrap();
    let mut stores = Stores::default();
    let (what, request) = asked(&stores, &object, &settings);
    assert_eq!(request.http.uri(), "https://sts.amazonaws.com/");
    let body = String::from_utf8(request.http.body().clone()).unwrap();
    assert_eq!(
        body,
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123%3Arole%2Freader\
         &RoleSessionName=timescale-vectorizer&ExternalId=an%20id%2F1"
    );
    let issued = "<AssumeRoleResponse><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>x&amp;y</SecretAccessKey>\
        <SessionToken>t</SessionToken><Expiration>2023-11-14T23:13:20Z</Expiration></AssumeRoleResponse>";
    let heard = stores.heard(&object, what, answer(200, &[], issued), Time::ZERO, WALL);
    assert!(matches!(heard, Ok(Heard::Again(_))));
    let (what, request) = asked(&stores, &object, &settings);
    assert_eq!(what, Asked::Object);
    let Some(Credential::Aws(credential)) = request.credential else {
        panic!("{request:?}");
    };
    assert_eq!(credential.issued.unwrap().secret, "x&y");
    // They are good for an hour, and replaced before.
    for (minute, is_asked) in [(53, false), (54, true)] {
        let now = Time::new(Duration::from_secs(minute * 60));
        let (what, _) = stores.request(&object, &settings, TIMEOUT, now).unwrap();
        assert_eq!(matches!(what, Asked::Token(_)), is_asked, "{minute}");
    }
    // Refused, they are forgotten at once.
    let expired = answer(400, &[], "<Error><Code>ExpiredToken</Code></Error>");
    let heard = stores.heard(&object, Asked::Object, expired, Time::ZERO, WALL);
    assert!(matches!(heard, Ok(Heard::Again(_))));
    let (what, _) = asked(&stores, &object, &settings);
    assert!(matches!(what, Asked::Token(_)));
    let denied = answer(
        403,
        &[],
        "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>",
    );
    let heard = stores.heard(&object, what, denied, Time::ZERO, WALL);
    let reason = heard.err().unwrap();
    assert!(reason.contains("AWS_ASSUME_ROLE_EXTERNAL_ID"), "{reason}");
}

#[test]
fn the_role_of_an_ec2_instance_gives_keys_in_three_steps() {
    let settings = settings(
        &[AWS[0], AWS[1], ("AWS_EC2_METADATA_DISABLED", "false")],
        &[],
    );
    // The variables of AWS's keys are set, and come first.
    let mut stores = Stores::default();
    let object = parse("s3://b-1/a", &settings).unwrap();
    assert_eq!(asked(&stores, &object, &settings).0, Asked::Object);

    let settings = of_instance();
    let steps = [
        ("PUT", "latest/api/token", "to/ken=="),
        (
            "GET",
            "latest/meta-data/iam/security-credentials/",
            "reader\n",
        ),
        (
            "GET",
            "latest/meta-data/iam/security-credentials/reader",
            r#"{"Code": "Success", "AccessKeyId": "ASIA", "SecretAccessKey": "x", "Token": "t",
                "Expiration": "2023-11-14T23:13:20Z"}"#,
        ),
    ];
    for (method, path, said) in steps {
        let (what, request) = asked(&stores, &object, &settings);
        let url = format!("http://169.254.169.254/{path}");
        assert_eq!(
            (
                request.http.method().as_str(),
                request.http.uri().to_string()
            ),
            (method, url)
        );
        let seen = request.http.headers().get("x-aws-ec2-metadata-token");
        assert_eq!(seen.is_some(), method == "GET");
        assert!(seen.is_none_or(|seen| seen == "to/ken==" && seen.is_sensitive()));
        let heard = stores.heard(&object, what, answer(200, &[], said), Time::ZERO, WALL);
        assert!(matches!(heard, Ok(Heard::Again(_))));
    }
    let (what, request) = asked(&stores, &object, &settings);
    assert_eq!(what, Asked::Object);
    let Some(Credential::Aws(credential)) = request.credential else {
        panic!("{request:?}");
    };
    assert_eq!(credential.issued.unwrap().session.unwrap(), "t");
}

#[test]
fn an_instance_without_a_role_and_one_that_answers_nonsense_are_told() {
    let settings = of_instance();
    let object = parse("s3://b-1/a", &settings).unwrap();
    for (status, said, words) in [
        (404, "", "has no role"),
        (403, "no", "403: no"),
        (200, "", "cannot be read"),
        (200, "a\u{1}", "cannot be read"),
        (200, "a?b", "cannot be read"),
    ] {
        let mut stores = Stores::default();
        let (what, _) = asked(&stores, &object, &settings);
        let heard = stores.heard(&object, what, answer(status, &[], said), Time::ZERO, WALL);
        let reason = heard.err().unwrap();
        assert!(reason.contains(words), "{reason}");
        // It begins again.
        assert!(matches!(
            asked(&stores, &object, &settings).0,
            Asked::Token(TokenOf::Instance)
        ));
    }
}

#[test]
fn a_token_of_entra_id_reads_blobs_until_azure_refuses_it() {
    let entra = [
        ("AZURE_STORAGE_ACCOUNT", "acme"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_CLIENT_SECRET", "s"),
    ];
    let endpoint = "http://169.254.169.254/metadata/identity/oauth2/token";
    let machine = [entra[0], ("AZURE_MSI_ENDPOINT", endpoint)];
    for (variables, method, valid) in [
        (&entra[..], "POST", "3599"),
        (&machine[..], "GET", "\"3599\""),
    ] {
        let settings = settings(variables, &[]);
        let object = parse("az://docs/a", &settings).unwrap();
        let mut stores = Stores::default();
        let (what, request) = asked(&stores, &object, &settings);
        assert_eq!(request.http.method(), method);
        let is_machine = request.http.headers().get("metadata").is_some();
        assert_eq!(is_machine, method == "GET");
        let issued = format!(r#"{{"access_token": "a", "expires_in": {valid}}}"#);
        let heard = stores.heard(&object, what, answer(200, &[], &issued), Time::ZERO, WALL);
        assert!(matches!(heard, Ok(Heard::Again(_))));
        let (what, request) = asked(&stores, &object, &settings);
        assert_eq!(what, Asked::Object);
        assert!(request.http.headers().contains_key("x-ms-version"));
        assert!(matches!(request.credential, Some(Credential::Token(_))));
        let later = Time::new(Duration::from_secs(3300));
        let (what, _) = stores.request(&object, &settings, TIMEOUT, later).unwrap();
        assert!(matches!(what, Asked::Token(TokenOf::Azure)));
        let refused = answer(401, &[("x-ms-error-code", "InvalidAuthenticationInfo")], "");
        let heard = stores.heard(&object, Asked::Object, refused, Time::ZERO, WALL);
        assert!(matches!(heard, Ok(Heard::Again(_))));
        // The new one is refused, too: nothing helps.
        let refused = answer(401, &[("x-ms-error-code", "InvalidAuthenticationInfo")], "");
        let heard = stores.heard(&object, Asked::Object, refused, Time::ZERO, WALL);
        assert!(heard.err().unwrap().contains("AZURE_TENANT_ID"));
    }
}

/// An environment without keys, on an instance of EC2. A worker's options say that the keys are elsewhere.
fn of_instance() -> DocumentSettings {
    let value = |name: &str| (name == "AWS_EC2_METADATA_DISABLED").then(|| "False".to_owned());
    DocumentSettings {
        stores: StoreSettings::of(value, |name| name.starts_with("AWS_")),
        ..DocumentSettings::default()
    }
}

/// An address, an answer, and what is said of it.
type Case = (
    &'static str,
    u16,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

#[track_caller]
fn assert_refusals(cases: &[Case]) {
    let settings = settings(&ALL, &[]);
    for (address, status, headers, body, words) in cases {
        let object = parse(address, &settings).unwrap();
        let came = answer(*status, headers, body);
        let heard = Stores::default().heard(&object, Asked::Object, came, Time::ZERO, WALL);
        let reason = heard.err().unwrap();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn refusals_of_s3_say_what_to_do() {
    assert_refusals(&[
        (
            "s3://b/a",
            404,
            &[],
            "<Error><Code>NoSuchKey</Code></Error>",
            "no such object",
        ),
        (
            "s3://b/a",
            404,
            &[],
            "<Error><Code>NoSuchBucket</Code></Error>",
            "no such bucket",
        ),
        (
            "s3://b/a",
            403,
            &[],
            "<Error><Code>AccessDenied</Code></Error>",
            "s3:GetObject",
        ),
        (
            "s3://b/a",
            403,
            &[],
            "<Error><Code>SignatureDoesNotMatch</Code></Error>",
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            "s3://b/a",
            403,
            &[],
            "<Error><Code>RequestTimeTooSkewed</Code></Error>",
            "clock",
        ),
        (
            "s3://b/a",
            400,
            &[],
            "<Error><Code>ExpiredToken</Code></Error>",
            "new credentials",
        ),
        (
            "s3://b/a",
            503,
            &[],
            "<Error><Code>SlowDown</Code><Message>Reduce</Message></Error>",
            "503 SlowDown: Reduce",
        ),
    ]);
}

#[test]
fn refusals_of_google_and_azure_say_what_to_do() {
    assert_refusals(&[
        (
            "gs://b/a",
            403,
            &[],
            "{\"error\":{\"message\":\"no access\"}}",
            "storage.objects.get: no access",
        ),
        ("gs://b/a", 404, &[], "", "no such object"),
        (
            "az://b/a",
            404,
            &[("x-ms-error-code", "ContainerNotFound")],
            "",
            "no such container",
        ),
        (
            "az://b/a",
            404,
            &[("x-ms-error-code", "BlobNotFound")],
            "",
            "no such blob",
        ),
        (
            "az://b/a",
            403,
            &[("x-ms-error-code", "AuthenticationFailed")],
            "",
            "AZURE_STORAGE_KEY",
        ),
    ]);
}

#[test]
fn what_everybody_may_read_needs_no_credentials() {
    let settings = settings(&[AWS[0], AWS[1], ("AWS_NO_SIGN_REQUEST", "YES")], &[]);
    let object = parse("s3://open/a", &settings).unwrap();
    let (what, request) = asked(&Stores::default(), &object, &settings);
    assert_eq!(what, Asked::Object);
    assert!(request.credential.is_none());
    assert_eq!(
        request.http.uri(),
        "https://open.s3.us-east-1.amazonaws.com/a"
    );
    // A bucket elsewhere is found all the same.
    let mut stores = Stores::default();
    let elsewhere = answer(301, &[("x-amz-bucket-region", "eu-west-3")], "");
    let heard = stores.heard(&object, what, elsewhere, Time::ZERO, WALL);
    assert!(matches!(heard, Ok(Heard::Again(_))));
    let (_, request) = asked(&stores, &object, &settings);
    assert_eq!(
        request.http.uri(),
        "https://open.s3.eu-west-3.amazonaws.com/a"
    );
    let role = Some("arn:aws:iam::123:role/reader");
    let object = Object::parse("s3", "open/a", role, &settings)
        .unwrap()
        .unwrap();
    let refusal = stores.request(&object, &settings, TIMEOUT, Time::ZERO);
    assert!(refusal.unwrap_err().contains("AWS_NO_SIGN_REQUEST"));
    let no = self::settings(&[("AWS_NO_SIGN_REQUEST", "no")], &[]);
    assert!(parse("s3://open/a", &no).is_err());
}
