//! What can be known of `Dockerfile.worker` and `docker-compose.yml` without Docker: the files they
//! name are there, and what they tell the worker is what the worker understands.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgai_core::{Command, Limits, Options, Settings};
use serde_json::Value;
use tests::process::worker_sources;
use tests::python;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The instructions with their arguments, continued lines joined.
fn instructions() -> Vec<(String, Vec<String>)> {
    let text = read("Dockerfile.worker").replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.collect())
        })
        .collect()
}

fn arguments(instruction: &str) -> Vec<Vec<String>> {
    let named = instructions().into_iter();
    named
        .filter(|(name, _)| name == instruction)
        .map(|(_, arguments)| arguments)
        .collect()
}

/// The paths that do not reach the build.
fn ignored() -> Vec<PathBuf> {
    let text = read(".dockerignore");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            assert!(!line.contains(['*', '?', '[', '!']), "a plain path: {line}");
            PathBuf::from(line)
        })
        .collect()
}

#[track_caller]
fn assert_reaches_the_build(path: &Path) {
    assert!(root().join(path).exists(), "{} is there", path.display());
    let hidden = ignored()
        .into_iter()
        .find(|hidden| path.starts_with(hidden));
    assert_eq!(hidden, None, "{} is ignored", path.display());
}

#[test]
fn everything_that_the_worker_is_made_from_reaches_the_build() {
    for path in ["Cargo.toml", "Cargo.lock", "sql/setup.sql"] {
        assert_reaches_the_build(Path::new(path));
    }
    let sources = worker_sources("worker");
    assert!(sources.len() > 20, "{sources:?}");
    for source in sources {
        assert_reaches_the_build(source.strip_prefix(root()).unwrap());
    }
    // Cargo wants the manifests of all members, whatever it builds.
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find(|line| line.starts_with("members"));
    let members: Vec<_> = members.unwrap().split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"shell-tokio"), "{members:?}");
    for member in members {
        assert_reaches_the_build(&Path::new(member).join("Cargo.toml"));
    }
}

