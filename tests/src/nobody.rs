//! Programs of a test's own that refuse to run as root.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// An account that owns nothing.
const NOBODY: u32 = 65534;

/// If this process is root's, lets a command run as nobody, and gives it this directory.
pub(crate) fn run_as_nobody(command: &mut Command, directory: &Path) {
    if fs::metadata(directory).expect("the directory").uid() == 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o755))
            .expect("opening the directory");
        chown(directory, Some(NOBODY), Some(NOBODY)).expect("giving the directory away");
        command.uid(NOBODY).gid(NOBODY);
    }
}
