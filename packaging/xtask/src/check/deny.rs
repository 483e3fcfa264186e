//! Licences, bans and sources by cargo-deny, which is built once when it is missing.
//!
//! Package registries carry prebuilt copies only of versions too old to know today's licence names, so it is compiled:
//! without optimisation, which takes two minutes on two cores instead of ten.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::run;

pub(super) fn run() -> Result<()> {
    let program = program()?;
    let mut command = Command::new(program);
    command.current_dir(crate::root()).args(["--log-level", "error", "--config", ".cargo/deny.toml", "check"]);
    run::step("licences, bans, sources", command.args(["--hide-inclusion-graph", "licenses", "bans", "sources"]))
}

/// cargo-deny on the path, else in the build directory, else built into it.
fn program() -> Result<PathBuf> {
    let tools = crate::root().join("target/tools");
    let own = tools.join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        if run::is_there(&candidate, &[]) {
            return Ok(candidate);
        }
    }
    let mut install = run::cargo();
    install.args(["install", "cargo-deny", "--locked", "--debug", "--quiet", "--root"]).arg(&tools);
    // Its own build directory is left to cargo: ours would be rebuilt for its features.
    run::step("install cargo-deny (once)", install.env_remove("CARGO_TARGET_DIR"))?;
    Ok(own)
}
