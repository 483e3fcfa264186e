//! Which chunks need not be sent: those of the index, and those of this run.
//!
//! **Invariant**: of several workers that meet a new chunk at once, exactly one is told to send it. Memory holds the
//! claims that the packer has not placed yet; what was placed moves to disk when it is many.

use nightkeep_vault::id::{BlobId, PackId};
use nightkeep_vault::index::{Index, IndexError, Location, SessionChunks};
use nightkeep_vault::vault::VaultError;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

const SHARDS: usize = 16;
/// Packs of this run are numbered behind those of the index.
pub(crate) type Slot = u32;

/// Chunks that are in the vault or on the way.
pub(crate) struct Known {
    index: Arc<Index>,
    /// Claimed and not placed yet. A shard is locked before the session.
    claimed: Vec<Mutex<HashSet<BlobId>>>,
    session: RwLock<SessionChunks>,
}

/// What to do with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The vault has it, or somebody is sending it.
    Known,
    /// Send it: the caller is the one.
    Send,
}

impl Known {
    pub(crate) fn new(index: Arc<Index>) -> Self {
        let claimed = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { index, claimed, session: RwLock::default() }
    }

    fn shard(&self, id: &BlobId) -> MutexGuard<'_, HashSet<BlobId>> {
        self.claimed[usize::from(id.0[31]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the index has a chunk. One that a damaged page of its cache hides is sent again.
    fn indexed(&self, id: &BlobId) -> Result<Option<Location>, VaultError> {
        match self.index.chunk(id) {
            Err(IndexError::Damaged { .. }) => Ok(None),
            other => Ok(other?),
        }
    }

    fn placed(&self, id: &BlobId) -> Result<Option<Location>, VaultError> {
        Ok(self.session.read().unwrap_or_else(PoisonError::into_inner).chunk(id)?)
    }

    /// Whether the caller must send a chunk.
    pub(crate) fn claim(&self, id: &BlobId) -> Result<Claim, VaultError> {
        if self.is_in_index(id)? {
            return Ok(Claim::Known);
        }
        let mut shard = self.shard(id);
        if shard.contains(id) || self.placed(id)?.is_some() {
            return Ok(Claim::Known);
        }
        shard.insert(*id);
        Ok(Claim::Send)
    }

    /// Whether the vault has a chunk of the parent still.
    pub(crate) fn is_in_index(&self, id: &BlobId) -> Result<bool, VaultError> {
        Ok(self.indexed(id)?.is_some())
    }

    /// A number for the next pack of this run.
    pub(crate) fn new_pack(&self) -> Slot {
        let own = self.session.write().unwrap_or_else(PoisonError::into_inner).begin_pack();
        self.index.pack_count() + own
    }

    /// A pack of this run got its name.
    pub(crate) fn name_pack(&self, slot: Slot, id: PackId) {
        let own = slot - self.index.pack_count();
        self.session.write().unwrap_or_else(PoisonError::into_inner).name_pack(own, id);
    }

    /// A chunk got its place.
    pub(crate) fn place(&self, id: &BlobId, slot: Slot, block: u32) -> Result<(), VaultError> {
        let mut shard = self.shard(id);
        let place = Location { pack: slot - self.index.pack_count(), block, member: 0 };
        self.session.write().unwrap_or_else(PoisonError::into_inner).place(id, place)?;
        shard.remove(id);
        Ok(())
    }

    /// Where a chunk is; none while it is on the way to the packer.
    pub(crate) fn locate(&self, id: &BlobId) -> Result<Option<(Slot, u32)>, VaultError> {
        let (indexed, on_its_way) = (self.index.chunk(id), self.shard(id).contains(id));
        if let Ok(Some(location)) = indexed {
            return Ok(Some((location.pack, location.block)));
        }
        let place = self.placed(id)?;
        if place.is_none() && !on_its_way {
            // It was counted on before the damage showed, so only the index can tell where it is.
            indexed?;
        }
        Ok(place.map(|place| (self.index.pack_count() + place.pack, place.block)))
    }

    /// The name of a pack; none while it is being filled.
    pub(crate) fn pack_id(&self, slot: Slot) -> Result<Option<PackId>, VaultError> {
        match slot.checked_sub(self.index.pack_count()) {
            None => Ok(Some(self.index.pack(slot)?.id)),
            Some(own) => Ok(self.session.read().unwrap_or_else(PoisonError::into_inner).pack(own)?),
        }
    }
}
