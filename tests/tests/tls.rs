//! TLS towards PostgreSQL: for every `sslmode`, certificate and kind of server both workers decide as
//! libpq does (psql is asked), and they use TLS where it does.
//!
//! The PostgreSQL that the other tests use has no TLS. Here it is one of the system's: Debian's package
//! `postgresql`. Without it the test says so and passes, but not in CI (`CI` or `PGAI_TEST_TLS` is set).

#![allow(clippy::print_stdout, reason = "a test says what it does")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::process::worker_path;

const WORKERS: [&str; 2] = ["worker", "worker-blocking"];
const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];
/// An account that PostgreSQL may run as.
const NOBODY: u32 = 65534;

/// A certificate of the server, and the file of roots that the client names.
const CERTIFICATES: [(&str, &str); 9] = [
    ("right", "ca"),
    ("right", ""),
    ("wrong-name", "ca"),
    ("wrong-ca", "ca"),
    ("expired", "ca"),
    ("self-signed", "self-signed"),
    ("self-signed", "ca"),
    ("self-signed-wrong-name", "self-signed-wrong-name"),
    ("common-name", "ca"),
];

#[test]
fn both_workers_judge_servers_as_libpq_does() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let (mut compared, mut refused) = (0, 0);
    for (certificate, root) in CERTIFICATES {
        for access in ["hostssl", "hostnossl", "host"] {
            server.serve(certificate, access);
            for mode in MODES {
                let url = server.url(mode, root);
                let wanted = server.verdict("psql", &url);
                for worker in WORKERS {
                    let found = server.verdict(worker, &url);
                    assert_eq!(
                        found, wanted,
                        "{worker}, server {certificate}, roots {root:?}, {access}, sslmode={mode}: \
                         found, and what psql does"
                    );
                }
                compared += 1;
                refused += u32::from(wanted == Verdict::Refused);
            }
        }
    }
    println!("{compared} ways to connect, of which libpq refuses {refused}");
    assert!(refused > 20 && refused < compared - 20);
}

#[test]
fn authorities_of_the_system_are_asked_and_channels_are_bound() {
    let Some(mut server) = Server::start() else {
        return;
    };
    server.serve("right", "hostssl");
    let url = server.url("verify-full", "") + "&sslrootcert=system";
    for worker in WORKERS {
        // Both OpenSSL and the workers take this variable for the system's authorities.
        for (authorities, verdict) in [("ca", Verdict::Tls), ("other-ca", Verdict::Refused)] {
            server.system = Some(server.file(&format!("{authorities}.crt")));
            assert_eq!(
                server.verdict(worker, &url),
                verdict,
                "{worker}, {authorities}"
            );
        }
        server.system = None;
    }
    server.psql("alter role postgres password 'sesame'");
    server.set_access("hostssl all all all scram-sha-256");
    let bound = server
        .url("require", "ca")
        .replace("postgres@", "postgres:sesame@")
        + "&channel_binding=require";
    assert_eq!(server.verdict("psql", &bound), Verdict::Tls);
    assert_eq!(server.verdict("worker-blocking", &bound), Verdict::Tls);
    let (code, text) = server.run("worker", &bound);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("channel_binding=require cannot be used"),
        "{text}"
    );
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Plain,
    Refused,
    Tls,
}

struct Server {
    directory: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    /// A shell that ends the server when its input ends.
    process: Child,
    runs: u32,
    /// A file in place of the system's authorities.
    system: Option<String>,
}

