//! What a pack holds, block by block: the table at its end, repeated in index segments.
//!
//! **Invariant**: lengths of members sum up to their block's, and offsets follow from lengths.

use super::{BLOCK_BYTES_MAX, BLOCKS_MAX, GROUPS_MAX};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::BlobId;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BlockType {
    /// A piece of a file.
    Chunk = 1,
    /// Small files, joined.
    Bundle = 2,
    /// Catalogue entries.
    Hunk = 3,
    /// The list of a catalogue's hunks.
    HunkList = 4,
    /// Pieces of one large file.
    ContentList = 5,
    /// Blocks that one hunk or content list needs.
    ReferencesLeaf = 6,
    /// All leaves of a recovery point.
    ReferencesRoot = 7,
}

impl BlockType {
    fn from_u8(byte: u8) -> Option<Self> {
        use BlockType::{Bundle, Chunk, ContentList, Hunk, HunkList, ReferencesLeaf, ReferencesRoot};
        [Chunk, Bundle, Hunk, HunkList, ContentList, ReferencesLeaf, ReferencesRoot]
            .into_iter()
            .find(|block_type| *block_type as u8 == byte)
    }
}

/// How a block's plaintext was made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    Stored = 0,
    /// One zstd frame.
    Zstd = 1,
}

/// A member of a block: its id and plain length. A block that is no bundle has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The id of the content.
    pub id: BlobId,
    /// Its plain length in bytes.
    pub bytes: u32,
}

/// A block as its pack's footer describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    /// What it holds.
    pub block_type: BlockType,
    /// How it was compressed.
    pub codec: Codec,
    /// Its key group.
    pub group: u16,
    /// Its nonce within the group.
    pub ordinal: u32,
    /// Where its sealed bytes begin in the pack.
    pub offset: u32,
    /// Length of the sealed bytes, tag included.
    pub sealed_bytes: u32,
    /// Length of the plaintext.
    pub plain_bytes: u32,
    /// What is inside, in order.
    pub members: Vec<Member>,
}

/// The decoded footer of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footer {
    /// The blocks in the order in which they lie.
    pub blocks: Vec<BlockInfo>,
}

impl Footer {
    /// The footer's plaintext, unpadded.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.varint(1).list(&self.blocks, |out, block| {
            out.u8(block.block_type as u8).u8(block.codec as u8).varint(u64::from(block.group));
            out.varint(u64::from(block.ordinal))
                .varint(u64::from(block.sealed_bytes))
                .varint(u64::from(block.plain_bytes));
            if block.block_type == BlockType::Bundle {
                out.list(&block.members, |out, member| {
                    out.raw(member.id.as_bytes()).varint(u64::from(member.bytes));
                });
            } else if let Some(member) = block.members.first() {
                out.raw(member.id.as_bytes());
            }
        });
        out.bytes(&[]);
        out.finish()
    }

    /// Reads a footer of a pack whose blocks begin at `header_bytes`; zero bytes behind it are padding.
    pub fn decode(bytes: &[u8], header_bytes: u32) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "pack footer");
        if reader.varint()? != 1 {
            return Err(DecodeError::UnknownMandatory { what: "pack footer", tag: 1 });
        }
        let mut offset = header_bytes;
        let blocks = reader.list(|reader| {
            let block = read_block_info(reader, offset)?;
            offset = offset.checked_add(block.sealed_bytes).ok_or(reader.out_of_bounds())?;
            Ok(block)
        })?;
        Reader::new(reader.bytes()?, "pack footer extension").fields(|_, _| Ok(false))?;
        if blocks.len() > BLOCKS_MAX || reader.rest().iter().any(|byte| *byte != 0) {
            return Err(reader.out_of_bounds());
        }
        Ok(Self { blocks })
    }
}

fn read_block_info(reader: &mut Reader<'_>, offset: u32) -> Result<BlockInfo, DecodeError> {
    let block_type = BlockType::from_u8(reader.u8()?).ok_or(reader.out_of_bounds())?;
    let codec = match reader.u8()? {
        0 => Codec::Stored,
        1 => Codec::Zstd,
        other => return Err(DecodeError::UnknownMandatory { what: "block codec", tag: other.into() }),
    };
    let group = reader.varint_max(GROUPS_MAX as u64)? as u16;
    let ordinal = reader.varint_max(u32::MAX.into())? as u32;
    let sealed_bytes = reader.varint_max(2 * BLOCK_BYTES_MAX as u64)? as u32;
    let plain_bytes = reader.varint_max(BLOCK_BYTES_MAX as u64)? as u32;
    let members = if block_type == BlockType::Bundle {
        reader.list(|reader| Ok(Member { id: BlobId(reader.array()?), bytes: reader.varint_max(1 << 20)? as u32 }))?
    } else {
        vec![Member { id: BlobId(reader.array()?), bytes: plain_bytes }]
    };
    if members.iter().map(|member| u64::from(member.bytes)).sum::<u64>() != u64::from(plain_bytes) {
        return Err(reader.out_of_bounds());
    }
    Ok(BlockInfo { block_type, codec, group, ordinal, offset, sealed_bytes, plain_bytes, members })
}
