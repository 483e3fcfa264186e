//! Which chunks need not be sent: those of the index, and those of this run.
//!
//! **Invariant**: of several workers that meet a new chunk at once, exactly one is told to send it.

use nightkeep_vault::id::{BlobId, PackId};
use nightkeep_vault::index::{IdHasher, Index};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;
/// Packs of this run are numbered behind those of the index.
pub(crate) type Slot = u32;
const UNPLACED: (Slot, u32) = (u32::MAX, 0);

type Shard = HashMap<[u8; 16], (Slot, u32), BuildHasherDefault<IdHasher>>;

/// Chunks that are in the vault or on the way.
pub(crate) struct Known {
    index: Arc<Index>,
    session: Vec<Mutex<Shard>>,
    packs: Mutex<Vec<Option<PackId>>>,
}

/// What to do with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The vault has it, or somebody is sending it.
    Known,
    /// Send it: the caller is the one.
    Send,
}

fn key(id: &BlobId) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&id.0[..16]);
    key
}

impl Known {
    pub(crate) fn new(index: Arc<Index>) -> Self {
        let session = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { index, session, packs: Mutex::default() }
    }

    fn shard(&self, id: &BlobId) -> MutexGuard<'_, Shard> {
        self.session[usize::from(id.0[31]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller must send a chunk.
    pub(crate) fn claim(&self, id: &BlobId) -> Claim {
        if self.index.chunk(id).is_some() {
            return Claim::Known;
        }
        let mut shard = self.shard(id);
        if shard.contains_key(&key(id)) {
            return Claim::Known;
        }
        shard.insert(key(id), UNPLACED);
        Claim::Send
    }

    /// Whether the vault has a chunk of the parent still.
    pub(crate) fn is_in_index(&self, id: &BlobId) -> bool {
        self.index.chunk(id).is_some()
    }

    /// A number for the next pack of this run.
    pub(crate) fn new_pack(&self) -> Slot {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        packs.push(None);
        (self.index.packs().len() + packs.len() - 1) as Slot
    }

    /// A pack of this run got its name.
    pub(crate) fn name_pack(&self, slot: Slot, id: PackId) {
        let own = slot as usize - self.index.packs().len();
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)[own] = Some(id);
    }

    /// A chunk got its place.
    pub(crate) fn place(&self, id: &BlobId, slot: Slot, block: u32) {
        self.shard(id).insert(key(id), (slot, block));
    }

    /// Where a chunk is; none while it is on the way to the packer.
    pub(crate) fn locate(&self, id: &BlobId) -> Option<(Slot, u32)> {
        if let Some(location) = self.index.chunk(id) {
            return Some((location.pack, location.block));
        }
        self.shard(id).get(&key(id)).copied().filter(|place| *place != UNPLACED)
    }

    /// The name of a pack; none while it is being filled.
    pub(crate) fn pack_id(&self, slot: Slot) -> Option<PackId> {
        let known = self.index.packs().len();
        if (slot as usize) < known {
            return Some(self.index.pack(slot).id);
        }
        let packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        packs.get(slot as usize - known).copied().flatten()
    }
}
