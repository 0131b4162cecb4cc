//! Keys: several in turn, from files, and issued ones.

use tests::stage::{PATIENCE, Stage};
use tests::stub::{Recorded, TOKEN};

use crate::SHELLS;

/// Two rows, and a vectorizer with this model and these options, in which `{url}` is the stub's address.
fn two_rows(model: &str, options: &str) -> Stage {
    let mut stage = Stage::new();
    let options = options.replace("{url}", &stage.stub.url());
    stage.run(&format!(
        "create table t (id int primary key, body text);
         insert into t values (1, 'one'), (2, 'two');
         select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
           embedding => ai.embedding_litellm('{model}', 8, extra_options => '{options}'),
           chunking => ai.chunking_none(), destination => ai.destination_table('d'))"
    ));
    stage
}

/// A worker embeds two rows with a model of Bedrock; the keys are issued to it. Returns the request for keys.
fn with_issued_keys(shell: &str, environment: &[(&str, &str)]) -> Recorded {
    let stage = two_rows("bedrock/amazon.titan-embed-text-v2:0", "{}");
    let url = stage.stub.url();
    let environment: Vec<(&str, String)> = environment
        .iter()
        .map(|(name, value)| (*name, value.replace("{url}", &url)))
        .chain([("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url.clone())])
        .chain([("AWS_REGION", "eu-west-1".to_owned())])
        .collect();
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut worker = stage.worker_with(shell, &["--once"], &environment);
    let code = worker.wait(PATIENCE).code();
    assert_eq!(code, Some(0), "{shell}: {:?}", worker.lines());
    let requests = stage.stub.requests();
    for request in &requests[1..] {
        let signature = request.header("authorization").unwrap();
        assert!(signature.contains("Credential=ASIAISSUED/"), "{signature}");
        assert!(signature.contains("x-amz-security-token"), "{signature}");
        let session = request.header("x-amz-security-token");
        assert_eq!(session, Some("issued-session"));
    }
    assert_eq!(requests.len(), 3, "{shell}");
    let lines = worker.lines();
    assert!(!lines.iter().any(|line| line.contains("issued-secret")));
    let mut search = stage.worker_with(shell, &["search", "v", "what"], &environment);
    let code = search.wait(PATIENCE).code();
    assert_eq!(code, Some(0), "{shell}: {:?}", search.lines());
    assert_eq!(stage.stub.complaints(), Vec::<String>::new());
    requests.into_iter().next().unwrap()
}

/// As on EKS: a role, and a token in a file.
#[test]
fn keys_of_aws_are_issued_for_a_role() {
    for shell in SHELLS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "a-token-of-kubernetes\n").unwrap();
        let environment = [
            ("AWS_ENDPOINT_URL_STS", "{url}/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ];
        let asked = with_issued_keys(shell, &environment);
        let form = asked.fields["form"].as_str().unwrap();
        assert!(form.contains("a-token-of-kubernetes"));
    }
}

/// As on ECS, and with EKS Pod Identity: an endpoint of the container, and a token in a file.
#[test]
fn keys_of_aws_are_issued_to_a_container() {
    for shell in SHELLS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "a-token-of-the-container\n").unwrap();
        let environment = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{url}/container"),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                file.to_str().unwrap(),
            ),
        ];
        let asked = with_issued_keys(shell, &environment);
        assert_eq!(
            asked.header("authorization"),
            Some("a-token-of-the-container")
        );
    }
}

/// watsonx: the key goes to IBM's issuer of tokens only.
#[test]
fn a_token_is_issued_for_an_api_key_of_ibm() {
    for shell in SHELLS {
        let stage = two_rows(
            "watsonx/ibm/slate",
            r#"{"project_id": "p", "api_base": "{url}"}"#,
        );
        let url = stage.stub.url();
        let issuer = format!("{url}/token");
        let environment = [
            ("WATSONX_API_KEY", "a+key/of=ibm"),
            ("WATSONX_IAM_URL", &issuer),
        ];
        let mut worker = stage.worker_with(shell, &["--once"], &environment);
        let code = worker.wait(PATIENCE).code();
        assert_eq!(code, Some(0), "{shell}: {:?}", worker.lines());
        let requests = stage.stub.requests();
        assert_eq!(requests.len(), 2, "{shell}");
        assert_eq!(
            requests[0].fields["form"],
            "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=a%2Bkey%2Fof%3Dibm"
        );
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(requests[1].header("authorization"), Some(bearer.as_str()));
    }
}

/// As on a machine of Google's, if the operator allows it.
#[test]
fn a_token_is_issued_to_a_machine_of_google() {
    for shell in SHELLS {
        let stage = two_rows(
            "vertex_ai/text-embedding-005",
            r#"{"vertex_project": "p", "api_base": "{url}"}"#,
        );
        let url = stage.stub.url();
        let mut without = stage.worker(shell, &["--once"]);
        assert_eq!(without.wait(PATIENCE).code(), Some(1), "{shell}");
        assert_eq!(stage.stub.requests().len(), 0, "{shell}");
        let host = url.strip_prefix("http://").unwrap();
        let mut worker = stage.worker_with(shell, &["--once"], &[("GCE_METADATA_HOST", host)]);
        let code = worker.wait(PATIENCE).code();
        assert_eq!(code, Some(0), "{shell}: {:?}", worker.lines());
        let requests = stage.stub.requests();
        assert_eq!(requests.len(), 2, "{shell}");
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(requests[1].header("authorization"), Some(bearer.as_str()));
        assert!(!worker.lines().iter().any(|line| line.contains(TOKEN)));
        assert_eq!(stage.stub.complaints(), Vec::<String>::new());
    }
}

#[test]
fn a_paused_key_does_not_stop_the_others() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.openai_url();
        stage.run(&format!(
            "create table t (id int primary key, body text);
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_openai('m', 8, base_url => '{url}'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))"
        ));
        stage.run("insert into t select n, 'text ' || n from generate_series(1, 300) n");
        stage.stub.require_key("good");
        let mut worker =
            stage.worker_with(shell, &["--once"], &[("OPENAI_API_KEY", "bad, good,worse")]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        assert_eq!(stage.number("select count(*) from d_store"), 300);
        let requests = stage.stub.requests();
        let with = |key: &str| {
            let key = format!("Bearer {key}");
            requests
                .iter()
                .filter(|request| request.header("authorization") == Some(&key))
                .count()
        };
        assert!((1..=4).contains(&with("bad")), "{shell}: {}", with("bad"));
        assert!(
            (1..=4).contains(&with("worse")),
            "{shell}: {}",
            with("worse")
        );
        let lines = worker.lines();
        let told = lines
            .iter()
            .filter(|line| line.contains("of 3 is not used for 300 s"));
        assert!(told.count() >= 2, "{shell}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("worse")), "{shell}");
    }
}

#[test]
fn a_key_that_is_replaced_in_its_file_is_used_without_a_restart() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.openai_url();
        stage.run(&format!(
            "create table t (id int primary key, body text);
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_openai('m', 8, base_url => '{url}'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))"
        ));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "first\n").unwrap();
        stage.stub.require_key("first");
        let variable = [("OPENAI_API_KEY_FILE", file.to_str().unwrap())];
        let _worker = stage.worker_with(shell, &["--poll-interval", "1"], &variable);
        stage.run("insert into t values (1, 'one')");
        stage.wait_until_done();
        std::fs::write(&file, "second\n").unwrap();
        stage.stub.require_key("second");
        stage.run("insert into t values (2, 'two')");
        stage.wait_until_done();
        assert_eq!(stage.number("select count(*) from d_store"), 2, "{shell}");
    }
}
