//! Keys go where their providers and the operator are, over https, and never come back.

use serde_json::Value;
use tests::process::Process;
use tests::stage::{PATIENCE, Stage};
use tests::stub::{Answer, Behaviour};

use crate::SHELLS;

const SECRET: &str = "sk-proj/a+b\"c\\d%e-0123456789";

/// An embedding, and what is said of it.
const REFUSED: [(&str, &str); 14] = [
    (
        "openai('m', 2, base_url => 'http://api.openai.com/v1')",
        "over https only",
    ),
    (
        "openai('m', 2, base_url => 'https://evil.example/v1')",
        "--allow-host evil.example",
    ),
    (
        "openai('m', 2, base_url => 'https://10.0.0.7/v1')",
        "--allow-host 10.0.0.7",
    ),
    (
        "openai('m', 2, base_url => 'https://[fd12::1]/v1')",
        "--allow-host fd12::1",
    ),
    (
        "openai('m', 2, base_url => 'http://litellm:4000')",
        "--allow-host litellm",
    ),
    (
        "openai('m', 2, base_url => 'https://nas.local')",
        "--allow-host nas.local",
    ),
    (
        "openai('m', 2, api_key_name => 'VOYAGE_API_KEY')",
        "--allow-host api.openai.com",
    ),
    (
        "openai('m', 2, base_url => 'https://api.voyageai.com/v1')",
        "--allow-host api.voyageai.com",
    ),
    (
        "voyageai('m', 2, api_key_name => 'OPENAI_API_KEY')",
        "--allow-host api.voyageai.com",
    ),
    (
        "openai('m', 2, api_key_name => 'DB_URL')",
        "--secret-names DB_URL",
    ),
    (
        "ollama('m', 2, base_url => 'http://169.254.169.254/latest')",
        "metadata service",
    ),
    (
        "ollama('m', 2, base_url => 'http://[::ffff:169.254.169.254]')",
        "metadata service",
    ),
    (
        "ollama('m', 2, base_url => 'http://2852039166')",
        "neither a name nor an address",
    ),
    (
        "ollama('m', 2, base_url => 'http://0xa9fea9fe')",
        "neither a name nor an address",
    ),
];

/// What `doctor` says of each vectorizer, without asking any provider.
fn judged(stage: &Stage, shell: &str, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut all = vec![
        ("DB_URL", stage.worker_url.as_str()),
        ("OPENAI_API_KEY", SECRET),
        ("VOYAGE_API_KEY", SECRET),
    ];
    all.extend(environment);
    let arguments = [&["doctor", "--offline", "--json"], arguments].concat();
    let mut doctor = Process::worker(shell, &arguments, &all);
    doctor.wait(PATIENCE);
    let lines = doctor.lines().join("\n");
    assert!(!lines.contains(SECRET));
    lines
}

fn vectorizer(stage: &mut Stage, name: &str, embedding: &str) {
    stage.run(&format!(
        "select ai.create_vectorizer('blog', name => '{name}', loading => ai.loading_column('body'),
           embedding => ai.embedding_{embedding}, destination => ai.destination_table('{name}'))"
    ));
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run("create table blog (id int primary key, body text)");
    stage
}

#[test]
fn a_key_is_sent_nowhere_that_nobody_named() {
    let mut stage = stage();
    for (at, (embedding, _)) in REFUSED.iter().enumerate() {
        vectorizer(&mut stage, &format!("v{at:02}"), embedding);
    }
    for shell in SHELLS {
        let said = judged(&stage, shell, &[], &[]);
        let findings = said.lines().find(|line| line.starts_with('[')).unwrap();
        let findings: Value = serde_json::from_str(findings).unwrap();
        for (at, (embedding, phrase)) in REFUSED.iter().enumerate() {
            let what = format!("the vectorizer v{at:02} cannot run");
            let finding = findings
                .as_array()
                .unwrap()
                .iter()
                .find(|it| it["finding"] == what);
            let remedy = finding.map_or("it can run", |it| it["remedy"].as_str().unwrap());
            println!("{shell}: {embedding}: {remedy}");
            assert!(remedy.contains(phrase), "{embedding}: {remedy}");
        }
    }
}

