//! A pack made of blocks of other packs, copied as they are sealed, each with the group that holds its key.
//!
//! **Invariant**: a block keeps group, ordinal and type, which its seal covers, so no key is needed and no nonce is used
//! a second time.

use super::{
    BLOCKS_MAX, BlockInfo, FinishedPack, Footer, GROUPS_MAX, GroupHeader, PackError, PackHeader, begin, finish,
};
use crate::crypto::{Secret, random};
use crate::id::VaultId;
use std::collections::BTreeMap;

/// Gathers blocks for one pack.
#[derive(Default)]
pub struct PackCopy {
    groups: Vec<GroupHeader>,
    blocks: Vec<BlockInfo>,
    sealed: Vec<u8>,
}

impl PackCopy {
    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether blocks of another pack fit in, within the bounds of the format and `pack_bytes`; into an empty one they do.
    pub fn fits(&self, header: &PackHeader, blocks: &[&BlockInfo], pack_bytes: usize) -> bool {
        let bytes: usize = blocks.iter().map(|block| block.sealed_bytes as usize).sum();
        self.is_empty()
            || self.sealed.len() + bytes <= pack_bytes
                && self.blocks.len() + blocks.len() <= BLOCKS_MAX
                && self.groups.len() + header.groups.len() <= GROUPS_MAX
    }

    /// Copies blocks out of a whole pack; answers the place of the first, the others follow.
    pub fn take(&mut self, header: &PackHeader, blocks: &[&BlockInfo], pack: &[u8]) -> Result<u32, PackError> {
        let first = self.blocks.len() as u32;
        let mut groups: BTreeMap<u16, u16> = BTreeMap::new();
        for block in blocks {
            let group = match groups.get(&block.group) {
                Some(group) => *group,
                None => {
                    let group = header.groups.get(usize::from(block.group));
                    self.groups.push(group.ok_or(PackError::Frame("a block of no group"))?.clone());
                    let number = self.groups.len() as u16 - 1;
                    groups.insert(block.group, number);
                    number
                }
            };
            let start = block.offset as usize;
            let sealed = pack.get(start..start + block.sealed_bytes as usize);
            self.sealed.extend_from_slice(sealed.ok_or(PackError::Frame("a block beyond its end"))?);
            self.blocks.push(BlockInfo { group, ..(*block).clone() });
        }
        Ok(first)
    }

    /// Seals the footer and names the pack.
    pub fn finish(mut self, vault: VaultId, index_key: &Secret) -> FinishedPack {
        let salt: [u8; 32] = random();
        let mut bytes = Vec::with_capacity(self.sealed.len() + self.sealed.len() / 8);
        let groups = self.groups.iter().map(|group| (&group.salt, group.envelopes.as_slice()));
        let header_bytes = begin(&mut bytes, &salt, groups);
        let mut offset = header_bytes as u32;
        for block in &mut self.blocks {
            block.offset = offset;
            offset += block.sealed_bytes;
        }
        bytes.extend_from_slice(&self.sealed);
        finish(vault, &salt, bytes, header_bytes, Footer { blocks: self.blocks }, index_key)
    }
}