#[test]
fn what_is_copied_is_there() {
    let mut stages = BTreeSet::new();
    for (instruction, arguments) in instructions() {
        if instruction == "FROM"
            && let [_, keyword, stage] = arguments.as_slice()
        {
            assert_eq!(keyword, "AS");
            stages.insert(stage.clone());
        }
        if instruction == "COPY" {
            let (_target, sources) = arguments.split_last().unwrap();
            match sources[0].strip_prefix("--from=") {
                Some(stage) => assert!(stages.contains(stage), "{stage}"),
                None => sources
                    .iter()
                    .for_each(|source| assert!(root().join(source).exists(), "{source}")),
            }
        }
    }
    let built = arguments("RUN")[0].join(" ");
    assert!(
        built.contains("cargo build --release --locked -p worker "),
        "{built}"
    );
    assert!(
        built.contains("cp target/release/worker /pgai-worker"),
        "{built}"
    );
    let copied = &arguments("COPY")[1..];
    assert_eq!(
        copied[0][1..],
        ["/pgai-worker", "usr/local/bin/pgai-worker"],
        "the binary has the name of the entry point"
    );
    assert_eq!(arguments("WORKDIR")[1], ["/image"]);
    assert_eq!(copied[1], ["--from=files", "/image", "/"]);
    assert_eq!(arguments("ENTRYPOINT"), [[r#"["pgai-worker"]"#]]);
    let variables = arguments("ENV").concat();
    assert!(variables.contains(&"PATH=/usr/local/bin:/usr/bin".to_owned()));
}

#[test]
fn both_images_are_of_one_debian_release_and_rust_is_new_enough() {
    let images = arguments("FROM");
    let [build, files, last] = images.as_slice() else {
        panic!("three stages: {images:?}")
    };
    assert_eq!(*last, ["scratch"]);
    let release = files[0].strip_prefix("debian:").unwrap();
    let rust = build[0].strip_prefix("rust:").unwrap();
    let codename = release.trim_end_matches("-slim");
    let version = rust.strip_suffix(&format!("-slim-{codename}"));
    let minor = |version: &str| -> u32 { version.split('.').nth(1).unwrap().parse().unwrap() };
    let needed = read("Cargo.toml");
    let needed = needed
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    assert!(minor(version.unwrap()) >= minor(needed.unwrap().trim_matches('"')));
}

/// The image and the service ask the worker itself, with a program that is in the image.
#[test]
fn the_health_check_asks_where_the_worker_listens() {
    let variables = arguments("ENV").concat();
    let address = variables.iter().find_map(|v| v.strip_prefix("PGAI_HTTP="));
    let check = arguments("HEALTHCHECK")[0].join(" ");
    let (_, command) = check.split_once("CMD ").unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    let url = format!("http://{}/healthz", address.unwrap());
    assert_eq!(command, ["wget", "-q", "-O", "/dev/null", &url]);
    let files = arguments("RUN")[2].join(" ");
    assert!(files.contains("/bin/busybox usr/bin/wget"), "{files}");
    let service = &compose()["services"]["vectorizer-worker"];
    let asked = strings(&service["healthcheck"]["test"]);
    assert_eq!(asked[0], "CMD");
    assert_eq!(asked[1..], command);
    assert_eq!(service["environment"]["PGAI_HTTP"], Value::Null);
}

#[test]
fn the_image_does_not_run_as_root() {
    let user = &arguments("USER")[0][0];
    assert!(user.parse::<u32>().unwrap() > 0);
}

const MANUAL: &str = include_str!("../../docs/moving-from-pgai.md");

/// A Compose file as Python's YAML reads it.
fn yaml(text: &str) -> Value {
    let python = python::with(&["PyYAML==6.0.3"]).unwrap();
    let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    let json = python::run(&python, &["-c", program, text]).unwrap();
    serde_json::from_str(&json).unwrap()
}

fn compose() -> Value {
    yaml(&read("docker-compose.yml"))
}

fn strings(value: &Value) -> Vec<String> {
    let strings = value.as_array().unwrap().iter();
    strings
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

/// What the worker makes of its service in a Compose file, with this in place of its command.
fn worker_with(compose: &Value, command: &[String]) -> (Command, BTreeMap<String, String>) {
    let worker = &compose["services"]["vectorizer-worker"];
    let environment: BTreeMap<String, String> = worker["environment"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let line = std::iter::once("pgai-worker".to_owned()).chain(command.iter().cloned());
    let command =
        Command::parse(line, &environment, "1").unwrap_or_else(|usage| panic!("{}", usage.text));
    (command, environment)
}

fn settings(options: &Options, environment: &BTreeMap<String, String>) -> Settings {
    options.settings("w", environment, Limits::default(), Duration::ZERO)
}

#[test]
fn the_worker_understands_the_command_and_the_environment_of_its_service() {
    let compose = compose();
    let worker = &compose["services"]["vectorizer-worker"];
    assert_eq!(strings(&worker["profiles"]), ["embeddings"]);
    let command = strings(&worker["command"]);
    assert_eq!(command, ["--poll-interval", "10"]);
    let (Command::Run(options), environment) = worker_with(&compose, &command) else {
        panic!("the service runs the worker")
    };
    let settings = settings(&options, &environment);
    assert_eq!(settings.poll_interval, Duration::from_secs(10));
    for (name, value) in &environment {
        match name.as_str() {
            "DB_URL" => assert_eq!(&options.db_url, value),
            "OLLAMA_HOST" => assert_eq!(settings.variables.get(name), Some(value)),
            secret => assert!(secret.ends_with("_API_KEY"), "the worker ignores {secret}"),
        }
    }
    // The addresses are those of the other services, and the password is the database's.
    let services = compose["services"].as_object().unwrap();
    let password = &services["db"]["environment"]["POSTGRES_PASSWORD"];
    let url = format!(
        "postgres://postgres:{}@db:5432/postgres",
        password.as_str().unwrap()
    );
    assert_eq!(environment["DB_URL"], url);
    assert_eq!(environment["OLLAMA_HOST"], "http://ollama:11434");
    assert!(services.contains_key("ollama"));
}

#[test]
fn the_commands_of_the_compose_file_and_the_dockerfile_are_the_workers() {
    let install = ["install".to_owned()];
    assert!(matches!(
        worker_with(&compose(), &install).0,
        Command::Install(_)
    ));
    assert!(read("docker-compose.yml").contains("run --rm vectorizer-worker install "));
    let compose = compose();
    let build = &compose["services"]["vectorizer-worker"]["build"];
    let context = root().join(build["context"].as_str().unwrap());
    assert!(context.join(build["dockerfile"].as_str().unwrap()).exists());
}

#[test]
fn services_wait_only_for_services_that_tell_how_they_are() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name}");
            assert!(
                services[needed]["healthcheck"]["test"].is_array(),
                "{needed}"
            );
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (volume, _) = volume.as_str().unwrap().split_once(':').unwrap();
            assert!(
                compose["volumes"].as_object().unwrap().contains_key(volume),
                "{volume}"
            );
        }
    }
}

#[test]
fn the_service_of_the_manual_is_understood_before_and_now() {
    let services = ["before", "now"].map(|when| {
        let block = python::block(MANUAL, &format!("docker-compose.yml, {when}"));
        let compose = yaml(&block.unwrap());
        let command = strings(&compose["services"]["vectorizer-worker"]["command"]);
        let (Command::Run(options), environment) = worker_with(&compose, &command) else {
            panic!("the service runs the worker")
        };
        let settings = settings(&options, &environment);
        assert_eq!(settings.poll_interval, Duration::from_secs(5));
        assert!(settings.variables.contains_key("OLLAMA_HOST"));
        (command, environment)
    });
    assert_eq!(services[0], services[1], "only the image changes");
}

/// Only one kind of command is not the worker's own: psql's, which `installers.rs` runs.
#[test]
fn every_command_of_the_manual_is_one_that_the_worker_understands() {
    let blocks = python::blocks(MANUAL).into_iter();
    let scripts: String = blocks
        .filter(|(language, _)| *language == "sh")
        .map(|(_, block)| format!("{block}\n"))
        .collect();
    let compose = "docker compose run --rm vectorizer-worker ";
    let mut understood = 0;
    for line in scripts.lines().filter(|line| !line.is_empty()) {
        let line = line.replace(compose, "pgai-worker ");
        if line == r#"psql "$DB_URL" -v ON_ERROR_STOP=1 -1 -f setup.sql"# {
            continue;
        }
        let words = line.split_whitespace().map(str::to_owned);
        let command = Command::parse(words, &BTreeMap::new(), "1");
        assert!(line.starts_with("pgai-worker "), "{line}");
        assert!(command.is_ok(), "{line}: {command:?}");
        understood += 1;
    }
    assert!(understood >= 4, "{understood}");
}
