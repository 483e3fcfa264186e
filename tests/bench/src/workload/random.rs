//! One large file that does not compress: reading, hashing and writing are all there is to do.

use super::{back_up, bound, init, warm};
use crate::{Bench, remove, tree};
use anyhow::Result;

const NAME: &str = "random";
const BYTES: u64 = 4 << 30;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let tools = bench.tools.clone();
    let source = bench.folder("random")?;
    tree::incompressible(&source.join("file.bin"), bench.scaled(BYTES))?;
    for _ in 0..bench.rounds {
        warm(&source)?;
        let line = "b3sum file.bin >/dev/null && cp --reflink=never file.bin ../copy.bin && sync";
        bound(bench, (NAME, "first"), "b3sum+cp+sync", line, &source)?;
        std::fs::remove_file(source.with_file_name("copy.bin"))?;
        for (tool, repository) in init(bench, NAME, &tools)? {
            back_up(bench, (NAME, "first"), &repository, tool, &source)?;
            remove(&repository.objects())?;
        }
    }
    remove(&source)
}
