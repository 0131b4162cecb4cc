//! One running PostgreSQL in a temporary directory, which does not outlive the test process.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Shutdown;
use super::install::{Account, Install, copy_programs, copy_tree, give, programs};
use crate::process::listen;

/// Starts and stops PostgreSQL as it is told on its standard input. When the input ends, because
/// the test process let go or died of whatever (SIGKILL too), it stops the server and tidies up.
/// So PostgreSQL is its child and not the test's, and it ignores what stops the tests.
const SUPERVISOR: &str = r#"
trap '' HUP INT PIPE TERM
pid=
while read -r order signal; do
    case $order in
        start) "$1/bin/postgres" -D "$2/data" </dev/null >>"$2/log" 2>&1 & pid=$! ;;
        stop) kill -s "$signal" "$pid"; wait "$pid"; pid= ;;
    esac
    echo "$pid"
done
if [ -n "$pid" ]; then kill -s QUIT "$pid"; wait "$pid"; fi
cd / && rm -rf "$2"
"#;

/// Speed, room for many workers, and the same clock and language everywhere. The rest is as
/// shipped, so that the workers meet what they would meet in earnest.
const SETTINGS: [(&str, &str); 8] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("lc_messages", "C"),
    ("listen_addresses", "127.0.0.1"),
    ("log_line_prefix", "%m [%p] %d "),
    ("log_timezone", "UTC"),
    ("max_connections", "200"),
    ("timezone", "UTC"),
];

const START_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Cluster {
    directory: PathBuf,
    port: u16,
    supervisor: Mutex<Supervisor>,
}

