//! Where the chunks of a recovery point lie.
//!
//! **Invariant**: what the point's machine may count on comes before what anybody else claims: a segment that nobody
//! verified cannot hide a good copy.

use nightkeep_vault::id::{BlobId, MachineId, PackId};
use nightkeep_vault::index::{Index, IndexError};
use nightkeep_vault::record::generation::Generation;
use nightkeep_vault::vault::{Vault, VaultError};
use std::sync::{Arc, OnceLock};

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) pack: PackId,
    pub(crate) block: u32,
    pub(crate) member: u32,
}

/// The index of a point's machine, and that of everybody, loaded when the first does not know a chunk.
pub(crate) struct Places {
    vault: Arc<Vault>,
    generation: Generation,
    own: Index,
    everybody: OnceLock<Option<Index>>,
}

impl Places {
    pub(crate) fn load(vault: &Arc<Vault>, machine: MachineId) -> Result<Self, VaultError> {
        let generation = vault.newest_generation()?;
        let own = vault.load_index(&generation, Some(machine))?;
        Ok(Self { vault: vault.clone(), generation, own, everybody: OnceLock::new() })
    }

    /// Where a chunk lies.
    pub(crate) fn chunk(&self, id: &BlobId) -> Result<Option<Place>, IndexError> {
        if let Some(place) = find(&self.own, id)? {
            return Ok(Some(place));
        }
        self.everybody().map_or(Ok(None), |index| find(index, id))
    }

    fn everybody(&self) -> Option<&Index> {
        let load = || {
            let index = self.vault.load_index(&self.generation, None);
            index.inspect_err(|error| tracing::warn!(%error, "The index of the other machines cannot be read")).ok()
        };
        self.everybody.get_or_init(load).as_ref()
    }
}

fn find(index: &Index, id: &BlobId) -> Result<Option<Place>, IndexError> {
    let Some(location) = index.chunk(id)? else { return Ok(None) };
    let pack = index.pack(location.pack)?.id;
    Ok(Some(Place { pack, block: location.block, member: location.member }))
}
