//! A vault in memory, machines that back up small folders, and the collector with the two keys it has.

use nightkeep_engine::backup::{self, BackupError, BackupOptions, BackupReport, Clock, Executor};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::collect::{self, CollectError, CollectOptions, CollectReport};
use nightkeep_vault::crypto::{Secret, SigningKey};
use nightkeep_vault::id::{MachineId, VaultId};
use nightkeep_vault::keys::{CustomerRoot, MachineKeys, VaultKeys};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::record::retention::Action;
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::{ListedPoint, Pins, Vault};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const VAULT: VaultId = VaultId([6; 16]);
pub(crate) const NOW: Time = Time { seconds: 4_000_000_000, nanoseconds: 0 };
pub(crate) const DAY: i64 = 24 * 3600;

pub(crate) struct At(pub(crate) Time);

impl Clock for At {
    fn now(&self) -> CivilTime {
        CivilTime { at: self.0, offset_minutes: 0, zone: "UTC".into() }
    }
}

/// The files of a folder.
pub(crate) type State = BTreeMap<&'static str, Vec<u8>>;

pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

pub(crate) fn later(days: i64) -> Time {
    Time { seconds: NOW.seconds + days * DAY, nanoseconds: 0 }
}

pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) root: CustomerRoot,
    pub(crate) store: MemoryStore,
    /// Every state that any machine's folder ever had.
    pub(crate) states: Vec<State>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (dir, root, store) = (tempfile::tempdir().unwrap(), CustomerRoot::from_bytes([7; 32]), MemoryStore::new());
        Vault::create(Arc::new(store.clone()), root.clone(), VAULT, Custody::Owner, Time::default()).unwrap();
        Self { dir, root, store, states: Vec::new() }
    }

    /// The same vault and folders with a store of its own.
    pub(crate) fn fork(&self) -> MemoryStore {
        let copy = MemoryStore::new();
        let from: &dyn Store = &self.store;
        for info in from.list_all("").unwrap() {
            copy.put_create(&info.name, &from.get(&info.name, info.bytes).unwrap()).unwrap();
        }
        copy
    }

    pub(crate) fn vault(&self) -> Arc<Vault> {
        self.owner(self.store.clone())
    }

    pub(crate) fn owner(&self, store: impl Store + 'static) -> Arc<Vault> {
        Arc::new(Vault::open_owner(Arc::new(store), VAULT, self.root.clone()).unwrap())
    }

    /// A machine as a host enrols it, with keys of its own: what opens its vault.
    pub(crate) fn enrol(&self, name: &str, number: u8) -> MachineKeys {
        let keys = MachineKeys {
            id: MachineId([number; 16]),
            name: name.into(),
            signing: SigningKey::from_seed(Secret::generate()),
            meta: Secret::generate(),
        };
        let public = self.root.key_pair(VAULT, 1).public();
        let record = MachineRecord {
            machine: keys.id,
            name: keys.name.clone(),
            signing: keys.signing.public(),
            sealing: None,
            meta_sealed: Some(MachineRecord::seal_meta(keys.id, public, &keys.meta).unwrap()),
            epoch: 1,
            owner_machine: false,
        };
        self.vault().write_machine(&record).unwrap();
        keys
    }

    /// The vault as an enrolled machine opens it.
    pub(crate) fn enrolled(&self, store: Arc<dyn Store>, keys: &MachineKeys) -> Arc<Vault> {
        let owner = self.vault();
        let config = owner.config();
        let pins =
            Pins { vault: VAULT, vault_public: config.vault_public, maintenance_public: config.maintenance_public };
        let keys = keys.clone();
        Arc::new(Vault::open_machine(store, &pins, self.root.vault_keys(VAULT), keys).unwrap())
    }

    /// The collector's vault: the index key and the maintenance key, nothing else.
    pub(crate) fn keeper(&self, store: impl Store + 'static) -> Vault {
        self.try_keeper(store).unwrap()
    }

    pub(crate) fn try_keeper(&self, store: impl Store + 'static) -> Result<Vault, nightkeep_vault::vault::VaultError> {
        let keys = VaultKeys {
            id: Secret::new([0; 32]),
            chunk: Secret::new([0; 32]),
            index: self.root.vault_keys(VAULT).index,
        };
        Vault::open_keeper(Arc::new(store), VAULT, keys, self.root.maintenance(VAULT))
    }

    pub(crate) fn source(&self, machine: &str) -> PathBuf {
        self.dir.path().join(machine)
    }

    /// Makes a machine's folder hold exactly these files.
    pub(crate) fn write(&mut self, machine: &str, state: &State) {
        let source = self.source(machine);
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source).unwrap();
        for (name, bytes) in state {
            fs::write(source.join(name), bytes).unwrap();
        }
        if !self.states.contains(state) {
            self.states.push(state.clone());
        }
    }

    pub(crate) fn back_up(&self, machine: &str) -> BackupReport {
        back_up(&self.vault(), &self.source(machine), machine, NOW).unwrap()
    }

    pub(crate) fn machine(&self, name: &str) -> MachineId {
        self.root.machine(VAULT, name).id
    }

    /// Forgets a point for good.
    pub(crate) fn forget(&self, machine: &str, sequence: u64) {
        let vault = self.vault();
        let find = || {
            let points = vault.points(self.machine(machine)).unwrap().points;
            points.into_iter().find(|listed| listed.point.header.sequence == sequence).unwrap()
        };
        vault.retain(&find(), Action::Trash, NOW, "test").unwrap();
        vault.retain(&find(), Action::Forget, NOW, "test").unwrap();
    }

    pub(crate) fn collect(&self) -> CollectReport {
        self.collect_at(NOW).unwrap()
    }

    pub(crate) fn collect_at(&self, now: Time) -> Result<CollectReport, CollectError> {
        collect_in(&self.keeper(self.store.clone()), now)
    }

    /// Every visible point that is not flagged restores to a state that was; answers how many there are.
    pub(crate) fn assert_whole(&self, store: &MemoryStore, story: &str) -> usize {
        let vault = self.owner(store.clone());
        let mut sound = 0;
        for machine in vault.machines().unwrap() {
            for listed in vault.points(machine.machine).unwrap().sound() {
                sound += 1;
                let state = restore(&vault, listed, &self.dir.path().join("target"), story);
                let known = self
                    .states
                    .iter()
                    .any(|known| known.iter().map(|(n, b)| ((*n).to_owned(), b.clone())).eq(state.clone()));
                assert!(known, "{story}: {} holds no state that ever was", listed.point.name());
            }
        }
        sound
    }
}

