//! The references leaves of hunks and content lists: written as soon as every pack they name is durable.
//!
//! **Invariant**: what waits is what the packs in flight hold, not what the run has seen.

use super::known::Slot;
use super::meta::MetaPacker;
use super::{BackupError, Shared};
use nightkeep_vault::id::BlobId;
use nightkeep_vault::pack::BlockType;
use nightkeep_vault::references::Leaf;
use nightkeep_vault::vault::VaultError;
use std::collections::{BTreeSet, HashMap};

/// The blocks that a hunk or content list needs, as far as their places are known.
#[derive(Default)]
struct Needs {
    placed: BTreeSet<(Slot, u32)>,
    unplaced: Vec<BlobId>,
}

impl Needs {
    fn new(chunks: Vec<BlobId>, shared: &Shared<'_>) -> Result<Self, VaultError> {
        let mut needs = Self { placed: BTreeSet::new(), unplaced: chunks };
        needs.place(shared)?;
        Ok(needs)
    }

    fn place(&mut self, shared: &Shared<'_>) -> Result<(), VaultError> {
        for chunk in std::mem::take(&mut self.unplaced) {
            match shared.known.locate(&chunk)? {
                Some(place) => {
                    self.placed.insert(place);
                }
                None => self.unplaced.push(chunk),
            }
        }
        Ok(())
    }

    /// The leaf, when every pack it names is durable.
    fn leaf(&self, shared: &Shared<'_>) -> Result<Option<Leaf>, VaultError> {
        let mut leaf = Leaf::default();
        for (slot, block) in &self.placed {
            let Some(pack) = shared.known.pack_id(*slot)? else { return Ok(None) };
            leaf.insert(pack, *block);
        }
        Ok(self.unplaced.is_empty().then_some(leaf))
    }
}

/// The leaves of a run.
#[derive(Default)]
pub(crate) struct Leaves {
    written: HashMap<BlobId, BlobId>,
    waiting: Vec<(BlobId, Needs)>,
}

impl Leaves {
    /// Whether the leaf of a hunk or content list is written or will be.
    pub(crate) fn has(&self, of: &BlobId) -> bool {
        self.written.contains_key(of) || self.waiting.iter().any(|(waiting, _)| waiting == of)
    }

    /// Takes over a parent's leaf.
    pub(crate) fn reuse(&mut self, of: BlobId, leaf: BlobId, meta: &mut MetaPacker<'_>) {
        meta.reuse(&leaf);
        self.written.insert(of, leaf);
    }

    /// Notes what a hunk or content list needs; its leaf is written later.
    pub(crate) fn add(&mut self, of: BlobId, chunks: Vec<BlobId>, shared: &Shared<'_>) -> Result<(), VaultError> {
        self.waiting.push((of, Needs::new(chunks, shared)?));
        Ok(())
    }

    /// Writes the leaf of something whose packs are durable; none where they are not.
    pub(crate) fn write(
        &mut self,
        of: BlobId,
        chunks: Vec<BlobId>,
        shared: &Shared<'_>,
        meta: &mut MetaPacker<'_>,
    ) -> Result<Option<BlobId>, BackupError> {
        let Some(leaf) = Needs::new(chunks, shared)?.leaf(shared)? else { return Ok(None) };
        let leaf = meta.put_references(BlockType::ReferencesLeaf, leaf.encode())?;
        self.written.insert(of, leaf);
        Ok(Some(leaf))
    }

    /// Writes every leaf whose packs are durable by now.
    pub(crate) fn settle(&mut self, shared: &Shared<'_>, meta: &mut MetaPacker<'_>) -> Result<(), BackupError> {
        for (of, mut needs) in std::mem::take(&mut self.waiting) {
            needs.place(shared)?;
            match needs.leaf(shared)? {
                None => self.waiting.push((of, needs)),
                Some(leaf) => {
                    let id = meta.put_references(BlockType::ReferencesLeaf, leaf.encode())?;
                    self.written.insert(of, id);
                }
            }
        }
        Ok(())
    }

    /// Fails when a leaf is still waiting: every data pack was durable before this call.
    pub(crate) fn expect_all(&self) -> Result<(), VaultError> {
        let Some((of, needs)) = self.waiting.first() else { return Ok(()) };
        if let Some(chunk) = needs.unplaced.first() {
            return Err(VaultError::Missing { what: "chunk", id: chunk.to_string() });
        }
        // Every chunk has its place, so a pack of theirs has no name.
        Err(VaultError::Missing { what: "pack of the references of", id: of.to_string() })
    }

    /// The leaf of a hunk or content list; none while it waits.
    pub(crate) fn get(&self, of: &BlobId) -> Option<BlobId> {
        self.written.get(of).copied()
    }
}
