//! The demo drives a host and an agent as the tests do, so it lives beside them: this builds and starts it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::run;

/// Its programs. Whoever needs the agent and the host otherwise builds the same, as other packages together would have other
/// features, and everything would be built again.
pub(crate) const BUILD: &[&str] =
    &["build", "--locked", "--bins", "-p", "nightkeep-agent", "-p", "nightkeep-host", "-p", "nightkeep-harness"];

/// What to show, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The folder that plays the machine; the project's own sources by default.
    dir: Option<PathBuf>,
    /// Stop after the proof instead of waiting for Ctrl-C.
    #[arg(long)]
    exit: bool,
}

/// Builds what the demo needs, then hands the terminal over to it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = crate::root();
    run::step("build", run::cargo().args(BUILD))?;
    let bin_dir = root.join("target/debug");
    let mut demo = std::process::Command::new(bin_dir.join("nightkeep-demo"));
    demo.env("NIGHTKEEP_BIN_DIR", &bin_dir).arg(match &options.dir {
        Some(dir) => dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?,
        None => root,
    });
    if options.exit {
        demo.arg("--exit");
    }
    let status = demo.status().with_context(|| format!("cannot run {}", run::shown(&demo)))?;
    if !status.success() {
        bail!("the demo ended with {status}");
    }
    Ok(())
}
