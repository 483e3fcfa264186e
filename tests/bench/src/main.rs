//! Nightkeep beside its peers and the physical bounds: the same data, in turn, in one run.
//!
//! **Invariant**: a figure is only printed beside figures of the same run; every program's restore is compared with
//! the source before its times count.

mod measure;
mod table;
mod targets;
mod tool;
mod tree;
mod workload;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use measure::Samples;
use std::path::{Path, PathBuf};

/// Measures workloads and prints a table.
#[derive(Debug, Parser)]
struct Options {
    /// What to measure; all but the long ones when none is named.
    #[arg(value_enum)]
    workloads: Vec<Workload>,
    /// The agent's optimised binary.
    #[arg(long)]
    agent: PathBuf,
    /// Where data and vaults lie; several tens of GiB free. Emptied afterwards.
    #[arg(long, default_value = "target/bench")]
    place: PathBuf,
    /// Only these programs: nightkeep, bupstash, restic, rustic, borg.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each program runs each operation; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Two kernel source archives: an older and a newer version.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    kernels: Vec<PathBuf>,
    /// Share of the full size of a workload, in percent, for a quick look. Targets hold for 100 only.
    #[arg(long, default_value_t = 100)]
    percent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Two versions of the kernel's sources.
    Kernel,
    /// One million small files.
    Small,
    /// 4 GiB that do not compress.
    Random,
    /// A sparse disk image, 10 GiB long.
    Image,
    /// 8 GiB of mixed data, the first backup killed half way.
    Home,
    /// 1,000 recovery points, most of them forgotten.
    Points,
}

/// What every workload gets.
struct Bench {
    place: PathBuf,
    tools: Vec<tool::Tool>,
    rounds: usize,
    kernels: Vec<PathBuf>,
    percent: u64,
    samples: Samples,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let agent = options.agent.canonicalize().with_context(|| format!("no agent at {}", options.agent.display()))?;
    std::fs::create_dir_all(&options.place)?;
    let place = tempfile::Builder::new().prefix("bench-").tempdir_in(options.place.canonicalize()?)?;
    measure::require_time()?;
    let mut bench = Bench {
        place: place.path().to_owned(),
        tools: tool::available(&agent, &options.only)?,
        rounds: options.rounds,
        kernels: options.kernels,
        percent: options.percent,
        samples: Samples::default(),
    };
    let mut workloads = options.workloads;
    if workloads.is_empty() {
        workloads = vec![Workload::Kernel, Workload::Random, Workload::Image];
    }
    tool::print_settings(&bench.tools);
    for workload in workloads {
        match workload {
            Workload::Kernel => workload::kernel::run(&mut bench)?,
            Workload::Small => workload::small::run(&mut bench)?,
            Workload::Random => workload::random::run(&mut bench)?,
            Workload::Image => workload::image::run(&mut bench)?,
            Workload::Home => workload::home::run(&mut bench)?,
            Workload::Points => workload::points::run(&mut bench)?,
        }
    }
    table::print(&bench.samples);
    targets::print(&bench.samples);
    Ok(())
}

impl Bench {
    /// A fresh folder below the place.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.place.join(name);
        if path.exists() {
            remove(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn scaled(&self, full: u64) -> u64 {
        (full * self.percent / 100).max(1)
    }
}

/// Removes a folder that may hold read-only files of another program.
fn remove(path: &Path) -> Result<()> {
    let status = std::process::Command::new("rm").arg("-rf").arg("--one-file-system").arg(path).status()?;
    if !status.success() {
        bail!("cannot remove {}; remove it by hand", path.display());
    }
    Ok(())
}

/// Takes a folder of many files out of the way, to be deleted at the very end: creating files next to many that were deleted in the last
/// five minutes is up to ten times as slow on ext4 without a journal, for whoever comes next.
fn retire(path: &Path) -> Result<()> {
    let place = path.parent().context("a folder of the bench has a parent")?;
    let name = (0..).map(|n| place.join(format!("retired-{n}"))).find(|name| !name.exists());
    let name = name.context("every name is taken")?;
    std::fs::rename(path, name).with_context(|| format!("cannot move {} out of the way", path.display()))
}
