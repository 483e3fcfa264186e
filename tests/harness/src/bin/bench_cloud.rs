//! What `cargo xtask bench cloud` runs: backup and restore over S3, through a proxy without delay and one with.
//!
//! **Invariant**: both columns are of the same server, the same proxy, the same data and the same run; each restore is
//! compared with its source before its seconds count.
#![expect(clippy::print_stdout, reason = "this is a command line")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use nightkeep_harness::agent::{CommandLine, run};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::proxy::{Counts, Line, Proxy};
use nightkeep_harness::servers::{Ceph, Moto};
use nightkeep_harness::tree;

/// A far line beside a near one, in at most so much time (issue: kernel tree first and restore).
const TARGET: f64 = 1.5;
/// What is generated when no source is named: small files of text, and noise.
const FILES: usize = 20_000;
const NOISE_BYTES: usize = 64 << 20;

#[derive(Debug, Parser)]
struct Options {
    /// The folder to back up
    #[arg(long, conflicts_with = "archive")]
    tree: Option<PathBuf>,
    /// An archive to unpack and back up, as of Debian's linux-source
    #[arg(long)]
    archive: Option<PathBuf>,
    /// Added to a round trip, in milliseconds; half of it in each direction
    #[arg(long, default_value_t = 50)]
    delay_ms: u64,
    /// The server
    #[arg(long, value_enum, default_value = "moto")]
    server: Server,
    /// How often; the table shows medians
    #[arg(long, default_value_t = 1)]
    rounds: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// A Python program; slow, and always there.
    Moto,
    /// Ceph's gateway with its smallest cluster.
    Ceph,
}

/// A server that runs as long as this.
enum Running {
    Moto(Moto),
    Ceph(Box<Ceph>),
}

const BUCKET: &str = "bench";

impl Running {
    fn start(server: Server) -> Result<Self> {
        match server {
            Server::Moto => {
                let moto = Moto::start()?;
                moto.make_bucket(BUCKET)?;
                Ok(Self::Moto(moto))
            }
            Server::Ceph => {
                let ceph = Ceph::start()?;
                tokio::runtime::Runtime::new()?.block_on(ceph.make_bucket(BUCKET))?;
                Ok(Self::Ceph(Box::new(ceph)))
            }
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Moto(moto) => moto.address(),
            Self::Ceph(ceph) => ceph.address(),
        }
    }

    fn environment(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Moto(_) => Moto::environment(endpoint),
            Self::Ceph(_) => Ceph::environment(endpoint),
        }
    }
}

/// One operation over one line.
struct Cell {
    operation: &'static str,
    seconds: f64,
    counts: Counts,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let place = tempfile::tempdir()?;
    let source = source(&options, place.path())?;
    let server = Running::start(options.server)?;
    println!("{} MiB in {}, server {:?}", tree::bytes(&source)? >> 20, source.display(), options.server);
    println!("half of the delay in each direction; a connection is made with one round trip before");
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for round in 0..options.rounds.max(1) {
        near.push(measure(&server, &source, place.path(), Duration::ZERO, &format!("near-{round}"))?);
        let delay = Duration::from_millis(options.delay_ms);
        far.push(measure(&server, &source, place.path(), delay, &format!("far-{round}"))?);
    }
    print(&near, &far, options.delay_ms);
    Ok(())
}

fn source(options: &Options, place: &Path) -> Result<PathBuf> {
    if let Some(tree) = &options.tree {
        return Ok(tree.canonicalize()?);
    }
    let source = place.join("source");
    std::fs::create_dir(&source)?;
    match &options.archive {
        Some(archive) => {
            run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&source))?.expect_code(0)?;
        }
        None => {
            tree::many(&source, FILES)?;
            tree::noise(&source.join("noise"), NOISE_BYTES, 1)?;
        }
    }
    Ok(source)
}

/// Everything once over one line, in a vault and on a machine of its own. What was restored stays in `place` to the end: on
/// ext4 without a journal, files are created slowly beside many that were deleted a moment before.
fn measure(server: &Running, source: &Path, place: &Path, delay: Duration, name: &str) -> Result<Vec<Cell>> {
    let proxy = Proxy::start(server.address(), Line { delay: delay / 2, bytes_per_second: None })?;
    let machine = CommandLine::new()?;
    let vault = format!("s3://{BUCKET}/{name}");
    let cell = |operation, arguments: &[&str]| -> Result<Cell> {
        let before = proxy.counts();
        let mut command = machine.command(arguments);
        let outcome =
            run(command.args(["--vault", &vault]).envs(server.environment(&proxy.endpoint())))?.expect_code(0);
        let seconds = outcome.with_context(|| format!("{operation} over a line of {delay:?}"))?.elapsed.as_secs_f64();
        Ok(Cell { operation, seconds, counts: proxy.counts().since(&before) })
    };
    let (path, target) = (source.display().to_string(), place.join(format!("restored-{name}")));
    // What the first reading costs beyond a later one belongs to neither line.
    run(Command::new("tar").args(["-cf", "-", "-C", &path, "."]).stdout(std::process::Stdio::null()))?
        .expect_code(0)?;
    let mut cells =
        vec![cell("init", &["init"])?, cell("first", &["backup", &path])?, cell("unchanged", &["backup", &path])?];
    cells.push(cell("restore", &["restore", "latest", "--target", &target.display().to_string()])?);
    expect_equal(source, &target.join(source.strip_prefix("/")?))?;
    cells.push(cell("check data", &["check", "--read-data"])?);
    if cells.iter().any(|cell| cell.seconds <= 0.0) {
        bail!("a clock that stands still");
    }
    Ok(cells)
}

fn print(near: &[Vec<Cell>], far: &[Vec<Cell>], delay_ms: u64) {
    println!("| operation | 0 ms, s | {delay_ms} ms, s | ratio | target | requests at {delay_ms} ms |");
    println!("|---|---|---|---|---|---|");
    for (at, cell) in far[0].iter().enumerate() {
        let [near, far] = [near, far].map(|rounds| median(rounds.iter().map(|cells| cells[at].seconds).collect()));
        let target = match cell.operation {
            "first" | "restore" if far / near <= TARGET => format!("<= {TARGET}, met"),
            "first" | "restore" => format!("<= {TARGET}, **missed**"),
            _ => String::new(),
        };
        println!("| {} | {near:.2} | {far:.2} | {:.2} | {target} | {} |", cell.operation, far / near, cell.counts);
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
