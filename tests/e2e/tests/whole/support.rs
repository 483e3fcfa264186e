//! What these tests share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nightkeep_harness::agent::{CommandLine, DiskVault, Outcome};

/// Whether this run has root's rights.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where `source` lies below `target` after a restore: its whole path.
pub(crate) fn restored(target: &Path, source: &Path) -> Result<PathBuf> {
    Ok(target.join(source.strip_prefix("/").context("not an absolute path")?))
}

/// A folder anybody may write, below the temporary directory.
pub(crate) fn shared_dir() -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))?;
    Ok(dir)
}

/// Ids of the machine's recovery points, oldest first.
pub(crate) fn points(machine: &CommandLine, vault: &DiskVault) -> Result<Vec<String>> {
    let answer = machine.vault(&vault.url(), &["points", "--json"])?.expect_code(0)?.json()?;
    let list = answer.as_array().or_else(|| answer["points"].as_array()).context("no list of points")?;
    list.iter().map(|point| Ok(point["id"].as_str().context("a point without id")?.to_owned())).collect()
}

/// Everything a command said, for a search.
pub(crate) fn said(outcome: &Outcome) -> String {
    format!("{}\n{}", outcome.stdout, outcome.stderr)
}
