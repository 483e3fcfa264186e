//! Servers that tests start and nobody has: installed once into `target/tools`.
//!
//! **Invariant**: what cannot be installed is told and left; the tests that need it fail, and say what to do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run;

/// S3 in memory, with atomic creates.
const MOTO: &str = "moto[server]==5.2.5";
/// Azure's emulator.
const AZURITE: &str = "azurite@3.37.0";

/// What `cargo xtask test` and `bench cloud` need.
pub(crate) fn for_tests() {
    told("moto", moto());
}

/// What `cargo xtask test world` needs as well.
pub(crate) fn for_world() {
    told("moto", moto());
    told("azurite", azurite());
    if !run::is_there("radosgw", &[]) {
        println!("== Ceph is not there: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common");
    }
}

fn told(name: &str, installed: Result<()>) {
    if let Err(error) = installed {
        println!("== {name} could not be installed; the tests that need it will fail: {error:#}");
    }
}

fn moto() -> Result<()> {
    once("moto", |dir| {
        if !run::is_there("python3", &[]) {
            bail!("install python3 and python3-venv");
        }
        run::step("moto: venv", Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        let mut pip = Command::new(dir.join("bin/pip"));
        run::step("moto", pip.args(["install", "--quiet", "--disable-pip-version-check", MOTO]))
    })
}

fn azurite() -> Result<()> {
    once("azurite", |dir| {
        if !run::is_there("npm", &[]) {
            bail!("install npm");
        }
        run::step("azurite", Command::new("npm").args(["install", "--silent", "--prefix"]).arg(dir).arg(AZURITE))
    })
}

/// Installs into a folder of this name unless it is there whole; the last file says so.
fn once(name: &str, install: impl FnOnce(&PathBuf) -> Result<()>) -> Result<()> {
    let dir = crate::root().join("target/tools").join(name);
    let whole = dir.join("installed");
    if whole.exists() {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    install(&dir)?;
    Ok(fs::write(whole, "")?)
}
