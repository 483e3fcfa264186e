//! Compression of blocks, and the check that they can be undone, before anything of them reaches the vault.
//!
//! **Invariant**: a block leaves this stage only after its members' ids were computed again from what will be sealed.
//! Memory that lost a bit since the content was named is found here.

use super::effort::Effort;
use super::options::Faults;
use super::{BackupError, Shared};
use nightkeep_vault::id::BlobId;
use nightkeep_vault::keys::{MachineKeys, VaultKeys};
use nightkeep_vault::pack::{BlockType, Codec, Member, PreparedBlock};
use nightkeep_vault::reader::{catalogue_id, references_id};
use std::sync::Arc;

/// A block that compression makes no smaller than this share is stored as it is.
const WORTHWHILE: f64 = 0.97;
/// The entropy probe looks at so many places of a block, at so many bytes each.
const PROBES: usize = 4;
const PROBE_BYTES: usize = 1024;
/// Shorter blocks are compressed without a probe.
const PROBED_BYTES_MIN: usize = 64 << 10;
/// Bits per byte. 4 KiB of noise show 7.95; text and programs stay below 7.
const NOISE_ENTROPY: f64 = 7.9;
/// What looks like noise is tried on so many bytes before it is believed: repetitions do not show in the entropy.
const TRIAL_BYTES: usize = 16 << 10;

/// Content that the vault lacks, before compression.
#[derive(Debug)]
pub(crate) struct RawBlock {
    pub(crate) block_type: BlockType,
    pub(crate) plain: Vec<u8>,
    pub(crate) members: Vec<Member>,
}

/// Compresses blocks; one for each thread, as it keeps a compression context.
pub(crate) struct SealStage {
    effort: Arc<Effort>,
    level: i32,
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    /// Reused from block to block, so that the heap does not fragment.
    packed: Vec<u8>,
    unpacked: Vec<u8>,
    /// The buffer of the last bundle, for the next one.
    spare: Vec<u8>,
    keys: VaultKeys,
    machine: MachineKeys,
    faults: Option<Arc<dyn Faults>>,
}

impl SealStage {
    pub(crate) fn new(shared: &Shared<'_>) -> Result<Self, BackupError> {
        let broken = |_| BackupError::Hardware("the compression library");
        let level = shared.effort.level();
        Ok(Self {
            effort: shared.effort.clone(),
            level,
            compressor: zstd::bulk::Compressor::new(level).map_err(broken)?,
            decompressor: zstd::bulk::Decompressor::new().map_err(broken)?,
            packed: Vec::new(),
            unpacked: Vec::new(),
            spare: Vec::new(),
            keys: shared.session.vault().keys().clone(),
            machine: shared.session.machine().clone(),
            faults: shared.options.faults.clone(),
        })
    }

    /// Compresses a block where that helps, and checks it.
    pub(crate) fn prepare(&mut self, mut block: RawBlock) -> Result<PreparedBlock, BackupError> {
        if let Some(faults) = &self.faults {
            faults.memory(&mut block.plain);
        }
        self.follow_level()?;
        let packed = !self.is_incompressible(&block.plain)? && self.compress(&block.plain)?;
        self.verify(&block, packed)?;
        let (codec, level, plain_bytes) = if packed {
            (Codec::Zstd, Some(self.level), block.plain.len() as u32)
        } else {
            (Codec::Stored, None, block.plain.len() as u32)
        };
        let payload = if packed { self.packed.clone() } else { std::mem::take(&mut block.plain) };
        if block.block_type == BlockType::Bundle {
            self.spare = block.plain;
        }
        if is_data(block.block_type) {
            self.effort.count(level, plain_bytes.into(), payload.len() as u64);
        }
        Ok(PreparedBlock { block_type: block.block_type, codec, payload, plain_bytes, members: block.members })
    }