#[test]
fn a_key_goes_where_the_operator_says() {
    for (embedding, environment, arguments) in [
        ("openai('m', 2)", vec![], vec![]),
        (
            "openai('m', 2, base_url => 'http://127.0.0.1:1/v1')",
            vec![],
            vec![],
        ),
        (
            "openai('m', 2, base_url => 'https://r.openai.azure.com/openai/v1?api-version=preview')",
            vec![],
            vec![],
        ),
        (
            "openai('m', 2, base_url => 'http://litellm:4000')",
            vec![],
            vec!["--allow-host", "litellm"],
        ),
        (
            "openai('m', 2)",
            vec![("OPENAI_BASE_URL", "https://10.0.0.7/v1")],
            vec![],
        ),
        // No key is sent there, as beside Ollama in Docker Compose.
        (
            "ollama('m', 2, base_url => 'http://ollama:11434')",
            vec![],
            vec![],
        ),
        (
            "openai('m', 2, base_url => 'http://vllm:8000/v1', api_key_name => null)",
            vec![],
            vec![],
        ),
    ] {
        let mut stage = stage();
        vectorizer(&mut stage, "v", embedding);
        for shell in SHELLS {
            let said = judged(&stage, shell, &environment, &arguments);
            assert!(!said.contains("cannot run"), "{embedding}: {said}");
        }
    }
}

#[test]
fn a_key_that_a_provider_repeats_is_masked() {
    let escaped = serde_json::to_string(SECRET).unwrap();
    let escaped = escaped.trim_matches('"');
    let twice = serde_json::to_string(escaped).unwrap();
    let encoded: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let forms = [SECRET, escaped, twice.trim_matches('"'), &encoded];
    for shell in SHELLS {
        for status in [200, 400, 401, 500] {
            let mut stage = stage();
            let embedding = format!("openai('m', 8, base_url => '{}')", stage.stub.openai_url());
            vectorizer(&mut stage, "v", &embedding);
            stage.run("insert into blog values (1, 'one')");
            let body = forms
                .map(|form| format!("key {form} is wrong"))
                .join(" and ");
            let body = match status {
                200 => format!("{{\"data\": \"{escaped}\"}}"),
                _ => body,
            };
            stage
                .stub
                .behave(move |_| Behaviour::Answer(Answer::new(status).body(&body)));
            let environment = [("OPENAI_API_KEY", SECRET)];
            let mut worker =
                stage.worker_with(shell, &["--once", "--log-level", "debug"], &environment);
            worker.wait(PATIENCE);
            let rows = stage
                .sql
                .query(
                    "select concat(e.*) from ai.vectorizer_errors e
                     union all select concat(f.*) from ai._vectorizer_q_failed_1 f
                     union all select concat(p.*) from ai.vectorizer_worker_progress p
                     union all select concat(p.*) from ai.vectorizer_worker_process p",
                    &[],
                )
                .unwrap();
            let mut seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            assert!(!seen.is_empty());
            seen.extend(worker.lines());
            for form in forms.iter().chain(&["0123456789", "%30%31%32"]) {
                assert!(!seen.concat().contains(form), "{shell} {status}: {seen:#?}");
            }
        }
    }
}

#[test]
fn a_key_in_the_place_of_its_name_is_refused_and_not_repeated() {
    let mut stage = stage();
    for key in [
        "sk-proj-abcdefghijklmnop",
        "hf_AbCdEfGhIjKlMnOpQrStUvWx0123",
        "AIzaSyAbCdEfGhIjKlMnOpQrStUvWx0123",
        "key with blanks",
        "1KEY",
        "",
    ] {
        for function in ["openai", "voyageai"] {
            let sql = format!(
                "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
                   embedding => ai.embedding_{function}('m', 2, api_key_name => '{key}'))"
            );
            let error = stage.sql.batch_execute(&sql).unwrap_err();
            let error = error.as_db_error().unwrap();
            let said = format!(
                "{error} {:?} {:?} {:?}",
                error.detail(),
                error.hint(),
                error.where_()
            );
            assert!(said.contains("environment variable"), "{said}");
            assert!(key.is_empty() || !said.contains(key), "{said}");
        }
    }
    for url in [
        "https://user:hunter2@api.openai.com",
        "https://api.openai.com/v1?key=hunter2",
        "https://api.openai.com/v1#hunter2",
    ] {
        let sql = format!(
            "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_openai('m', 2, base_url => '{url}'))"
        );
        let said = format!("{:?}", stage.sql.batch_execute(&sql).unwrap_err());
        assert!(
            said.contains("base_url") && !said.contains("hunter2"),
            "{said}"
        );
    }
    // Vectorizers of before, or of pgai.
    vectorizer(&mut stage, "v", "openai('m', 2)");
    stage.run(
        "update ai.vectorizer set config = jsonb_set(config, '{embedding,api_key_name}', '\"sk-proj-abcdef\"')",
    );
    for shell in SHELLS {
        let said = judged(&stage, shell, &[], &[]);
        assert!(
            said.contains("api_key_name") && !said.contains("sk-proj"),
            "{said}"
        );
    }
}
