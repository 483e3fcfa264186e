//! What a run is compared with: the newest visible recovery point of the same source, and what an interrupted run of it
//! has confirmed since.
//!
//! **Invariant**: nothing is taken over from a parent that the vault could not give back.

use nightkeep_vault::catalogue::{Entry, HunkRef, Piece};
use nightkeep_vault::id::{BlobId, MachineId, PackId, PointId};
use nightkeep_vault::index::Index;
use nightkeep_vault::pack::Area;
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use nightkeep_vault::record::point::{CivilTime, Point, Totals};
use nightkeep_vault::vault::{Vault, VaultError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// With this many metadata packs a run writes its whole catalogue anew, so that reading one stays cheap.
const META_PACKS_MAX: usize = 32;
/// So many interrupted runs are looked at, the last ones first.
const PARTIALS_MAX: usize = 3;

/// A parent whose catalogue was opened.
pub(crate) struct Parent {
    reader: CatalogueReader,
    /// Every pack its references name is in the index, so unchanged files need no look-up.
    pub(crate) healthy: bool,
    /// Every metadata pack of it may be counted on.
    reusable: bool,
}

/// The parents of a run.
#[derive(Default)]
pub(crate) struct Parents {
    /// What an interrupted run confirmed.
    pub(crate) partial: Option<Arc<Parent>>,
    /// The last recovery point.
    pub(crate) complete: Option<Arc<Parent>>,
}

/// What the parents' catalogues hold already, by id.
#[derive(Default)]
pub(crate) struct ParentBlobs {
    /// Hunk or content list to its references leaf, where every pack the leaf names is there.
    leaves: HashMap<BlobId, BlobId>,
    packs: HashMap<BlobId, PackId>,
}

impl Parents {
    /// Finds and opens the parents. One that cannot be read is none: what it held is read anew.
    pub(crate) fn find(
        vault: &Arc<Vault>,
        machine: MachineId,
        source: [u8; 16],
        index: &Index,
    ) -> Result<Self, VaultError> {
        let points = vault.points(machine)?;
        let newest = points.sound().rev().find(|listed| listed.point.header.source == source);
        let partials = vault.live_partials(machine, &points)?;
        let blocks = Arc::new(BlockReader::new(vault.clone()));
        let open = |point: Point| Parent::open(&blocks, point, index);
        // Of several interrupted runs the one that confirmed most: each goes on from the one before.
        let mut partials: Vec<Point> = partials.into_iter().filter(|point| point.header.source == source).collect();
        partials.sort_by_key(|point| std::cmp::Reverse((point.header.sequence, point.header.finished.at)));
        let opened = partials.into_iter().take(PARTIALS_MAX).filter_map(open);
        let partial = opened.max_by_key(|parent| parent.hunks().iter().map(|hunk| hunk.entries).sum::<u64>());
        Ok(Self { partial, complete: newest.and_then(|listed| open(listed.point.clone())) })
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Parent>> {
        self.partial.iter().chain(&self.complete)
    }

    /// What a new catalogue may refer to instead of writing again.
    pub(crate) fn blobs(&self) -> ParentBlobs {
        let mut blobs = ParentBlobs::default();
        let packs: usize = self.newest_first().map(|parent| parent.point().header.meta_packs.len()).sum();
        if packs < META_PACKS_MAX {
            self.newest_first().for_each(|parent| blobs.add(parent));
        }
        blobs
    }

    /// The chunks of a content list, to see whether the vault still has them.
    pub(crate) fn content_list(&self, id: &BlobId) -> Result<Vec<Piece>, VaultError> {
        let missing = || VaultError::Missing { what: "content list", id: id.to_string() };
        let holder = self.newest_first().find(|parent| parent.reader.locate(id).is_some());
        holder.ok_or_else(missing)?.content_list(id)
    }
}

impl Parent {
    fn open(blocks: &Arc<BlockReader>, point: Point, index: &Index) -> Option<Arc<Self>> {
        let id = point.id;
        let opened = CatalogueReader::open(blocks.clone(), point);
        match opened.and_then(|reader| Ok((is_healthy(&reader, index)?, is_reusable(&reader, index)?, reader))) {
            Ok((healthy, reusable, reader)) => Some(Arc::new(Self { reader, healthy, reusable })),
            Err(error) => {
                tracing::warn!(point = %id, %error, "A parent cannot be read; what it holds is read anew");
                None
            }
        }
    }

    fn point(&self) -> &Point {
        &self.reader.point
    }

    pub(crate) fn id(&self) -> PointId {
        self.point().id
    }

    pub(crate) fn totals(&self) -> Totals {
        self.point().header.totals
    }

    /// When its scan began.
    pub(crate) fn started(&self) -> &CivilTime {
        &self.point().header.started
    }

    /// The same, in seconds.
    pub(crate) fn started_seconds(&self) -> i64 {
        self.started().at.seconds
    }

    /// Paths of what its run had trouble with; none when not all of them are listed.
    pub(crate) fn findings(&self) -> Option<Vec<Vec<u8>>> {
        let listed = &self.reader.body.findings;
        let all = listed.len() as u64 == self.totals().findings;
        all.then(|| listed.iter().map(|finding| finding.path.clone()).collect())
    }

    /// The pieces of a content list of its catalogue.
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
    fn add(&mut self, parent: &Parent) {
        if !parent.reusable {
            return;
        }
        let reader = &parent.reader;
        let root_and_list = [Some(reader.point.header.references), reader.body.hunk_list];
        let pairs = || {
            reader.hunks.iter().flat_map(|hunk| std::iter::once((hunk.id, hunk.leaf)).chain(hunk.lists.iter().copied()))
        };
        if parent.healthy {
            self.leaves.extend(pairs());
        }
        let ids = pairs().flat_map(|(id, leaf)| [id, leaf]).chain(root_and_list.into_iter().flatten());
        self.packs.extend(ids.filter_map(|id| Some((id, reader.locate(&id)?.0))));
    }

    /// The references leaf of a hunk or content list that a parent has too.
    pub(crate) fn leaf_of(&self, id: &BlobId) -> Option<BlobId> {
        self.leaves.get(id).copied()
    }

    /// The metadata pack that holds a blob.
    pub(crate) fn pack_of(&self, id: &BlobId) -> Option<PackId> {
        self.packs.get(id).copied()
    }
}

/// Metadata packs that a collector may take away are not reused, nor are chunks of such packs (W2).
fn is_reusable(reader: &CatalogueReader, index: &Index) -> Result<bool, VaultError> {
    for pack in &reader.point.header.meta_packs {
        if !index.holds(Area::Meta, pack)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_healthy(reader: &CatalogueReader, index: &Index) -> Result<bool, VaultError> {
    // A part of the catalogue that is lost or in quarantine is written again, and what it told is read again.
    for pack in &reader.point.header.meta_packs {
        if !index.holds(Area::Meta, pack)? {
            return Err(VaultError::Missing { what: "metadata pack", id: pack.to_string() });
        }
    }
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
