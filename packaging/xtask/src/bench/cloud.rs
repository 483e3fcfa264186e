//! Over a far line: what a delay costs a backup and a restore in object storage.

use std::process::Command;

use anyhow::Result;

use crate::{outside, run};

/// Builds the agent and the program that measures it, and runs that.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    outside::for_tests();
    let release = super::build(&["nightkeep-agent", "nightkeep-harness"])?;
    let mut bench = Command::new(release.join("nightkeep-bench-cloud"));
    bench.current_dir(crate::root()).env("NIGHTKEEP_BIN_DIR", &release).args(arguments);
    run::step("bench cloud", &mut bench)
}
