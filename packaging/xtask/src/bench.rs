//! Speed and footprint, measured by programs of their own; this door builds them with optimisation and runs them.

mod agent;
mod cloud;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::run;

/// Which table, and what its program is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The table.
    #[arg(default_value = "vault")]
    table: Table,
    /// Arguments of the table's program, behind `--`; `-- --help` lists them.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Table {
    /// Backup, restore and check beside peers and bounds (tests/bench).
    Vault,
    /// Ten million chunks, and 10,000 recovery points of 500 machines (an example of protocol/vault).
    Index,
    /// An idle agent's memory, processor time, wake-ups and bytes on the line, and the installers' sizes (tests/harness).
    Agent,
    Host,
    /// First backup, unchanged backup and restore over a far line beside a near one (tests/harness).
    Cloud,
}

/// Runs one table and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.table {
        Table::Vault => vault(&options.arguments),
        Table::Index => index(&options.arguments),
        Table::Cloud => cloud::run(&options.arguments),
        Table::Agent => agent::run(&options.arguments),
        Table::Host => bail!("this table is not there yet; `bench vault`, `index`, `agent` and `cloud` are"),
    }
}

fn vault(arguments: &[String]) -> Result<()> {
    let release = build(&["nightkeep-agent", "nightkeep-bench"])?;
    let mut bench = std::process::Command::new(release.join("nightkeep-bench"));
    bench.current_dir(crate::root()).arg("--agent").arg(release.join("nightkeep-agent")).args(arguments);
    run::step("bench vault", &mut bench)
}

fn index(arguments: &[String]) -> Result<()> {
    let mut bench = run::cargo();
    bench.args(["run", "--locked", "--release", "-p", "nightkeep-vault", "--example", "index_bench", "--"]);
    run::step("bench index", bench.args(arguments))
}

/// Builds packages with optimisation; answers the folder of their programs.
fn build(packages: &[&str]) -> Result<PathBuf> {
    let mut build = run::cargo();
    build.args(["build", "--locked", "--release"]);
    packages.iter().for_each(|package| _ = build.args(["-p", package]));
    run::step("build", &mut build)?;
    Ok(crate::root().join("target/release"))
}
