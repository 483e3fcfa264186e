//! Installers, into `target/dist`.
//!
//! **Invariant**: for Linux the same commit gives the same bytes, so that anybody can check an installer against its source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::run;

/// All crates carry the workspace's version, this one too.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a remote management system sends to every machine stays small.
const INSTALLER_BYTES_MAX: u64 = 15 * 1024 * 1024;

/// Locked, and without what a developer's machine adds.
const BUILD_LINUX: &[&str] =
    &["build", "--locked", "--release", "-p", "nightkeep-agent", "-p", "nightkeep-monitor", "--target-dir"];

/// Names the files of the publisher's private keys, as `PATH` names folders; a release that changes keys is signed with two.
const KEY_FILES: &str = "NIGHTKEEP_PUBLISHER_KEY_FILES";

/// Names the file of the private OpenPGP key for packages and their repositories.
const PACKAGE_KEY_FILE: &str = "NIGHTKEEP_PACKAGE_KEY_FILE";

/// The system to build for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum System {
    Windows,
    Linux,
    Macos,
}

/// Builds the installers of a system.
pub(crate) fn run(system: System) -> Result<()> {
    match system {
        System::Windows => windows()?,
        System::Linux => {
            linux()?;
            sign_packages()?;
        }
        System::Macos => {
            bail!(
                "`dist macos` is not there yet: the agent is type-checked and not linked; see packaging/macos/README.md"
            )
        }
    }
    sign()
}

/// Signs whatever installers of this version are there, so that two systems' builds make one release; the list that was
/// there before is replaced.
fn sign() -> Result<()> {
    let Some(keys) = std::env::var_os(KEY_FILES).filter(|keys| !keys.is_empty()) else {
        println!(
            "not signed: {KEY_FILES} names no key; the scripts for remote management systems refuse these installers"
        );
        return Ok(());
    };
    let root = crate::root();
    let mut sign = Command::new(root.join("packaging/sign.sh"));
    sign.arg(VERSION).arg(root.join("target/dist")).args(std::env::split_paths(&keys));
    run::step("signature", &mut sign)
}

/// Signs the .rpm files and makes signed repositories of both kinds beside them, before the list of installers is made.
fn sign_packages() -> Result<()> {
    let Some(key) = std::env::var_os(PACKAGE_KEY_FILE).filter(|key| !key.is_empty()) else {
        println!("packages not signed: {PACKAGE_KEY_FILE} names no key; there are no repositories of them");
        return Ok(());
    };
    let root = crate::root();
    let mut sign = Command::new(root.join("packaging/linux/sign-packages.sh"));
    run::step("repositories", sign.arg(VERSION).arg(root.join("target/dist")).arg(key))
}

/// Makes the .deb and .rpm files anew; answers with the folder they are in.
pub(crate) fn linux() -> Result<PathBuf> {
    let root = crate::root();
    let (target, dist) = (root.join("target"), root.join("target/dist"));
    run::step("programs", run::cargo().args(BUILD_LINUX).arg(&target))?;
    for old in installers(&dist)? {
        fs::remove_file(old)?;
    }
    let mut build = Command::new(root.join("packaging/linux/build.sh"));
    build.arg(VERSION).arg(target.join("release")).arg(&dist).env("SOURCE_DATE_EPOCH", source_date()?);
    run::step("packages", &mut build)?;
    installers(&dist)?.iter().try_for_each(|installer| weigh(installer))?;
    Ok(dist)
}

/// Makes the .msi of optimised builds, signed where a certificate is given (`packaging/windows/sign.sh`).
fn windows() -> Result<()> {
    let root = crate::root();
    let packaging = root.join("packaging/windows");
    let mut build = Command::new(packaging.join("build.sh"));
    build.args(["build", "--locked", "--release", "-p", "nightkeep-agent", "-p", "nightkeep-monitor"]);
    run::step("programs", &mut build)?;
    let program = root.join("target/windows/build/x86_64-pc-windows-gnu/release/nightkeep-agent.exe");
    let dist = root.join("target/dist");
    run::step("installer", Command::new(packaging.join("build-msi.sh")).arg(VERSION).arg(program).arg(&dist))?;
    weigh(&dist.join(format!("nightkeep-agent-{VERSION}.msi")))
}

/// Prints an installer's size; too large a one is an error.
fn weigh(installer: &Path) -> Result<()> {
    let bytes = fs::metadata(installer)?.len();
    println!("{} {:.1} MiB", installer.display(), bytes as f64 / 1048576.0);
    if bytes > INSTALLER_BYTES_MAX {
        bail!("{} is larger than {} MiB", installer.display(), INSTALLER_BYTES_MAX >> 20);
    }
    Ok(())
}

/// Seconds since 1970 at the last commit, which all files of an installer bear as their time.
pub(crate) fn source_date() -> Result<String> {
    let log = run::output(Command::new("git").current_dir(crate::root()).args(["log", "-1", "--format=%ct"]));
    Ok(log.context("the time of the last commit is not known")?.trim().to_owned())
}

/// The installers for Linux in the folder, by name.
fn installers(dist: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dist)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(dist)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb" || extension == "rpm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