impl Server {
    fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let is_needed = ["CI", "PGAI_TEST_TLS"]
                .iter()
                .any(|it| std::env::var_os(it).is_some());
            assert!(
                !is_needed,
                "no PostgreSQL with TLS: apt-get install postgresql openssl"
            );
            println!("SKIPPED: there is no PostgreSQL with TLS in /usr/lib/postgresql");
            return None;
        };
        let directory = tempfile::Builder::new()
            .prefix("pgai-tls-")
            .tempdir_in("/tmp")
            .unwrap();
        make_certificates(directory.path());
        let is_root = fs::metadata(directory.path()).unwrap().uid() == 0;
        if is_root {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let as_server = |program: &str| {
            let mut command = Command::new(program);
            command
                .current_dir(directory.path())
                .stdout(Stdio::null())
                .env("LC_ALL", "C");
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let initdb = programs.join("initdb").display().to_string();
        let made = as_server(&initdb)
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--pgdata=data",
            ])
            .status();
        assert!(made.unwrap().success());
        let port = free_port();
        let path = directory.path().display().to_string();
        let settings = format!(
            "port = {port}\nlisten_addresses = 'localhost'\nunix_socket_directories = '{path}'\n\
             ssl = on\nssl_cert_file = '{path}/data/server.crt'\nssl_key_file = '{path}/data/server.key'\n\
             log_connections = on\nfsync = off\n"
        );
        fs::write(directory.path().join("data/postgresql.auto.conf"), settings).unwrap();
        let mut process = as_server("sh");
        process.args([
            "-c",
            "\"$0\" -D data >log 2>&1 </dev/null & pid=$!; read -r _; kill -INT $pid; wait $pid",
            &programs.join("postgres").display().to_string(),
        ]);
        let server = Self {
            programs,
            port,
            process: {
                install(directory.path(), "right");
                process.stdin(Stdio::piped()).spawn().unwrap()
            },
            directory,
            runs: 0,
            system: None,
        };
        server.wait_for("ready to accept connections", 0);
        server.serve("right", "host");
        Some(server)
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn wait_for(&self, text: &str, from: usize) {
        let began = Instant::now();
        while !self.log().get(from..).is_some_and(|log| log.contains(text)) {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "no {text:?} in {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Serves with this certificate, to those who come in this way.
    fn serve(&self, certificate: &str, access: &str) {
        install(self.directory.path(), certificate);
        self.set_access(&format!("{access} all all all trust"));
    }

    fn set_access(&self, line: &str) {
        let access = format!("local all all trust\n{line}\n");
        fs::write(self.directory.path().join("data/pg_hba.conf"), access).unwrap();
        let from = self.log().len();
        self.psql("select pg_reload_conf()");
        self.wait_for("received SIGHUP", from);
        // The next process is made with what was read.
        std::thread::sleep(Duration::from_millis(50));
    }

    fn psql(&self, sql: &str) {
        let status = Command::new(self.programs.join("psql"))
            .args([
                "-X", "-q", "-U", "postgres", "-d", "postgres", "-c", sql, "-h",
            ])
            .arg(self.directory.path())
            .args(["-p", &self.port.to_string()])
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{sql}");
    }

    fn url(&self, mode: &str, root: &str) -> String {
        let url = format!(
            "postgres://postgres@localhost:{}/postgres?sslmode={mode}&connect_timeout=10",
            self.port
        );
        match root {
            "" => url,
            root => format!("{url}&sslrootcert={}", self.file(&format!("{root}.crt"))),
        }
    }

    /// Connects with psql or a worker: does it come in, and how?
    fn verdict(&mut self, client: &str, url: &str) -> Verdict {
        self.runs += 1;
        let name = format!("run{}x", self.runs);
        let (code, text) = self.run(client, &format!("{url}&application_name={name}"));
        let log = self.log();
        let came_in = format!("application_name={name}");
        let mut lines = log.lines();
        let line =
            lines.find(|line| line.contains("connection authorized") && line.contains(&came_in));
        // What it says fits to what the server says.
        let says_no = text.contains("unable to connect")
            || text.contains("the database URL is malformed")
            || text.contains("cannot be used")
            || (client == "psql" && code != Some(0));
        assert_eq!(line.is_none(), says_no, "{client} {url}: {text}");
        match line {
            None => Verdict::Refused,
            Some(line) if line.contains("SSL enabled") => Verdict::Tls,
            Some(_) => Verdict::Plain,
        }
    }

    fn run(&self, client: &str, url: &str) -> (Option<i32>, String) {
        let mut command = if client == "psql" {
            let mut command = Command::new(self.programs.join("psql"));
            command.args(["-X", "-c", "select 1", url]);
            command
        } else {
            let mut command = Command::new(worker_path(client));
            command.args(["status", "--db-url", url]);
            command
        };
        command
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("PATH", "/usr/bin:/bin");
        if let Some(file) = &self.system {
            command.env("SSL_CERT_FILE", file);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.stdin = None;
        self.process.wait().ok();
    }
}

/// The newest PostgreSQL of the system that has psql, too.
fn programs() -> Option<PathBuf> {
    let all = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut all: Vec<PathBuf> = all
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    all.sort();
    all.retain(|bin| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|it| bin.join(it).exists())
    });
    all.pop()
        .filter(|_| Command::new("openssl").arg("version").output().is_ok())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Puts a certificate and its key in the server's place.
fn install(directory: &Path, certificate: &str) {
    let data = directory.join("data");
    let owner = fs::metadata(&data).unwrap();
    for end in ["crt", "key"] {
        let place = data.join(format!("server.{end}"));
        let fresh = data.join("server.new");
        fs::copy(directory.join(format!("{certificate}.{end}")), &fresh).unwrap();
        fs::set_permissions(&fresh, Permissions::from_mode(0o600)).unwrap();
        let _ = chown(&fresh, Some(owner.uid()), Some(owner.gid()));
        fs::rename(&fresh, &place).unwrap();
    }
}

fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' ').map(|word| word.replace('_', " ")))
            .current_dir(directory)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {error}");
    };
    let key = |name: &str| {
        openssl(&format!(
            "ecparam -name prime256v1 -genkey -noout -out {name}.key"
        ))
    };
    let names = |name: &str, more: &str| {
        fs::write(directory.join(format!("{name}.ext")), more).unwrap();
    };
    for (name, subject, names) in [
        ("ca", "our authority", ""),
        ("other-ca", "another authority", ""),
        ("self-signed", "localhost", "DNS:localhost"),
        ("self-signed-wrong-name", "elsewhere", "DNS:elsewhere"),
    ] {
        key(name);
        let subject = subject.replace(' ', "_");
        let names = match names {
            "" => String::new(),
            names => format!(" -addext subjectAltName={names}"),
        };
        openssl(&format!(
            "req -x509 -new -key {name}.key -subj /CN={subject} -days 30 -out {name}.crt{names}"
        ));
    }
    for (name, subject, authority, names_of, days) in [
        (
            "right",
            "localhost",
            "ca",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            30,
        ),
        (
            "wrong-name",
            "localhost",
            "ca",
            "subjectAltName=DNS:elsewhere",
            30,
        ),
        (
            "wrong-ca",
            "localhost",
            "other-ca",
            "subjectAltName=DNS:localhost",
            30,
        ),
        (
            "expired",
            "localhost",
            "ca",
            "subjectAltName=DNS:localhost",
            -1,
        ),
        (
            "common-name",
            "localhost",
            "ca",
            "basicConstraints=CA:FALSE",
            30,
        ),
    ] {
        key(name);
        names(name, names_of);
        openssl(&format!(
            "req -new -key {name}.key -subj /CN={subject} -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial \
             -days {days} -extfile {name}.ext -out {name}.crt"
        ));
    }
    for entry in fs::read_dir(directory).unwrap().flatten() {
        fs::set_permissions(entry.path(), Permissions::from_mode(0o644)).unwrap();
    }
}
