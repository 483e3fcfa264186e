//! The recovery point a run is compared with: the newest visible one of the same source.
//!
//! **Invariant**: nothing is taken over from a parent that the vault could not give back.

use nightkeep_vault::catalogue::{Entry, HunkRef, Piece};
use nightkeep_vault::id::{BlobId, MachineId, PackId, PointId};
use nightkeep_vault::index::Index;
use nightkeep_vault::pack::Area;
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use nightkeep_vault::record::point::Totals;
use nightkeep_vault::vault::{Vault, VaultError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// With this many metadata packs a run writes its whole catalogue anew, so that reading one stays cheap.
const META_PACKS_MAX: usize = 32;

/// A parent whose catalogue was opened.
pub(crate) struct Parent {
    reader: CatalogueReader,
    /// Every pack its references name is in the index, so unchanged files need no look-up.
    pub(crate) healthy: bool,
}

/// What the parent's catalogue holds already, by id.
#[derive(Default)]
pub(crate) struct ParentBlobs {
    /// Hunk or content list to its references leaf.
    leaves: HashMap<BlobId, BlobId>,
    packs: HashMap<BlobId, PackId>,
}

impl Parent {
    /// Finds and opens the parent. A parent that cannot be read is no parent: the run reads everything.
    pub(crate) fn find(
        vault: &Arc<Vault>,
        machine: MachineId,
        source: [u8; 16],
        index: &Index,
    ) -> Result<Option<Self>, VaultError> {
        let points = vault.points(machine)?;
        let newest = points.visible().rev().find(|listed| listed.point.header.source == source);
        let Some(listed) = newest else { return Ok(None) };
        let opened = CatalogueReader::open(Arc::new(BlockReader::new(vault.clone())), listed.point.clone());
        let checked = opened.and_then(|reader| Ok((is_healthy(&reader, index)?, reader)));
        match checked {
            Ok((healthy, reader)) => Ok(Some(Self { reader, healthy })),
            Err(error) => {
                tracing::warn!(point = %listed.point.id, %error, "The last recovery point cannot be read; everything is read anew");
                Ok(None)
            }
        }
    }

    pub(crate) fn id(&self) -> PointId {
        self.reader.point.id
    }

    pub(crate) fn totals(&self) -> Totals {
        self.reader.point.header.totals
    }

    /// When its scan began, in seconds.
    pub(crate) fn started_seconds(&self) -> i64 {
        self.reader.point.header.started.at.seconds
    }

    /// What a new catalogue may refer to instead of writing again.
    pub(crate) fn blobs(&self) -> ParentBlobs {
        if self.reader.point.header.meta_packs.len() >= META_PACKS_MAX {
            return ParentBlobs::default();
        }
        let mut blobs = ParentBlobs::default();
        for hunk in &self.reader.hunks {
            blobs.leaves.insert(hunk.id, hunk.leaf);
            blobs.leaves.extend(hunk.lists.iter().copied());
        }
        let root_and_list = [Some(self.reader.point.header.references), self.reader.body.hunk_list];
        let ids = blobs.leaves.iter().flat_map(|(id, leaf)| [*id, *leaf]).chain(root_and_list.into_iter().flatten());
        blobs.packs = ids.filter_map(|id| Some((id, self.reader.locate(&id)?.0))).collect();
        blobs
    }

    /// The chunks of a content list, to see whether the vault still has them.
    pub(crate) fn content_list(&self, id: &BlobId) -> Result<Vec<Piece>, VaultError> {
        self.reader.content_list(id)
    }

    pub(crate) fn hunks(&self) -> &[HunkRef] {
        &self.reader.hunks
    }

    pub(crate) fn read_hunk(&self, hunk: &HunkRef) -> Result<Vec<Entry>, VaultError> {
        self.reader.hunk(hunk)
    }
}

impl ParentBlobs {
    /// The references leaf of a hunk or content list that the parent has too.
    pub(crate) fn leaf_of(&self, id: &BlobId) -> Option<BlobId> {
        self.leaves.get(id).copied()
    }

    /// The metadata pack that holds a blob.
    pub(crate) fn pack_of(&self, id: &BlobId) -> Option<PackId> {
        self.packs.get(id).copied()
    }
}

fn is_healthy(reader: &CatalogueReader, index: &Index) -> Result<bool, VaultError> {
    let mut found = HashSet::new();
    for leaf in &reader.references()?.leaves {
        for pack in reader.leaf(leaf)?.packs() {
            if !found.insert(pack) {
                continue;
            }
            if !index.holds(Area::Data, &pack)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
