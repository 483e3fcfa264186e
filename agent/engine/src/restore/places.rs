//! Where the chunks of a recovery point lie.
//!
//! **Invariant**: what the point's machine may count on comes before what anybody else claims, and what is in quarantine
//! comes last: a segment that nobody verified cannot hide a good copy, nor a damaged pack a whole one.

use nightkeep_vault::id::{BlobId, MachineId, PackId};
use nightkeep_vault::index::{Index, IndexError, Location};
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

/// The index of a point's machine, and that of everybody, loaded when the first does not do.
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
        match self.own.chunk(id)? {
            Some(location) => place(&self.own, location).map(Some),
            None => Ok(self.all(id)?.first().copied()),
        }
    }

    /// Every place of a chunk, the best first: where one cannot be read, another may.
    pub(crate) fn all(&self, id: &BlobId) -> Result<Vec<Place>, IndexError> {
        let mut found = Vec::new();
        for index in std::iter::once(&self.own).chain(self.everybody()) {
            for location in index.places(id)? {
                let place = place(index, location)?;
                if !found.contains(&place) {
                    found.push(place);
                }
            }
        }
        Ok(found)
    }

    fn everybody(&self) -> Option<&Index> {
        let load = || {
            let index = self.vault.load_index(&self.generation, None);
            index.inspect_err(|error| tracing::warn!(%error, "The index of the other machines cannot be read")).ok()
        };
        self.everybody.get_or_init(load).as_ref()
    }
}

fn place(index: &Index, location: Location) -> Result<Place, IndexError> {
    Ok(Place { pack: index.pack(location.pack)?.id, block: location.block, member: location.member })
}
