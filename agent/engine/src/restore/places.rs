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
    /// The length of the pack in bytes, as the index has it.
    pub(crate) pack_bytes: u64,
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
    let pack = index.pack(location.pack)?;
    Ok(Place { pack: pack.id, block: location.block, member: location.member, pack_bytes: pack.bytes })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare its vault has failed")]
    use super::*;
    use crate::backup::{self, BackupOptions, Clock, Executor};
    use crate::exclude::Excludes;
    use crate::progress::{Silent, Stop};
    use crate::source::SourceOptions;
    use nightkeep_vault::codec::Time;
    use nightkeep_vault::collect::{self, CollectOptions};
    use nightkeep_vault::id::VaultId;
    use nightkeep_vault::keys::CustomerRoot;
    use nightkeep_vault::record::config::Custody;
    use nightkeep_vault::record::point::CivilTime;
    use nightkeep_vault::record::retention::Action;
    use nightkeep_vault::store::MemoryStore;

    const NOW: Time = Time { seconds: 4_000_000_000, nanoseconds: 0 };

    struct At;

    impl Clock for At {
        fn now(&self) -> CivilTime {
            CivilTime { at: NOW, offset_minutes: 0, zone: "UTC".into() }
        }
    }

    fn noise(bytes: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
        out
    }

    /// A small file in a pack with a large one, of which only a forgotten point tells.
    #[test]
    fn what_a_collection_moved_is_found_where_it_is_now() {
        let (root, dir) = (CustomerRoot::generate(), tempfile::tempdir().unwrap());
        let store = Arc::new(MemoryStore::new());
        let vault = Vault::create(store, root, VaultId([5; 16]), Custody::Owner, Time::default()).unwrap();
        let vault = Arc::new(vault);
        let source = SourceOptions {
            machine_root: dir.path().to_path_buf(),
            roots: vec![Vec::new()],
            excludes: Excludes::new(&[]).unwrap(),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        let options = BackupOptions { executor: Executor::Inline, ..BackupOptions::new(source, "machine") };
        let run = || backup::run(&vault, &options, &At, &Silent, &Stop::new()).unwrap();
        std::fs::write(dir.path().join("small"), noise(40_000, 1)).unwrap();
        std::fs::write(dir.path().join("large"), noise(200_000, 2)).unwrap();
        let machine = run().machine;
        std::fs::remove_file(dir.path().join("large")).unwrap();
        run();
        for action in [Action::Trash, Action::Forget] {
            vault.retain(&vault.points(machine).unwrap().points[0], action, NOW, "test").unwrap();
        }

        let places = Places::load(&vault, machine).unwrap();
        let chunk = BlobId(*blake3::keyed_hash(vault.keys().id.expose(), &noise(40_000, 1)).as_bytes());
        let before = places.chunk(&chunk).unwrap().unwrap();
        assert_eq!(places.all(&chunk).unwrap(), [before], "the index of everybody is loaded, too");
        assert!(!places.renewed_since(places.generation()).unwrap(), "nothing happened yet");

        let options = CollectOptions::new(NOW);
        let moved = collect::run(&vault, collect::plan(&vault, &options).unwrap(), &options).unwrap();
        assert_eq!(moved.packs_repacked, 1);
        assert_eq!(places.all(&chunk).unwrap(), [before], "what was loaded does not change by itself");
        assert!(places.renewed_since(0).unwrap());
        let now = places.chunk(&chunk).unwrap().unwrap();
        assert_ne!(now.pack, before.pack);
        assert_eq!(places.all(&chunk).unwrap()[0], now, "the place that is gone comes last");
        assert!(!places.renewed_since(places.generation()).unwrap());
    }
}
