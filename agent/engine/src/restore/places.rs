//! Where the chunks of a recovery point lie.
//!
//! **Invariant**: what the point's machine may count on comes before what anybody else claims, and what is in quarantine
//! comes last: a segment that nobody verified cannot hide a good copy, nor a damaged pack a whole one.
//!
//! A restore may take longer than the packs it began with are kept: a collection moves what is needed out of packs of which
//! little is. What is not found is looked for again by the newest generation.

use nightkeep_vault::id::{BlobId, MachineId, PackId};
use nightkeep_vault::index::{Index, IndexError, Location};
use nightkeep_vault::record::generation::Generation;
use nightkeep_vault::vault::{Vault, VaultError};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) pack: PackId,
    pub(crate) block: u32,
    pub(crate) member: u32,
}

/// Where chunks lie, as of the newest generation when that was asked.
pub(crate) struct Places {
    vault: Arc<Vault>,
    machine: MachineId,
    found: RwLock<Arc<Found>>,
}

/// The index of a point's machine, and that of everybody, loaded when the first does not do.
struct Found {
    generation: Generation,
    own: Index,
    everybody: OnceLock<Option<Index>>,
}

impl Places {
    pub(crate) fn load(vault: &Arc<Vault>, machine: MachineId) -> Result<Self, VaultError> {
        let found = Found::load(vault, machine, vault.newest_generation()?)?;
        Ok(Self { vault: vault.clone(), machine, found: RwLock::new(Arc::new(found)) })
    }

    fn found(&self) -> Arc<Found> {
        self.found.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The generation that these places are of.
    pub(crate) fn generation(&self) -> u64 {
        self.found().generation.number
    }

    /// Where a chunk lies.
    pub(crate) fn chunk(&self, id: &BlobId) -> Result<Option<Place>, IndexError> {
        let found = self.found();
        match found.own.chunk(id)? {
            Some(location) => place(&found.own, location).map(Some),
            None => Ok(found.all(&self.vault, id)?.first().copied()),
        }
    }

    /// Every place of a chunk, the best first: where one cannot be read, another may.
    pub(crate) fn all(&self, id: &BlobId) -> Result<Vec<Place>, IndexError> {
        self.found().all(&self.vault, id)
    }

    /// Whether there are places of a later generation now: a collection may have moved what was not found where it was.
    pub(crate) fn renewed_since(&self, generation: u64) -> Result<bool, VaultError> {
        if self.generation() > generation {
            return Ok(true);
        }
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        if found.generation.number > generation {
            return Ok(true);
        }
        let newest = self.vault.newest_generation()?;
        if newest.number <= generation {
            return Ok(false);
        }
        *found = Arc::new(Found::load(&self.vault, self.machine, newest)?);
        Ok(true)
    }
}

impl Found {
    fn load(vault: &Arc<Vault>, machine: MachineId, generation: Generation) -> Result<Self, VaultError> {
        let own = vault.load_index(&generation, Some(machine))?;
        Ok(Self { generation, own, everybody: OnceLock::new() })
    }

    fn all(&self, vault: &Vault, id: &BlobId) -> Result<Vec<Place>, IndexError> {
        let mut found = Vec::new();
        for index in std::iter::once(&self.own).chain(self.everybody(vault)) {
            for location in index.places(id)? {
                let place = place(index, location)?;
                if !found.contains(&place) {
                    found.push(place);
                }
            }
        }
        Ok(found)
    }

    fn everybody(&self, vault: &Vault) -> Option<&Index> {
        let load = || {
            let index = vault.load_index(&self.generation, None);
            index.inspect_err(|error| tracing::warn!(%error, "The index of the other machines cannot be read")).ok()
        };
        self.everybody.get_or_init(load).as_ref()
    }
}

fn place(index: &Index, location: Location) -> Result<Place, IndexError> {
    Ok(Place { pack: index.pack(location.pack)?.id, block: location.block, member: location.member })
}
