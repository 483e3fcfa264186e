//! A machine writes what it cannot read; for a restore it is given the keys of the wished points, and no more.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_engine::backup::{self, BackupOptions, Clock};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::{SealingKeyPair, Secret, SigningKey};
use nightkeep_vault::id::{MachineId, VaultId};
use nightkeep_vault::keys::{CustomerRoot, MachineKeys};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::record::point::{CivilTime, Point};
use nightkeep_vault::release::{self, ReleasedKeys};
use nightkeep_vault::store::MemoryStore;
use nightkeep_vault::vault::{Pins, Vault};
use nightkeep_vault::verify::verify_segments;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VAULT: VaultId = VaultId([8; 16]);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> CivilTime {
        CivilTime { at: Time { seconds: 4_000_000_000, nanoseconds: 0 }, offset_minutes: 0, zone: "UTC".into() }
    }
}

struct Customer {
    store: MemoryStore,
    root: CustomerRoot,
    owner: Arc<Vault>,
    dir: tempfile::TempDir,
}

struct Machine {
    keys: MachineKeys,
    pair: SealingKeyPair,
}

impl Customer {
    fn new() -> Self {
        let (store, root) = (MemoryStore::new(), CustomerRoot::generate());
        let owner = Vault::create(Arc::new(store.clone()), root.clone(), VAULT, Custody::Managed, Time::default());
        Self { store, root, owner: Arc::new(owner.unwrap()), dir: tempfile::tempdir().unwrap() }
    }

    fn enrol(&self, number: u8) -> Machine {
        let (id, name) = (MachineId([number; 16]), format!("pc-{number}"));
        let (signing, meta) = (SigningKey::from_seed(Secret::generate()), Secret::generate());
        let (keys, pair) = (MachineKeys { id, name, signing, meta }, SealingKeyPair::derive(&Secret::generate()));
        let record = MachineRecord {
            machine: id,
            name: keys.name.clone(),
            signing: keys.signing.public(),
            sealing: Some(pair.public()),
            meta_sealed: Some(MachineRecord::seal_meta(id, self.root.key_pair(VAULT, 1).public(), &keys.meta).unwrap()),
            epoch: 1,
            owner_machine: false,
        };
        self.owner.write_machine(&record).unwrap();
        Machine { keys, pair }
    }

    fn open(&self, machine: &Machine) -> Vault {
        let config = self.owner.config();
        let (vault_public, maintenance_public) = (config.vault_public, config.maintenance_public);
        let pins = Pins { vault: VAULT, vault_public, maintenance_public };
        let keys = self.root.vault_keys(VAULT);
        Vault::open_machine(Arc::new(self.store.clone()), &pins, keys, machine.keys.clone()).unwrap()
    }

    /// Backs up a folder with one large file of this content, as the machine.
    fn back_up(&self, machine: &Machine, name: &str, content: &[u8]) -> Point {
        let source = self.dir.path().join(name);
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join(name), content).unwrap();
        let source = SourceOptions {
            machine_root: source,
            roots: vec![Vec::new()],
            excludes: Excludes::new(&[]).unwrap(),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        let options = BackupOptions::new(source, "");
        backup::run(&Arc::new(self.open(machine)), &options, &FixedClock, &Silent, &Stop::new()).unwrap();
        let points = self.owner.points(machine.keys.id).unwrap();
        points.points.last().unwrap().point.clone()
    }

    /// Restores with what this machine and the release hold; whether the file came back with this content, or why not.
    fn restores(
        &self,
        machine: &Machine,
        released: ReleasedKeys,
        point: &Point,
        (name, content): (&str, &[u8]),
    ) -> Result<(), String> {
        let target: PathBuf = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let vault = Arc::new(self.open(machine).with_release(released));
        let options = restore_options(&target);
        let report = restore::run(&vault, point, &options, &Silent, &Stop::new()).map_err(|error| error.to_string())?;
        match fs::read(target.join(name)) {
            Ok(read) if read == content => Ok(()),
            Ok(_) | Err(_) => Err(format!("{:?}", report.findings)),
        }
    }
}

fn restore_options(target: &Path) -> RestoreOptions {
    RestoreOptions { target: target.to_path_buf(), include: Vec::new(), overwrite: false, workers: 1 }
}

fn noise(seed: u64) -> Vec<u8> {
    let mut out = vec![0; 300_000];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

#[test]
fn a_machine_restores_the_points_whose_keys_it_was_given_and_no_other() {
    let customer = Customer::new();
    let machine = customer.enrol(1);
    let (wished, other) = (customer.back_up(&machine, "one", &noise(1)), customer.back_up(&machine, "two", &noise(2)));
    let none = ReleasedKeys::default();
    let read = customer.restores(&machine, none, &wished, ("one", &noise(1)));
    assert!(read.is_err(), "a machine reads no data by itself");

    let (id, to) = (machine.keys.id, machine.pair.public());
    let sealed = release::grant(&customer.owner, std::slice::from_ref(&wished), id, to).unwrap();
    let released = ReleasedKeys::open(&machine.pair, VAULT, id, &sealed).unwrap();
    assert_eq!(released.groups(), 1, "the key of one pack");
    assert_eq!(customer.restores(&machine, released.clone(), &wished, ("one", &noise(1))), Ok(()));
    let read = customer.restores(&machine, released, &other, ("two", &noise(2)));
    assert!(read.is_err(), "a point that was not released");
}

#[test]
fn another_machine_restores_a_lost_machines_point_with_its_release() {
    let customer = Customer::new();
    let (lost, spare) = (customer.enrol(1), customer.enrol(2));
    let point = customer.back_up(&lost, "one", &noise(1));
    // Where another machine's chunks lie is believed once the host has read them back.
    verify_segments(&customer.owner, &|| false).unwrap();
    let (id, to) = (spare.keys.id, spare.pair.public());
    let sealed = release::grant(&customer.owner, std::slice::from_ref(&point), id, to).unwrap();
    assert!(ReleasedKeys::open(&lost.pair, VAULT, id, &sealed).is_err(), "sealed to the spare machine alone");
    let released = ReleasedKeys::open(&spare.pair, VAULT, id, &sealed).unwrap();
    assert_eq!(customer.restores(&spare, released, &point, ("one", &noise(1))), Ok(()));
}
