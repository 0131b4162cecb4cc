//! A Squid of a test's own: the proxy that many companies have.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::nobody::run_as_nobody;
use crate::process::free_port;

/// A running Squid. It ends when this is dropped.
#[derive(Debug)]
pub struct Squid {
    directory: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Squid {
    /// The program, Debian's `squid`, if it is installed.
    pub fn program() -> Option<PathBuf> {
        let path = PathBuf::from("/usr/sbin/squid");
        path.exists().then_some(path)
    }

    /// Starts a Squid that lets anybody in, but allows tunnels to port 443 only, or one that lets
    /// in only this user with this password. It resolves names with these lines of a file of hosts.
    ///
    /// # Panics
    /// If it is not installed, or does not start.
    #[track_caller]
    pub fn start(hosts: &str, login: Option<(&str, &str)>) -> Self {
        let program = Self::program().expect("squid is installed");
        let directory = tempfile::Builder::new()
            .prefix("pgai-squid-")
            .tempdir_in("/tmp")
            .expect("a directory");
        let path = directory.path();
        let port = free_port();
        let write = |name: &str, text: &str| {
            fs::write(path.join(name), text).expect("writing a file of Squid");
        };
        write("hosts", hosts);
        if let Some((user, password)) = login {
            write("users", &format!("{user}:{}\n", hashed(password)));
        }
        write("conf", &configuration(path, port, login.is_some()));
        let mut command = Command::new(program);
        command
            .arg("-N")
            .arg("-f")
            .arg(path.join("conf"))
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        run_as_nobody(&mut command, path);
        let squid = Self {
            process: command.spawn().expect("starting Squid"),
            directory,
            port,
        };
        squid.wait_until_it_listens();
        squid
    }

    #[track_caller]
    fn wait_until_it_listens(&self) {
        let began = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            let log = fs::read_to_string(self.directory.path().join("cache.log"));
            assert!(began.elapsed() < Duration::from_secs(30), "Squid: {log:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// The host and the port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The lines about requests so far, each with the status, the method and the target, such as
    /// `200 CONNECT provider.test:443`.
    ///
    /// # Panics
    /// If its log cannot be read.
    pub fn requests(&self) -> Vec<String> {
        // It is buffered for a moment.
        sleep(Duration::from_millis(200));
        let log = fs::read_to_string(self.directory.path().join("access.log"));
        let log = log.expect("Squid has a log");
        // A connection without a request is one of those that wait for the start.
        let lines = log.lines().filter(|line| !line.contains(" - error:"));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn configuration(path: &Path, port: u16, needs_login: bool) -> String {
    let path = path.display();
    let access = if needs_login {
        format!(
            "auth_param basic program /usr/lib/squid/basic_ncsa_auth {path}/users\n\
             auth_param basic children 1 startup=1\n\
             acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n"
        )
    } else {
        // As Debian's squid.conf: CONNECT is only for the port of https.
        "acl connect method CONNECT\nacl https port 443\nhttp_access deny connect !https\n\
         http_access allow all\n"
            .to_owned()
    };
    format!(
        "http_port 127.0.0.1:{port}\nhosts_file {path}/hosts\ndns_nameservers 127.0.0.1\n\
         visible_hostname squid.test\npid_filename {path}/pid\ncoredump_dir {path}\n\
         logformat short %>Hs %rm %ru\naccess_log stdio:{path}/access.log short\n\
         cache_log {path}/cache.log\nbuffered_logs off\ncache deny all\nnetdb_filename none\n\
         pinger_enable off\nshutdown_lifetime 0 seconds\n{access}"
    )
}

#[track_caller]
fn hashed(password: &str) -> String {
    let output = Command::new("openssl")
        .args(["passwd", "-apr1", password])
        .output()
        .expect("openssl hashes a password");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
