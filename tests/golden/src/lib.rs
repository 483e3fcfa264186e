//! The format, read by a stranger and by time: the independent reader, and a vault of each version of the format.
//!
//! **Invariant**: nothing of ours is on the reader's path, and a golden vault is written once.

pub mod manifest;
pub mod vault;

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: [&str; 3] = ["blake3", "cryptography", "zstandard"];

/// The reader's program.
pub fn reader() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reader.py")
}

/// A Python that has what the reader needs: the system's, or one in a virtual environment below `dir`.
pub fn python(dir: &Path) -> anyhow::Result<PathBuf> {
    let system = PathBuf::from("python3");
    if has_packages(&system) {
        return Ok(system);
    }
    let environment = dir.join("reader-env");
    let python = environment.join("bin/python");
    if has_packages(&python) {
        return Ok(python);
    }
    run(Command::new(&system).args(["-m", "venv"]).arg(&environment))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    Ok(python)
}

fn has_packages(python: &Path) -> bool {
    let imports = format!("import {}", PACKAGES.join(", "));
    Command::new(python).args(["-c", &imports]).output().is_ok_and(|output| output.status.success())
}

/// Runs a command; what it printed is part of the error.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("failed to start {command:?}; is python3 installed?"))?;
    if !output.status.success() {
        let printed = [output.stdout, output.stderr].concat();
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&printed));
    }
    Ok(())
}
