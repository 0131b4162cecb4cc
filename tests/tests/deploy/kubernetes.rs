//! The manifests against the schemas of Kubernetes, of KEDA and of the Prometheus Operator, against each
//! other, and against the worker.

use std::collections::BTreeMap;
use std::time::Duration;

use pgai_core::{Command, Limits};
use serde_json::{Value, json};
use tests::python;

use super::read;

const FILES: [&str; 4] = [
    "monitor.yaml",
    "scaling.yaml",
    "secret.example.yaml",
    "worker.yaml",
];

/// From PyPI: the schemas of Kubernetes, and classes made from the operators' definitions.
const PACKAGES: [&str; 3] = [
    "cloudcoil.models.keda==2.16.1.0",
    "cloudcoil.models.prometheus_operator==0.80.1.0",
    "kubernetes-validate==1.37.0",
];

/// All objects of all files.
pub(super) fn manifests() -> Vec<Value> {
    let python = python::with(&PACKAGES).unwrap();
    let program =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.argv[1]))))";
    let mut all = Vec::new();
    for file in FILES {
        let text = read(&format!("deploy/kubernetes/{file}"));
        let objects = python::run(&python, &["-c", program, &text]).unwrap();
        all.extend(serde_json::from_str::<Vec<Value>>(&objects).unwrap());
    }
    all
}

pub(super) fn the<'a>(manifests: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = manifests.iter();
    let mut found = found.filter(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.next().unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn faults(manifests: &[Value]) -> String {
    let python = python::with(&PACKAGES).unwrap();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deploy/kubernetes.py");
    let manifests = serde_json::to_string(manifests).unwrap();
    python::run(&python, &[program, &manifests]).unwrap()
}

/// The deployment's template of a pod, and its container.
fn pod(manifests: &[Value]) -> (&Value, &Value) {
    let pod = &the(manifests, "Deployment", "pgai-worker")["spec"]["template"]["spec"];
    (pod, &pod["containers"][0])
}

#[test]
fn the_manifests_are_valid() {
    let manifests = manifests();
    assert_eq!(manifests.len(), 9);
    assert_eq!(faults(&manifests), "");
}

/// Otherwise the test above says nothing.
#[test]
fn a_mistake_in_each_kind_is_found() {
    let mut manifests = manifests();
    manifests.retain(|one| one["kind"] != "Secret");
    for manifest in &mut manifests {
        manifest["spec"]["mistake"] = json!(1);
    }
    let mut other = manifests.clone();
    let deployment = other.iter_mut().find(|one| one["kind"] == "Deployment");
    let deployment = deployment.unwrap();
    deployment["spec"]
        .as_object_mut()
        .unwrap()
        .remove("mistake");
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["port"] = json!(1);
    manifests.push(deployment.clone());
    let found = faults(&manifests);
    assert_eq!(found.lines().count(), manifests.len(), "{found}");
}

#[test]
fn what_the_objects_name_is_there() {
    let manifests = manifests();
    let labels = json!({ "app.kubernetes.io/name": "pgai-worker" });
    let deployment = the(&manifests, "Deployment", "pgai-worker");
    let budget = the(&manifests, "PodDisruptionBudget", "pgai-worker");
    let service = the(&manifests, "Service", "pgai-worker");
    let monitor = the(&manifests, "ServiceMonitor", "pgai-worker");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(service["metadata"]["labels"], labels);
    assert_eq!(service["spec"]["selector"], labels);
    for selected in [deployment, budget, monitor] {
        assert_eq!(selected["spec"]["selector"]["matchLabels"], labels);
    }
    let (_, container) = pod(&manifests);
    let port = &container["ports"][0];
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    let scraped = &monitor["spec"]["endpoints"][0];
    assert_eq!(scraped["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(scraped["path"], "/metrics");
    for (probe, path) in [
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(
            (&asked["path"], &asked["port"]),
            (&json!(path), &port["name"]),
            "{probe}"
        );
    }
    let scaled = the(&manifests, "ScaledObject", "pgai-worker");
    assert_eq!(
        scaled["spec"]["scaleTargetRef"]["name"],
        deployment["metadata"]["name"]
    );
    let trigger = &scaled["spec"]["triggers"][0];
    let login = trigger["authenticationRef"]["name"].as_str().unwrap();
    let login = the(&manifests, "TriggerAuthentication", login);
    let mut secrets = vec![
        scraped["authorization"]["credentials"].clone(),
        login["spec"]["secretTargetRef"][0].clone(),
    ];
    let variables = container["env"].as_array().unwrap().iter();
    secrets.extend(variables.filter_map(|one| one["valueFrom"].get("secretKeyRef").cloned()));
    assert_eq!(secrets.len(), 4);
    for secret in secrets {
        let kept = the(&manifests, "Secret", secret["name"].as_str().unwrap());
        assert!(
            kept["stringData"][secret["key"].as_str().unwrap()].is_string(),
            "{secret}"
        );
    }
    let keys = container["envFrom"][0]["secretRef"]["name"]
        .as_str()
        .unwrap();
    the(&manifests, "Secret", keys);
}

#[test]
fn the_worker_understands_its_variables_and_ends_in_time() {
    let manifests = manifests();
    let (pod, container) = pod(&manifests);
    let secrets = the(&manifests, "Secret", "pgai-worker");
    let mut environment = BTreeMap::new();
    for variable in container["env"].as_array().unwrap() {
        let secret = &variable["valueFrom"]["secretKeyRef"]["key"];
        let value = match secret.as_str() {
            Some(key) => &secrets["stringData"][key],
            None => &variable["value"],
        };
        let name = variable["name"].as_str().unwrap();
        environment.insert(name.to_owned(), value.as_str().unwrap().to_owned());
    }
    let command = Command::parse(["pgai-worker".to_owned()], &environment, "1");
    let Ok(Command::Run(options)) = command else {
        panic!("{command:?}")
    };
    let settings = options.settings("w", &environment, Limits::default(), Duration::ZERO);
    assert!(options.db_url.starts_with("postgres://embedder:"));
    assert_eq!(settings.poll_interval, Duration::from_secs(10));
    assert_eq!(options.log_format(), pgai_core::log::Format::Json);
    // The HTTP endpoint is behind the port that everything else asks.
    let port = container["ports"][0]["containerPort"].as_u64().unwrap();
    assert_eq!(environment["PGAI_HTTP"], format!("0.0.0.0:{port}"));
    let patience = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(Duration::from_secs(patience) > 2 * settings.grace);
}

#[test]
fn the_pod_runs_the_image_with_few_rights() {
    let manifests = manifests();
    let (pod, container) = pod(&manifests);
    let user = read("Dockerfile.worker");
    let user = user.lines().find_map(|line| line.strip_prefix("USER "));
    assert_eq!(
        pod["securityContext"]["runAsUser"].to_string(),
        user.unwrap()
    );
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let rights = &container["securityContext"];
    assert_eq!(rights["allowPrivilegeEscalation"], false);
    assert_eq!(rights["readOnlyRootFilesystem"], true);
    assert_eq!(rights["capabilities"]["drop"], json!(["ALL"]));
    // A service's variables would look like options of ours.
    assert_eq!(pod["enableServiceLinks"], false);
    let image = container["image"].as_str().unwrap();
    let version = concat!("/pgai-worker:", env!("CARGO_PKG_VERSION"));
    assert!(image.ends_with(version), "{image}");
}
