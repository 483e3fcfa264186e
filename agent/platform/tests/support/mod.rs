//! Shared by the platform's tests: running a part of a test as an ordinary user.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Names the directory an ignored test works in when [`as_ordinary_user`] runs it.
const DIRECTORY: &str = "NIGHTKEEP_TEST_DIRECTORY";

/// Runs the ignored test `test` of this binary as `nobody` (or as who we are, when that is not root) on `directory`.
pub(crate) fn as_ordinary_user(test: &str, directory: &Path) -> std::io::Result<()> {
    let place = tempfile::tempdir()?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
    // The build directory may lie where nobody may go.
    let binary = place.path().join("test");
    fs::copy(std::env::current_exe()?, &binary)?;
    let mut command = if nightkeep_platform::process::is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&binary);
        command
    } else {
        Command::new(&binary)
    };
    let output = command.args(["--ignored", "--exact", test]).env(DIRECTORY, directory).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The directory given to [`as_ordinary_user`]; nothing when somebody runs ignored tests by hand.
pub(crate) fn directory() -> Option<std::path::PathBuf> {
    std::env::var_os(DIRECTORY).map(Into::into)
}

/// A directory everybody may enter and write.
pub(crate) fn shared_tempdir() -> std::io::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
    Ok(dir)
}
