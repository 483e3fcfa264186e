//! Which blocks a window needs, and in which reads they are fetched.
//!
//! **Invariant**: each block is fetched and opened once in a window, however many files need it.

use nightkeep_vault::id::PackId;
use nightkeep_vault::index::{Index, IndexError, Location};
use nightkeep_vault::reader::OpenPack;

/// Neighbouring blocks are read together across a gap of up to this many bytes.
const GAP_BYTES: u32 = 256 << 10;
/// And up to this many bytes in one read.
const READ_BYTES: u32 = 4 << 20;

/// A piece of content and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Want {
    /// Where it lies.
    pub(crate) location: Location,
    /// The file of the window.
    pub(crate) file: u32,
    /// Where in the file.
    pub(crate) offset: u64,
}

/// What one pack has to give.
#[derive(Debug)]
pub(crate) struct PackWants {
    pub(crate) id: PackId,
    /// Sorted by block and member.
    pub(crate) wants: Vec<Want>,
}

/// Groups wants by pack.
pub(crate) fn by_pack(index: &Index, mut wants: Vec<Want>) -> Result<Vec<PackWants>, IndexError> {
    wants.sort_unstable();
    let packs = wants.chunk_by(|a, b| a.location.pack == b.location.pack);
    packs.map(|wants| Ok(PackWants { id: index.pack(wants[0].location.pack)?.id, wants: wants.to_vec() })).collect()
}

/// Splits a pack's sorted wants into reads of neighbouring blocks.
pub(crate) fn reads<'a>(pack: &OpenPack, wants: &'a [Want]) -> Vec<&'a [Want]> {
    let block = |want: &Want| pack.footer.blocks.get(want.location.block as usize);
    let mut reads = Vec::new();
    let (mut start, mut read_from) = (0, wants.first().and_then(block).map_or(0, |block| block.offset));
    for at in 1..wants.len() {
        let (Some(before), Some(next)) = (block(&wants[at - 1]), block(&wants[at])) else { continue };
        let gap = next.offset.saturating_sub(before.offset.saturating_add(before.sealed_bytes));
        let whole = next.offset.saturating_add(next.sealed_bytes).saturating_sub(read_from);
        let new_block = wants[at].location.block != wants[at - 1].location.block;
        if new_block && (gap > GAP_BYTES || whole > READ_BYTES) {
            reads.push(&wants[start..at]);
            (start, read_from) = (at, next.offset);
        }
    }
    if start < wants.len() {
        reads.push(&wants[start..]);
    }
    reads
}