pub(crate) fn back_up(
    vault: &Arc<Vault>,
    source: &Path,
    machine: &str,
    now: Time,
) -> Result<BackupReport, BackupError> {
    let source = SourceOptions {
        machine_root: source.to_path_buf(),
        roots: vec![Vec::new()],
        excludes: Excludes::new(&[]).unwrap(),
        skip: Vec::new(),
        entire_machine: false,
        read_at: Vec::new(),
    };
    let options =
        BackupOptions { executor: Executor::Inline, pack_bytes: 200_000, ..BackupOptions::new(source, machine) };
    backup::run(vault, &options, &At(now), &Silent, &Stop::new())
}

pub(crate) fn collect_in(keeper: &Vault, now: Time) -> Result<CollectReport, CollectError> {
    let options = CollectOptions { workers: 1, ..CollectOptions::new(now) };
    collect::run(keeper, collect::plan(keeper, &options)?, &options)
}

pub(crate) fn restore(
    vault: &Arc<Vault>,
    listed: &ListedPoint,
    target: &Path,
    story: &str,
) -> BTreeMap<String, Vec<u8>> {
    let _ = fs::remove_dir_all(target);
    let options = RestoreOptions { target: target.to_path_buf(), include: Vec::new(), overwrite: false, workers: 1 };
    let restored = restore::run(vault, &listed.point, &options, &Silent, &Stop::new());
    let restored =
        restored.unwrap_or_else(|error| panic!("{story}: {} does not restore: {error}", listed.point.name()));
    assert_eq!(restored.findings, [], "{story}: {}", listed.point.name());
    let files = fs::read_dir(target).unwrap().map(|entry| entry.unwrap());
    files
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

pub(crate) fn packs(store: &MemoryStore) -> usize {
    let store: &dyn Store = store;
    store.list_all("p/").unwrap().len() + store.list_all("m/").unwrap().len()
}

pub(crate) fn state(files: &[(&'static str, Vec<u8>)]) -> State {
    files.iter().cloned().collect()
}
