//! A mixed home folder whose first backup is killed half way: what was confirmed is neither read nor sent again.

use super::{back_up, operate, text_archive, warm};
use crate::tool::Tool;
use crate::{Bench, measure, remove, tree};
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::{Duration, Instant};

const NAME: &str = "home";
const BYTES: u64 = 8 << 30;
/// Longer than any first backup of this size.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let Some(tool) = bench.tools.iter().find(|tool| matches!(tool, Tool::Nightkeep(_))).cloned() else {
        bail!("the home workload measures nightkeep's resume; leave nightkeep in --only")
    };
    let text = tree::text(text_archive(bench)?, 64 << 20)?;
    let source = bench.folder("home")?;
    tree::home(&source, &text, bench.scaled(BYTES))?;
    warm(&source)?;
    let whole = tool.init(bench.folder("repo-whole")?)?;
    back_up(bench, (NAME, "first"), &whole, &tool, &source)?;
    let all = whole.stored()?.0;
    remove(&whole.objects())?;

    let killed = tool.init(bench.folder("repo-killed")?)?;
    let mut child = killed.backup(&source, "killed").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let start = Instant::now();
    while killed.stored().map_or(0, |stored| stored.0) < all / 2 {
        if child.try_wait()?.is_some() || start.elapsed() > PATIENCE {
            bail!("the backup ended before it was half done; take a larger --percent");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    let sent = killed.stored()?.0;
    let (sample, output) = operate(bench, (NAME, "resume"), &tool, &killed.backup(&source, "resume"))?;
    let done: serde_json::Value = serde_json::from_str(output.lines().last().context("no last line")?)?;
    let number = |name: &str| done.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0) >> 20;
    let again = (killed.stored()?.0).saturating_sub(all) >> 20;
    sample.note = format!(
        "{} MiB of {} stored at the kill; then read {} of {} MiB, stored {}; sent twice {again} MiB",
        sent >> 20,
        all >> 20,
        number("bytes_read"),
        number("bytes"),
        number("bytes_stored")
    );
    measure::shell("sync", &source)?;
    remove(&source)
}
