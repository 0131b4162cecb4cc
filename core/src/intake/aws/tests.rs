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

/// The example "GET Object" of Amazon's page on signatures in the Authorization header of S3.
#[test]
fn requests_to_s3_are_signed_as_in_its_manual() {
    let mut http = http::Request::builder()
        .uri("https://examplebucket.s3.amazonaws.com/test.txt")
        .header("range", "bytes=0-9")
        .body(vec![])
        .unwrap();
    let credential = AwsCredential {
        key_id: None,
        variable: String::new(),
        region: "us-east-1".to_owned(),
        service: "s3",
        issued: None,
    };
    let keys = AwsKeys {
        id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        session: None,
    };
    keys.sign(&mut http, &credential, "20130524T000000Z")
        .unwrap();
    assert_eq!(
        http.headers()[http::header::AUTHORIZATION],
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
         SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
         Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
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
