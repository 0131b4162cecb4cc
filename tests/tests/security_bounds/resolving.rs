//! Names are judged by the addresses that they resolve to. The workers run where a mount namespace of
//! their own gives them another /etc/hosts.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use tests::process::{Process, worker_path};
use tests::stage::{PATIENCE, Stage};

use crate::SHELLS;

const HOSTS: &str = "127.0.0.1 localhost\n127.0.0.1 ollama\n169.254.169.254 cloud.test\n\
                     fe80::1 link.test\n::ffff:169.254.169.254 mapped.test\n";

/// A worker to which `/etc/hosts` says what stands above.
struct Elsewhere(TempDir);

impl Elsewhere {
    /// `None` where the system gives nobody such a namespace.
    fn new() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("hosts"), HOSTS).unwrap();
        let elsewhere = Self(directory);
        let tried = Command::new("unshare")
            .args(["-rm", "sh", "-c", &elsewhere.script("true")])
            .output();
        if tried.is_ok_and(|output| output.status.success()) {
            return Some(elsewhere);
        }
        println!("NOT TRIED: no mount namespace can be made here (unshare -rm)");
        None
    }

    fn script(&self, then: &str) -> String {
        let hosts = self.0.path().join("hosts");
        format!("mount --bind {} /etc/hosts && exec {then}", hosts.display())
    }

    fn worker(&self, shell: &str, environment: &[(&str, &str)]) -> Process {
        let script = self.script(&format!("{} --once", worker_path(shell).display()));
        Process::spawn("unshare", &["-rm", "sh", "-c", &script], environment)
    }
}

fn stage(base_url: Option<&str>) -> Stage {
    let mut stage = Stage::new();
    let base_url = base_url.map_or_else(|| "null".to_owned(), |url| format!("'{url}'"));
    stage
        .run("create table blog (id int primary key, body text); insert into blog values (1, 'x')");
    stage.run(&format!(
        "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('m', 8, base_url => {base_url}),
           destination => ai.destination_table('blog_view'))"
    ));
    stage
}

#[test]
fn a_name_of_a_metadata_service_is_not_asked_even_without_a_key() {
    let Some(elsewhere) = Elsewhere::new() else {
        return;
    };
    for shell in SHELLS {
        for name in ["cloud.test", "link.test", "mapped.test"] {
            let mut stage = stage(Some(&format!("http://{name}:1")));
            let mut worker = elsewhere.worker(shell, &[("DB_URL", &stage.worker_url)]);
            assert_eq!(worker.wait(PATIENCE).code(), Some(1));
            let reason: String = stage
                .sql
                .query_one(
                    "select max(details->>'error_reason') from ai.vectorizer_errors",
                    &[],
                )
                .unwrap()
                .get(0);
            println!("{shell}, {name}: {reason}");
            assert!(reason.contains("metadata service"), "{reason}");
        }
    }
}

#[test]
fn ollama_beside_the_worker_is_asked_by_its_service_name() {
    let Some(elsewhere) = Elsewhere::new() else {
        return;
    };
    for shell in SHELLS {
        for is_operators in [true, false] {
            let mut stage = stage(None);
            let url = stage.stub.url().replace("127.0.0.1", "ollama");
            let database = stage.worker_url.clone();
            let mut environment = vec![("DB_URL", database.as_str())];
            if is_operators {
                environment.push(("OLLAMA_HOST", &url));
            } else {
                stage.run(&format!(
                    "update ai.vectorizer
                     set config = jsonb_set(config, '{{embedding,base_url}}', to_jsonb('{url}'::text))"
                ));
            }
            let mut worker = elsewhere.worker(shell, &environment);
            assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
            assert_eq!(stage.number("select count(*) from blog_view"), 1);
        }
    }
}
