//! 1,000 recovery points of the kernel's sources, of which most are forgotten, and the space given back while a backup runs.

use super::{operate, text_archive, warm};
use crate::tool::Tool;
use crate::{Bench, measure, tree};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::Stdio;

const NAME: &str = "points";
const POINTS: u64 = 1_000;
/// Of a thousand recovery points, so many are forgotten.
const FORGOTTEN_PERCENT: u64 = 90;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let Some(tool) = bench.tools.iter().find(|tool| matches!(tool, Tool::Nightkeep(_))).cloned() else {
        bail!("the points workload measures nightkeep's prune; leave nightkeep in --only")
    };
    let archive = text_archive(bench)?.canonicalize()?;
    let source = tree::unpack_kernel(&archive, &bench.folder("kernel")?)?;
    let other = tree::unpack_kernel(&archive, &bench.folder("other")?)?;
    warm(&source)?;
    let repository = tool.init(bench.folder("repo-points")?)?;
    let mut points = Vec::new();
    for number in 0..bench.scaled(POINTS) {
        // Each day a little is new.
        std::fs::File::options()
            .append(true)
            .open(source.join("MAINTAINERS"))?
            .write_all(format!("day {number}\n").as_bytes())?;
        let (_, output) = operate(bench, (NAME, "daily"), &tool, &repository.backup(&source, ""))?;
        let done: serde_json::Value = serde_json::from_str(output.lines().last().context("no last line")?)?;
        points.push(done["recovery_point"].as_str().context("no recovery point")?.to_owned());
    }
    let alone = operate(bench, (NAME, "backup alone"), &tool, &repository.backup(&other, ""))?.0.seconds();
    let keep = points.len() - (points.len() as u64 * FORGOTTEN_PERCENT / 100) as usize;
    let mut forget = repository.ours("forget");
    forget.args(&points[..points.len() - keep]);
    operate(bench, (NAME, "forget"), &tool, &forget)?;
    // Every file of the other tree is read and compared again while the space is given back.
    measure::shell("find . -exec touch {} +", &other)?;
    let mut beside = repository.backup(&other, "").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let start = std::time::Instant::now();
    let before = repository.stored()?.0;
    let mut prune = repository.ours("prune");
    prune.args(["--keep-trash", "0", "--keep-expired", "--now"]);
    let (sample, _) = operate(bench, (NAME, "prune"), &tool, &prune)?;
    let freed = before.saturating_sub(repository.stored()?.0) >> 20;
    if !beside.wait()?.success() {
        bail!("the backup beside the prune failed");
    }
    sample.note = format!(
        "a backup beside it took {:.1} s (first time and alone {:.1} s); {freed} MiB less in objects",
        start.elapsed().as_secs_f64(),
        alone.unwrap_or_default()
    );
    operate(bench, (NAME, "check"), &tool, &repository.check().context("we can check")?)?;
    Ok(())
}
