//! Which blocks a window needs, and in which reads they are fetched.
//!
//! **Invariant**: each block is fetched and opened once in a window, however many files need it.

use super::places::Place;
use nightkeep_vault::id::{BlobId, PackId};
use nightkeep_vault::reader::OpenPack;
use std::ops::Range;

/// Neighbouring blocks are read together across a gap of up to this many bytes.
const GAP_BYTES: u32 = 256 << 10;
/// And up to this many bytes in one read.
const READ_BYTES: u32 = 2 << 20;

/// A piece of content and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Want {
    /// Where it lies.
    pub(crate) place: Place,
    /// The file of the window.
    pub(crate) file: u32,
    /// Where in the file.
    pub(crate) offset: u64,
    /// What it is.
    pub(crate) id: BlobId,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

/// The packs of sorted wants, each with the range of its wants.
pub(crate) fn by_pack(wants: &[Want]) -> Vec<(PackId, Range<usize>)> {
    let mut start = 0;
    let packs = wants.chunk_by(|a, b| a.place.pack == b.place.pack);
    packs
        .map(|wants| {
            let range = start..start + wants.len();
            start = range.end;
            (wants[0].place.pack, range)
        })
        .collect()
}

/// Splits a pack's sorted wants into reads of neighbouring blocks.
pub(crate) fn reads(pack: &OpenPack, wants: &[Want]) -> Vec<Range<usize>> {
    let block = |want: &Want| pack.footer.blocks.get(want.place.block as usize);
    let mut reads = Vec::new();
    let (mut start, mut read_from) = (0, wants.first().and_then(block).map_or(0, |block| block.offset));
    for at in 1..wants.len() {
        let is_new = wants[at].place.block != wants[at - 1].place.block;
        let Some((before, next)) = is_new.then(|| block(&wants[at - 1]).zip(block(&wants[at]))).flatten() else {
            // A block that the pack does not have is a read of its own, so that only its files are given up.
            if is_new {
                reads.push(start..at);
                (start, read_from) = (at, block(&wants[at]).map_or(0, |block| block.offset));
            }
            continue;
        };
        let gap = next.offset.saturating_sub(before.offset.saturating_add(before.sealed_bytes));
        let whole = next.offset.saturating_add(next.sealed_bytes).saturating_sub(read_from);
        if gap > GAP_BYTES || whole > READ_BYTES {
            reads.push(start..at);
            (start, read_from) = (at, next.offset);
        }
    }
    if start < wants.len() {
        reads.push(start..wants.len());
    }
    reads
}
