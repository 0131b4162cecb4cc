//! A PgBouncer of a test's own, in front of a test's server.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::nobody::run_as_nobody;
use crate::process::listen;

/// A running PgBouncer. It ends when this is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    directory: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl PgBouncer {
    /// The program, Debian's `pgbouncer`, if it is installed.
    pub fn program() -> Option<PathBuf> {
        let path = PathBuf::from("/usr/sbin/pgbouncer");
        path.exists().then_some(path)
    }

    /// Starts one with this `pool_mode` in front of the server of this URL, with at most eight sessions for
    /// each user and database, and further lines of its configuration.
    ///
    /// # Panics
    /// If it is not installed, or does not start.
    #[track_caller]
    pub fn start(mode: &str, url: &str, more: &str) -> Self {
        let program = Self::program().expect("pgbouncer is installed");
        let directory = tempfile::Builder::new()
            .prefix("pgai-pgbouncer-")
            .tempdir_in("/tmp")
            .expect("a directory");
        let path = directory.path();
        let listener = listen();
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let (host, server) = place(url);
        let home = path.display();
        let configuration = format!(
            "[databases]\n* = host={host} port={server}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {home}/users\npool_mode = {mode}\n\
             default_pool_size = 8\nlogfile = {home}/log\n{more}\n"
        );
        fs::write(path.join("conf"), configuration).expect("writing its configuration");
        // The users that it knows; nobody has a password.
        fs::write(path.join("users"), "\"postgres\" \"\"\n\"embedder\" \"\"\n")
            .expect("writing its users");
        let mut command = Command::new(program);
        command
            .arg(path.join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        run_as_nobody(&mut command, path);
        let bouncer = Self {
            process: command.spawn().expect("starting PgBouncer"),
            directory,
            port,
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{}",
                bouncer.log()
            );
            sleep(Duration::from_millis(20));
        }
        bouncer
    }

    /// The URL that leads to a database through it.
    pub fn url(&self, url: &str) -> String {
        let (host, port) = place(url);
        let through = url.replace(
            &format!("{host}:{port}"),
            &format!("127.0.0.1:{}", self.port),
        );
        assert_ne!(through, url);
        through
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The host and the port of a URL.
fn place(url: &str) -> (&str, &str) {
    let rest = url.split_once('@').map_or(url, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    place.rsplit_once(':').expect("a URL of a test has a port")
}
