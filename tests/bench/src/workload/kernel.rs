//! Two versions of the kernel's sources: many small text files, then nearly the same again with every time new.

use super::{back_up, bound, init, operate, restore, text_archive, warm};
use crate::{Bench, measure, retire, tree};
use anyhow::{Context, Result};

const NAME: &str = "kernel";

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let tools = bench.tools.clone();
    let old = text_archive(bench)?.canonicalize()?;
    let new = bench.kernels.get(1).context("name a newer kernel archive, too")?.canonicalize()?;
    let newer = tree::unpack_kernel(&new, &bench.folder("newer")?)?;
    for _ in 0..bench.rounds {
        let source = tree::unpack_kernel(&old, &bench.folder(NAME)?)?;
        warm(&source)?;
        bound(bench, (NAME, "first"), "tar|zstd", "tar c . | zstd -q -3 -T2 > ../bound.tar.zst", &source)?;
        bound(bench, (NAME, "unchanged"), "find", "find . -printf '%s %T@\\n' > /dev/null", &source)?;
        bound(bench, (NAME, "restore"), "cp -a", "cp -a . ../copy", &source)?;
        bound(
            bench,
            (NAME, "check"),
            "b3sum",
            "find . -type f -print0 | xargs -0 -P2 -n500 b3sum --num-threads 1 >/dev/null",
            &source,
        )?;
        retire(&source.with_file_name("copy"))?;
        let repositories = init(bench, NAME, &tools)?;
        for (tool, repository) in &repositories {
            back_up(bench, (NAME, "first"), repository, tool, &source)?;
        }
        for (tool, repository) in &repositories {
            back_up(bench, (NAME, "unchanged"), repository, tool, &source)?;
        }
        measure::shell(&format!("cp -r '{}/.' . && sync", newer.display()), &source)?;
        for (tool, repository) in &repositories {
            back_up(bench, (NAME, "next"), repository, tool, &source)?;
        }
        for (tool, repository) in &repositories {
            restore(bench, (NAME, "restore"), repository, tool, &source, "next")?;
        }
        for (tool, repository) in &repositories {
            if let Some(check) = repository.check() {
                operate(bench, (NAME, "check"), tool, &check)?;
            }
        }
        retire(&bench.place.join(NAME))?;
    }
    Ok(())
}
