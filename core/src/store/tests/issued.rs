//! Keys and tokens that are issued to the worker before it asks for an object.

use super::*;

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
