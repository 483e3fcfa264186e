//! Speed of backup, unchanged backup and restore beside what the machine can do at all.
//!
//! Bounds stand beside every figure: `cp -a` for moving the bytes, `tar | zstd` for moving and compressing them on one
//! core. A row's ratio is its seconds over ours: above 1, it is slower than we are. Peers appear when they are on the path.

mod tree;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::run;

/// What to measure, and on how much.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The table.
    #[arg(default_value = "vault")]
    table: Table,
    /// Bytes of the generated tree, in MiB.
    #[arg(long, default_value_t = 512)]
    size_mib: u64,
    /// A folder to use instead of a generated tree.
    #[arg(long)]
    tree: Option<PathBuf>,
    /// Measure the developer build instead of the optimised one.
    #[arg(long)]
    dev: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Table {
    Vault,
    Agent,
    Host,
    Cloud,
}

/// One measured cell.
struct Cell {
    program: &'static str,
    task: &'static str,
    seconds: f64,
}

/// Runs one table and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.table {
        Table::Vault => vault(options),
        Table::Agent | Table::Host | Table::Cloud => bail!("this table is not there yet; `bench vault` is"),
    }
}

fn vault(options: &Options) -> Result<()> {
    let agent = build_agent(options.dev)?;
    let place = tempfile::tempdir()?;
    let tree = match &options.tree {
        Some(tree) => tree.canonicalize()?,
        None => tree::generate(&place.path().join("tree"), options.size_mib << 20)?,
    };
    let bytes = tree::bytes(&tree)?;
    println!("tree: {} ({:.0} MiB)", tree.display(), mib(bytes));
    let mut cells = bounds(place.path(), &tree)?;
    cells.extend(ours(&agent, place.path(), &tree)?);
    cells.extend(restic(place.path(), &tree)?);
    print_table(&cells, bytes);
    Ok(())
}

fn build_agent(dev: bool) -> Result<PathBuf> {
    let mut build = run::cargo();
    build.args(["build", "--locked", "-p", "nightkeep-agent"]);
    if !dev {
        build.arg("--release");
    }
    run::step("build", &mut build)?;
    Ok(crate::root().join("target").join(if dev { "debug" } else { "release" }).join("nightkeep-agent"))
}

fn bounds(place: &Path, tree: &Path) -> Result<Vec<Cell>> {
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(tree).arg(place.join("copy"));
    let mut cells = vec![timed("cp -a", "backup", &mut copy)?];
    if run::is_there("zstd", &[]) {
        let mut archive = Command::new("tar");
        archive.args(["-I", "zstd -3 -T1", "-cf"]).arg(place.join("tree.tar.zst")).arg("-C").arg(tree).arg(".");
        cells.push(timed("tar | zstd", "backup", &mut archive)?);
        std::fs::create_dir(place.join("untar"))?;
        let mut extract = Command::new("tar");
        extract.args(["-I", "zstd", "-xf"]).arg(place.join("tree.tar.zst")).arg("-C").arg(place.join("untar"));
        cells.push(timed("tar | zstd", "restore", &mut extract)?);
    }
    Ok(cells)
}

fn ours(agent: &Path, place: &Path, tree: &Path) -> Result<Vec<Cell>> {
    let vault = format!("file://{}", place.join("vault").display());
    let command = |name: &str| {
        let mut command = Command::new(agent);
        command.args([name, "--vault", &vault, "--state-dir"]).arg(place.join("state"));
        command.arg("--identity-dir").arg(place.join("identity"));
        command.env("NIGHTKEEP_PASSPHRASE", "bench");
        command
    };
    timed("nightkeep", "init", &mut command("init"))?;
    Ok(vec![
        timed("nightkeep", "backup", command("backup").arg(tree))?,
        timed("nightkeep", "unchanged", command("backup").arg(tree))?,
        timed("nightkeep", "restore", command("restore").arg("--target").arg(place.join("restored")).arg("latest"))?,
    ])
}

fn restic(place: &Path, tree: &Path) -> Result<Vec<Cell>> {
    if !run::is_there("restic", &[]) {
        return Ok(Vec::new());
    }
    let command = |name: &str| {
        let mut command = Command::new("restic");
        command.arg(name).arg("--repo").arg(place.join("restic")).env("RESTIC_PASSWORD", "bench");
        command
    };
    timed("restic", "init", &mut command("init"))?;
    Ok(vec![
        timed("restic", "backup", command("backup").arg(tree))?,
        timed("restic", "unchanged", command("backup").arg(tree))?,
        timed("restic", "restore", command("restore").args(["latest", "--target"]).arg(place.join("restic-restored")))?,
    ])
}

fn timed(program: &'static str, task: &'static str, command: &mut Command) -> Result<Cell> {
    let start = Instant::now();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", run::shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", run::shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(Cell { program, task, seconds: start.elapsed().as_secs_f64() })
}

/// Seconds, throughput, and the ratio to our own figure of the same task.
fn print_table(cells: &[Cell], bytes: u64) {
    println!("{:<12} {:<10} {:>9} {:>9} {:>7}", "program", "task", "seconds", "MiB/s", "ratio");
    for cell in cells {
        let ours = cells.iter().find(|other| other.program == "nightkeep" && other.task == cell.task);
        let ratio = ours.map_or_else(String::new, |ours| format!("{:.2}", cell.seconds / ours.seconds));
        let speed = mib(bytes) / cell.seconds;
        println!("{:<12} {:<10} {:>9.2} {:>9.0} {:>7}", cell.program, cell.task, cell.seconds, speed, ratio);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