impl Cluster {
    /// Starts a server; with the port of another one, as its standby.
    pub(super) fn start(
        major: u32,
        settings: &[(&str, &str)],
        primary: Option<u16>,
    ) -> Result<Self> {
        let install = Install::find()?;
        let cached = programs(&install.root(), major)?;
        let (directory, account) = directory()?;
        // A private home or checkout keeps another account from the programs under `target/`.
        let barred = account.filter(|account| !readable(&cached, *account));
        let copy = directory.join("install");
        let home = if barred.is_some() {
            programs(&copy, major)?
        } else {
            cached
        };
        let supervisor = Supervisor::spawn(&home, &directory, account)?;
        if let Some(account) = barred {
            copy_programs(&install.root(), &copy, major, account)?;
        }
        match primary {
            None => make_data(&install, major, &home, &directory, account)?,
            Some(port) => copy_data(port, &home, &directory, account)?,
        }
        let mut cluster = Self {
            directory,
            port: 0,
            supervisor: Mutex::new(supervisor),
        };
        let source = primary.map(|port| format!("host=127.0.0.1 port={port} user=postgres"));
        let source = source.as_deref().map(|source| ("primary_conninfo", source));
        let settings: Vec<_> = settings.iter().copied().chain(source).collect();
        cluster.start_on_a_free_port(&settings)?;
        Ok(cluster)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn log(&self) -> String {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub(super) fn stop(&self, shutdown: Shutdown) -> Result<()> {
        let mut supervisor = self.supervisor();
        ensure!(supervisor.running, "the server is stopped already");
        supervisor.order(match shutdown {
            Shutdown::Fast => "stop INT",
            Shutdown::Immediate => "stop QUIT",
        })?;
        supervisor.running = false;
        Ok(())
    }

    pub(super) fn resume(&self) -> Result<()> {
        let mut supervisor = self.supervisor();
        ensure!(!supervisor.running, "the server runs already");
        let logged = self.log().len();
        let pid = supervisor.order("start")?;
        supervisor.running = true;
        match self.wait_until_ready(&pid, logged) {
            Ok(()) => Ok(()),
            Err(error) => {
                // Already gone, or not coming up: the next attempt must find nothing in its way.
                supervisor.order("stop QUIT")?;
                supervisor.running = false;
                Err(error)
            }
        }
    }

    fn start_on_a_free_port(&mut self, settings: &[(&str, &str)]) -> Result<()> {
        const ATTEMPTS_MAX: usize = 5;
        let mut attempt = 1;
        loop {
            self.port = listen().local_addr()?.port();
            self.configure(settings)?;
            match self.resume() {
                // Somebody else may take the port between the look and the start.
                Err(_) if attempt < ATTEMPTS_MAX && self.log().contains("could not bind") => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn configure(&self, settings: &[(&str, &str)]) -> Result<()> {
        let directory = self
            .directory
            .to_str()
            .context("a temporary directory is not UTF-8")?;
        let port = self.port.to_string();
        let own = [
            ("port", port.as_str()),
            ("unix_socket_directories", directory),
        ];
        let all = SETTINGS.iter().chain(&own).chain(settings);
        let text: String = all
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
            .collect();
        fs::write(self.directory.join("data/postgresql.auto.conf"), text)?;
        Ok(())
    }

    /// Follows the status that the server keeps in its lock file: no connection, no noise.
    fn wait_until_ready(&self, pid: &str, logged: usize) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            let lock = self.directory.join("data/postmaster.pid");
            let status = fs::read_to_string(lock).unwrap_or_default();
            let mut lines = status.lines();
            if lines.next() == Some(pid) && lines.next_back().map(str::trim) == Some("ready") {
                return Ok(());
            }
            let log = self.log();
            let log = log.get(logged..).unwrap_or_default();
            if log.contains("database system is shut down") || log.contains("contains errors") {
                bail!("PostgreSQL does not start:\n{log}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!(
            "PostgreSQL is not ready after {START_MAX:?}:\n{}",
            self.log()
        )
    }

    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Supervisor {
    child: Child,
    /// Only `None` while dropping. Rust opens pipes close-on-exec: no other child holds them open.
    orders: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    running: bool,
}

impl Supervisor {
    fn spawn(home: &Path, directory: &Path, account: Option<Account>) -> Result<Self> {
        let mut command = command("sh", directory, account);
        command
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(home)
            .arg(directory);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // A group of its own: Ctrl-C on the tests must not reach it before its input ends.
        let mut child = command.process_group(0).spawn().context("running sh")?;
        let orders = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().context("sh has no output")?);
        Ok(Self {
            child,
            orders,
            replies,
            running: false,
        })
    }

    /// Returns the process id of the server, or nothing where it is stopped.
    fn order(&mut self, order: &str) -> Result<String> {
        let orders = self.orders.as_mut().context("the supervisor is gone")?;
        writeln!(orders, "{order}")?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply)?;
        ensure!(
            reply.ends_with('\n'),
            "the supervisor of PostgreSQL has died"
        );
        Ok(reply.trim().to_owned())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders = None;
        // It ends within the time that an immediate shutdown takes; an error leaves nothing to do.
        self.child.wait().ok();
    }
}

/// Makes a temporary directory that the server's account owns and that is short enough for a Unix
/// socket (107 bytes on Linux).
fn directory() -> Result<(PathBuf, Option<Account>)> {
    const LENGTH_MAX: usize = 60;
    let places = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    for place in places
        .iter()
        .filter(|place| place.as_os_str().len() <= LENGTH_MAX)
    {
        let Ok(made) = tempfile::Builder::new()
            .prefix("pgai-test-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)
        else {
            continue;
        };
        let account = Account::if_root(made.path())?;
        give(made.path(), account)?;
        // The account may lack the right to pass through the directories above.
        let mut attempt = command("sh", made.path(), account);
        if attempt
            .args(["-c", "test -w ."])
            .status()
            .is_ok_and(|status| status.success())
        {
            return Ok((made.keep(), account));
        }
    }
    bail!("no temporary directory for PostgreSQL among {places:?}: set TMPDIR to a short path")
}

fn readable(home: &Path, account: Account) -> bool {
    let mut attempt = command(home.join("bin/postgres"), Path::new("/"), Some(account));
    attempt
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Copies the data directory of an earlier `initdb`, which takes a tenth of the time, or runs the
/// first one.
fn make_data(
    install: &Install,
    major: u32,
    home: &Path,
    directory: &Path,
    account: Option<Account>,
) -> Result<()> {
    let (template, data) = (install.template(major), directory.join("data"));
    if !template.exists() {
        let _lock = install.lock()?;
        if !template.exists() {
            initialise(home, directory, account)?;
            let copy = template.with_extension("copying");
            if copy.exists() {
                fs::remove_dir_all(&copy)?;
            }
            copy_tree(&data, &copy, None).context("keeping the data directory of initdb")?;
            fs::rename(&copy, &template)?;
            return Ok(());
        }
    }
    copy_tree(&template, &data, account).context("copying the data directory of initdb")?;
    // PostgreSQL insists, and a cache that CI restored may have lost it.
    fs::set_permissions(&data, Permissions::from_mode(0o700))?;
    Ok(())
}

/// Copies the data of a running server, for a standby of it.
fn copy_data(port: u16, home: &Path, directory: &Path, account: Option<Account>) -> Result<()> {
    let mut copy = command(home.join("bin/pg_basebackup"), directory, account);
    copy.args(["--host=127.0.0.1", "--username=postgres", "--pgdata=data"]);
    copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
    let output = copy.arg(format!("--port={port}")).output()?;
    if !output.status.success() {
        bail!(
            "pg_basebackup failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn initialise(home: &Path, directory: &Path, account: Option<Account>) -> Result<()> {
    let mut initdb = command(home.join("bin/initdb"), directory, account);
    initdb.args([
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--username=postgres",
    ]);
    let output = initdb
        .args(["--no-instructions", "--no-sync", "--pgdata=data"])
        .output()?;
    if !output.status.success() {
        bail!(
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// A command that depends on nothing of this process: neither its environment nor its place.
fn command(
    program: impl AsRef<std::ffi::OsStr>,
    directory: &Path,
    account: Option<Account>,
) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null());
    command.env("LC_ALL", "C").env("TZ", "UTC");
    command.env(
        "PATH",
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
    );
    if let Some(account) = account {
        account.applied_to(&mut command);
    }
    command
}
