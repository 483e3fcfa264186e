//! One million small files, where each file costs more than its bytes.

use super::{back_up, bound, init, restore, text_archive, warm};
use crate::{Bench, retire, tree};
use anyhow::Result;

const NAME: &str = "small";
const FILES: u64 = 1_000_000;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let tools = bench.tools.clone();
    let text = tree::text(text_archive(bench)?, 64 << 20)?;
    let source = bench.folder("small")?;
    tree::small_files(&source, &text, bench.scaled(FILES))?;
    for _ in 0..bench.rounds {
        warm(&source)?;
        bound(bench, (NAME, "first"), "tar|zstd", "tar c . | zstd -q -3 -T2 > ../bound.tar.zst", &source)?;
        bound(bench, (NAME, "unchanged"), "find", "find . -printf '%s %T@\\n' > /dev/null", &source)?;
        bound(bench, (NAME, "restore"), "cp -a", "cp -a . ../copy", &source)?;
        retire(&source.with_file_name("copy"))?;
        let repositories = init(bench, NAME, &tools)?;
        for (tool, repository) in &repositories {
            back_up(bench, (NAME, "first"), repository, tool, &source)?;
        }
        for (tool, repository) in &repositories {
            back_up(bench, (NAME, "unchanged"), repository, tool, &source)?;
        }
        for (tool, repository) in &repositories {
            restore(bench, (NAME, "restore"), repository, tool, &source, "unchanged")?;
        }
    }
    retire(&source)
}
