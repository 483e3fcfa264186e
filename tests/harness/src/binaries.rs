//! Where the binaries under test are; built once per process when nobody built them before.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// Set by whoever has built the binaries already.
const BIN_DIR: &str = "NIGHTKEEP_BIN_DIR";

/// The agent.
pub fn agent() -> Result<PathBuf> {
    binary("nightkeep-agent")
}

/// The host.
pub fn host() -> Result<PathBuf> {
    binary("nightkeep-host")
}

/// The root of the checkout this crate was built from.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where a test leaves logs and pictures to be looked at: `target/test-output/NAME`, emptied first.
pub fn output_dir(name: &str) -> Result<PathBuf> {
    let dir = root().join("target/test-output").join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

fn binary(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    if !path.exists() {
        bail!("{} is not there: run `cargo build --bins`, or `cargo xtask test`, which does it", path.display());
    }
    Ok(path)
}

fn directory() -> Result<PathBuf> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| match std::env::var_os(BIN_DIR) {
        Some(directory) => Ok(directory.into()),
        None => build().map_err(|error| format!("{error:#}")),
    });
    directory.clone().map_err(|error| anyhow!(error))
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--quiet", "--bins", "-p", "nightkeep-agent", "-p", "nightkeep-host"];
    let status = Command::new(cargo).args(arguments).current_dir(root()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the binaries under test do not build");
    }
    Ok(root().join("target/debug"))
}
