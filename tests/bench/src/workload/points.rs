//! 1,000 recovery points of the kernel's sources, of which most are forgotten, and the space given back while a backup runs.

use super::{operate, text_archive, warm};
use crate::tool::Tool;
use crate::{Bench, measure, tree};
use anyhow::{Context, Result, anyhow, bail};
use std::io::Write;

const NAME: &str = "points";
const POINTS: u64 = 1_000;
/// Of a thousand recovery points, so many are forgotten.
const FORGOTTEN_PERCENT: u64 = 90;
/// So often the backup runs alone that then runs beside the prune.
const ALONE: usize = 3;

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
    operate(bench, (NAME, "other first"), &tool, &repository.backup(&other, ""))?;
    // Every file is read and compared again, alone and then while the space is given back.
    let touch = || measure::shell("find . -exec touch {} + && sync", &other);
    for _ in 0..ALONE {
        touch()?;
        operate(bench, (NAME, "backup alone"), &tool, &repository.backup(&other, ""))?;
    }
    let keep = points.len() - (points.len() as u64 * FORGOTTEN_PERCENT / 100) as usize;
    let mut forget = repository.ours("forget");
    forget.args(&points[..points.len() - keep]);
    operate(bench, (NAME, "forget"), &tool, &forget)?;
    touch()?;
    let before = repository.stored()?.0;
    let (backup, mut prune) = (repository.backup(&other, ""), repository.ours("prune"));
    prune.args(["--keep-trash", "0", "--keep-expired", "--now"]);
    let beside = std::thread::scope(|scope| -> Result<_> {
        let beside = scope.spawn(|| measure::run(&backup));
        operate(bench, (NAME, "prune"), &tool, &prune)?;
        beside.join().map_err(|_| anyhow!("the thread that ran the backup beside the prune failed"))?
    })?;
    bench.samples.row(NAME, "backup beside", tool.name()).costs.push(beside.0);
    let freed = before.saturating_sub(repository.stored()?.0) >> 20;
    bench.samples.row(NAME, "prune", tool.name()).note = format!("{freed} MiB less in objects");
    operate(bench, (NAME, "check"), &tool, &repository.check().context("we can check")?)?;
    Ok(())
}
