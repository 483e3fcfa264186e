//! Fills metadata packs and remembers which ones a point needs.
//!
//! **Invariant**: a blob that a parent or this run has is not written again.

use super::parent::ParentBlobs;
use super::seal::{RawBlock, SealStage};
use super::{BackupError, Shared};
use nightkeep_vault::id::{BlobId, PackId};
use nightkeep_vault::pack::{Area, BLOCK_BYTES_MAX, BlockType, GroupKey, Member, PackWriter};
use nightkeep_vault::reader::{catalogue_id, references_id};
use std::collections::{BTreeSet, HashSet};

/// Wished size of a metadata pack in bytes.
const META_PACK_BYTES: usize = 4 << 20;
const CATALOGUE_GROUP: u16 = 0;
const REFERENCES_GROUP: u16 = 1;

pub(crate) struct MetaPacker<'a> {
    shared: &'a Shared<'a>,
    pub(crate) parents: ParentBlobs,
    seal: SealStage,
    open: Option<PackWriter>,
    written: HashSet<BlobId>,
    packs: BTreeSet<PackId>,
    lost: bool,
}

impl<'a> MetaPacker<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, parents: ParentBlobs) -> Result<Self, BackupError> {
        let seal = SealStage::new(shared)?;
        Ok(Self { shared, parents, seal, open: None, written: HashSet::new(), packs: BTreeSet::new(), lost: false })
    }

    pub(crate) fn catalogue_id(&self, plain: &[u8]) -> BlobId {
        let machine = self.shared.session.machine();
        catalogue_id(&machine.meta, machine.id, plain)
    }

    /// Counts on a blob of a parent.
    pub(crate) fn reuse(&mut self, id: &BlobId) -> bool {
        let pack = self.parents.pack_of(id);
        self.packs.extend(pack);
        pack.is_some()
    }

    /// Writes a catalogue blob that was named already.
    pub(crate) fn put_catalogue(
        &mut self,
        block_type: BlockType,
        id: BlobId,
        plain: Vec<u8>,
    ) -> Result<(), BackupError> {
        self.put(CATALOGUE_GROUP, block_type, id, plain)
    }

    /// Names and writes a references blob.
    pub(crate) fn put_references(&mut self, block_type: BlockType, plain: Vec<u8>) -> Result<BlobId, BackupError> {
        let id = references_id(&self.shared.session.vault().keys().index, &plain);
        self.put(REFERENCES_GROUP, block_type, id, plain)?;
        Ok(id)
    }

    fn put(&mut self, group: u16, block_type: BlockType, id: BlobId, plain: Vec<u8>) -> Result<(), BackupError> {
        if self.reuse(&id) || self.written.contains(&id) {
            return Ok(());
        }
        if plain.len() > BLOCK_BYTES_MAX {
            return Err(BackupError::TooLarge { what: "a part of the catalogue", bytes: plain.len() });
        }
        let members = vec![Member { id, bytes: plain.len() as u32 }];
        let block = self.seal.prepare(RawBlock { block_type, plain, members })?;
        if self.open.as_ref().is_some_and(|open| open.is_full_for(block.payload.len(), META_PACK_BYTES)) {
            self.flush()?;
        }
        let shared = self.shared;
        self.open.get_or_insert_with(|| new_meta_pack(shared)).append(group, block);
        self.written.insert(id);
        Ok(())
    }

    /// Puts the open pack; when this answers, every blob so far is durable.
    pub(crate) fn flush(&mut self) -> Result<(), BackupError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let pack = open.finish(&self.shared.session.vault().keys().index);
        let put = self.shared.session.put_pack(Area::Meta, &pack);
        self.lost |= put.is_err();
        put?;
        self.packs.insert(pack.id);
        Ok(())
    }

    /// Whether a pack could not be put: then some of what counts as written is not, and nothing may name it.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost
    }

    /// The packs of everything written or reused so far. Call [`MetaPacker::flush`] before.
    pub(crate) fn packs(&self) -> &BTreeSet<PackId> {
        &self.packs
    }
}

fn new_meta_pack(shared: &Shared<'_>) -> PackWriter {
    let (vault, machine) = (shared.session.vault(), shared.session.machine());
    let groups =
        vec![GroupKey::for_catalogue(machine.id, 1, &machine.meta), GroupKey::for_references(&vault.keys().index)];
    PackWriter::new(vault.id(), groups, 64 << 10)
}
