//! A sparse disk image, and the same after small writes at random: what a virtual machine's disk is like.

use super::{back_up, bound, init, text_archive};
use crate::{Bench, remove, tree};
use anyhow::Result;

const NAME: &str = "image";
const BYTES: u64 = 10 << 30;
const ALLOCATED: u64 = 2 << 30;
const CHANGED_PERCENT: u64 = 2;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let tools = bench.tools.clone();
    let text = tree::text(text_archive(bench)?, 64 << 20)?;
    for _ in 0..bench.rounds {
        let source = bench.folder("image")?;
        let image = source.join("disk.img");
        let extents = tree::sparse_image(&image, &text, bench.scaled(BYTES), bench.scaled(ALLOCATED))?;
        // Warm from being written; reading it through would only add its holes to the cache.
        bound(
            bench,
            (NAME, "first"),
            "cp --sparse",
            "cp --reflink=never --sparse=auto disk.img ../copy.img && sync",
            &source,
        )?;
        std::fs::remove_file(source.with_file_name("copy.img"))?;
        let repositories = init(bench, NAME, &tools)?;
        for (tool, repository) in &repositories {
            back_up(bench, (NAME, "first"), repository, tool, &source)?;
        }
        let written = tree::scribble(&image, &extents, CHANGED_PERCENT)?;
        for (tool, repository) in &repositories {
            back_up(bench, (NAME, "writes"), repository, tool, &source)?;
            bench.samples.row(NAME, "writes", tool.name()).note += &format!(" ({} MiB written)", written >> 20);
        }
        remove(&source)?;
    }
    Ok(())
}