    /// The buffer of the last bundle that was compressed, emptied.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        spare
    }

    fn follow_level(&mut self) -> Result<(), BackupError> {
        let level = self.effort.level();
        if level != self.level {
            let set = self.compressor.set_compression_level(level);
            set.map_err(|_| BackupError::Hardware("the compression library"))?;
            self.level = level;
        }
        Ok(())
    }

    /// A look at a few KiB; what looks like noise is tried on a small piece.
    fn is_incompressible(&mut self, plain: &[u8]) -> Result<bool, BackupError> {
        Ok(looks_like_noise(plain) && !self.compress(&plain[..TRIAL_BYTES])?)
    }

    /// Compresses into the scratch buffer; answers whether that was worth it.
    fn compress(&mut self, plain: &[u8]) -> Result<bool, BackupError> {
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        let done = self.compressor.compress_to_buffer(plain, &mut self.packed);
        let bytes = done.map_err(|_| BackupError::Hardware("a block"))?;
        Ok((bytes as f64) < plain.len() as f64 * WORTHWHILE)
    }

    fn name(&self, block_type: BlockType, plain: &[u8]) -> BlobId {
        match block_type {
            BlockType::Chunk | BlockType::Bundle => {
                BlobId(*blake3::keyed_hash(self.keys.id.expose(), plain).as_bytes())
            }
            BlockType::Hunk | BlockType::HunkList | BlockType::ContentList => {
                catalogue_id(&self.machine.meta, self.machine.id, plain)
            }
            BlockType::ReferencesLeaf | BlockType::ReferencesRoot => references_id(&self.keys.index, plain),
        }
    }

    fn verify(&mut self, block: &RawBlock, packed: bool) -> Result<(), BackupError> {
        const SPOILT: BackupError = BackupError::Hardware("a block");
        let content = if packed {
            self.unpacked.clear();
            self.unpacked.reserve(block.plain.len());
            self.decompressor.decompress_to_buffer(&self.packed, &mut self.unpacked).map_err(|_| SPOILT)?;
            &self.unpacked
        } else {
            &block.plain
        };
        let mut rest = content.as_slice();
        for member in &block.members {
            let Some((bytes, behind)) = rest.split_at_checked(member.bytes as usize) else { return Err(SPOILT) };
            if self.name(block.block_type, bytes) != member.id {
                return Err(SPOILT);
            }
            rest = behind;
        }
        if rest.is_empty() { Ok(()) } else { Err(SPOILT) }
    }
}

fn is_data(block_type: BlockType) -> bool {
    match block_type {
        BlockType::Chunk | BlockType::Bundle => true,
        BlockType::Hunk
        | BlockType::HunkList
        | BlockType::ContentList
        | BlockType::ReferencesLeaf
        | BlockType::ReferencesRoot => false,
    }
}

/// Whether a few KiB, taken at even distances, have the entropy of noise.
fn looks_like_noise(plain: &[u8]) -> bool {
    if plain.len() < PROBED_BYTES_MIN {
        return false;
    }
    let mut counts = [0u32; 256];
    for probe in plain.chunks(plain.len() / PROBES).take(PROBES) {
        for byte in &probe[..PROBE_BYTES.min(probe.len())] {
            counts[usize::from(*byte)] += 1;
        }
    }
    let total = f64::from(counts.iter().sum::<u32>());
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total);
    -shares.map(|share| share * share.log2()).sum::<f64>() >= NOISE_ENTROPY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn noise_is_told_from_text_and_from_programs() {
        assert!(looks_like_noise(&noise(1 << 20)));
        assert!(!looks_like_noise(&noise(1000)), "too short to tell");
        let text: Vec<u8> = (0..40_000).flat_map(|n: u32| format!("line {n} of a text\n").into_bytes()).collect();
        assert!(!looks_like_noise(&text));
        let table: Vec<u8> = (0..100_000u32).flat_map(|n| (n * 3).to_le_bytes()).collect();
        assert!(!looks_like_noise(&table));
    }
}
