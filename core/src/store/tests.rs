//! Requests for objects, and what answers do.

mod issued;

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
