//! What a machine keeps of a vault saves requests and never changes an answer: claims at the boundary of the store.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its vault has failed")]

use nightkeep_vault::codec::Time;
use nightkeep_vault::id::{BlobId, MachineId, VaultId};
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::pack::{Area, BlockType, Codec, GroupKey, Member, PackWriter, PreparedBlock};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::generation::Generation;
use nightkeep_vault::record::point::{BackupSet, CivilTime, PointBody, PointHeader, Totals};
use nightkeep_vault::record::retention::Action;
use nightkeep_vault::session::Session;
use nightkeep_vault::store::{CountedStore, Counts, MemoryStore, Requests, Store};
use nightkeep_vault::vault::{Local, Vault, VaultError};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const VAULT: VaultId = VaultId([4; 16]);

struct Place {
    store: MemoryStore,
    root: CustomerRoot,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let (store, root) = (MemoryStore::new(), CustomerRoot::generate());
        Vault::create(Arc::new(store.clone()), root.clone(), VAULT, Custody::Owner, Time::default()).unwrap();
        Self { store, root, dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self, local: Local) -> (Arc<Vault>, Arc<Counts>) {
        let (store, counts) = CountedStore::new(Arc::new(self.store.clone()));
        let vault = Vault::open_owner(store, VAULT, self.root.clone()).unwrap().with_local(local);
        (Arc::new(vault), counts)
    }

    fn cached(&self) -> (Arc<Vault>, Arc<Counts>) {
        self.open(Local::in_dir(self.dir.path()))
    }

    /// Another computer: no cache, one request at a time.
    fn elsewhere(&self) -> Arc<Vault> {
        self.open(Local::default()).0
    }
}

fn chunk(n: u32) -> BlobId {
    BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// A run of a machine that writes one chunk and a point.
fn run(vault: &Arc<Vault>, machine: &str, n: u32) {
    let session = Session::open(vault.clone(), vault.writer(machine).unwrap(), Time::default()).unwrap();
    let (epoch, public) = vault.sealing_key();
    let mut writer = PackWriter::new(VAULT, vec![GroupKey::for_data(VAULT, public, epoch).unwrap()], 0);
    let block = PreparedBlock {
        block_type: BlockType::Chunk,
        codec: Codec::Stored,
        payload: n.to_le_bytes().to_vec(),
        plain_bytes: 4,
        members: vec![Member { id: chunk(n), bytes: 4 }],
    };
    writer.append(0, block);
    session.put_pack(Area::Data, &writer.finish(&vault.keys().index)).unwrap();
    session.commit(header(session.machine().id, machine), &PointBody::default(), Time::default()).unwrap();
}

fn header(machine: MachineId, name: &str) -> PointHeader {
    PointHeader {
        machine,
        sequence: 0,
        previous: [0; 32],
        session: nightkeep_vault::id::SessionId([0; 16]),
        base: 0,
        plan: None,
        plan_name: String::new(),
        set: BackupSet::None,
        occurrence: None,
        started: CivilTime::default(),
        finished: CivilTime::default(),
        totals: Totals::default(),
        references: BlobId([0; 32]),
        meta_packs: Vec::new(),
        machine_name: name.into(),
        agent_version: String::new(),
        bootable: false,
        snapshot_method: String::new(),
        meta_epoch: 1,
        complete: true,
        source: [0; 16],
    }
}

fn machine(vault: &Vault, name: &str) -> MachineId {
    nightkeep_vault::keys::machine_id_of_name(vault.keys(), name)
}

/// The points of a machine as text: what must not depend on what is kept.
fn points(vault: &Vault, name: &str) -> Vec<String> {
    let points = vault.points(machine(vault, name)).unwrap();
    assert_eq!(points.problems.len(), 0);
    points.points.iter().map(|listed| format!("{} {:?}", listed.point.id, listed.retained)).collect()
}

fn knows(vault: &Vault, name: &str, n: u32) -> bool {
    let index = vault.load_index(&Generation::default(), Some(machine(vault, name))).unwrap();
    index.chunk(&chunk(n)).unwrap().is_some()
}

fn requests(counts: &Counts, work: impl FnOnce()) -> Requests {
    let before = counts.now();
    work();
    counts.now().since(&before)
}

#[test]
fn what_is_known_is_not_read_again() {
    let place = Place::new();
    let (vault, counts) = place.cached();
    (0..5).for_each(|n| run(&vault, "pc", n));
    // What this machine wrote itself it never reads back.
    let first = requests(&counts, || assert!((0..5).all(|n| knows(&vault, "pc", n))));
    assert_eq!(first.gets, 0, "{first}");
    let listed = requests(&counts, || assert_eq!(points(&vault, "pc").len(), 5));
    assert_eq!((listed.gets, listed.lists), (0, 3), "points, records, and whether anything was collected: {listed}");

    run(&place.elsewhere(), "pc", 9);
    let (vault, counts) = place.cached();
    let index = requests(&counts, || assert!(knows(&vault, "pc", 9) && knows(&vault, "pc", 0)));
    assert_eq!(index.gets, 2, "the machine's record and the one segment written elsewhere: {index}");
    let listed = requests(&counts, || assert_eq!(points(&vault, "pc").len(), 6));
    assert_eq!(listed.gets, 1, "the one point written elsewhere");
    vault.machines().unwrap();

    let (vault, counts) = place.cached();
    let again = requests(&counts, || {
        vault.machines().unwrap();
        assert!((0..5).chain([9]).all(|n| knows(&vault, "pc", n)));
        points(&vault, "pc");
        vault.chain_head(machine(&vault, "pc")).unwrap();
    });
    assert_eq!(again.gets, 0, "{again}");
}

#[test]
fn all_machines_are_listed_from_one_listing() {
    let place = Place::new();
    let writer = place.elsewhere();
    (0..6).for_each(|n| run(&writer, &format!("pc-{}", n % 3), n));
    let (vault, counts) = place.cached();
    let mut seen = Vec::new();
    let read = requests(&counts, || {
        let machines = vault.machines().unwrap();
        vault
            .points_of(&machines, &mut |record, points| seen.push((record.name.clone(), points.points.len())))
            .unwrap();
    });
    seen.sort();
    assert_eq!(seen, [("pc-0".into(), 2), ("pc-1".into(), 2), ("pc-2".into(), 2)]);
    assert_eq!((read.lists, read.gets), (4, 3 + 6), "{read}");
    let again = requests(&counts, || vault.points_of(&vault.machines().unwrap(), &mut |_, _| {}).unwrap());
    assert_eq!((again.lists, again.gets), (4, 0), "{again}");
}

#[test]
fn what_is_kept_never_changes_an_answer() {
    let place = Place::new();
    let (vault, _) = place.cached();
    (0..4).for_each(|n| run(&vault, "pc", n));
    let second = vault.points(machine(&vault, "pc")).unwrap().points.swap_remove(1);
    place.elsewhere().retain(&second, Action::Trash, Time::default(), "test").unwrap();
    assert_eq!(points(&vault, "pc"), points(&place.elsewhere(), "pc"), "a record written elsewhere");
    place.store.delete(second.point.name()).unwrap();
    assert_eq!(points(&vault, "pc"), points(&place.elsewhere(), "pc"), "a point that was collected");
    assert_eq!(points(&vault, "pc").len(), 3);
    for file in files(place.dir.path()) {
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&file, bytes).unwrap();
            let (vault, _) = place.cached();
            assert_eq!(points(&vault, "pc"), points(&place.elsewhere(), "pc"), "byte {at} of {}", file.display());
        }
    }
    let head = |vault: &Vault| vault.chain_head(machine(vault, "pc")).unwrap();
    assert_eq!(head(&place.cached().0), head(&place.elsewhere()));
}

#[test]
fn a_replaced_segment_and_a_tombstoned_pack_are_forgotten_by_the_cache() {
    let place = Place::new();
    let (vault, _) = place.cached();
    (0..2).for_each(|n| run(&vault, "pc", n));
    assert!(knows(&vault, "pc", 0) && knows(&vault, "pc", 1));
    let segments = place.elsewhere().segments(&Generation::default(), None).unwrap().segments;
    let of = |n: u32| {
        segments.iter().find(|s| s.packs.iter().any(|p| p.footer.blocks[0].members[0].id == chunk(n))).unwrap()
    };
    let reader = Some(machine(&vault, "pc"));
    let tombstoned = Generation { number: 1, tombstones: vec![of(0).packs[0].id], ..Generation::default() };
    let index = vault.load_index(&tombstoned, reader).unwrap();
    assert_eq!(index.chunk(&chunk(0)).unwrap(), None, "a writer must send it again");
    assert!(index.chunk(&chunk(1)).unwrap().is_some());
    drop(index);
    let index = vault.load_index(&tombstoned, None).unwrap();
    assert!(index.chunk(&chunk(0)).unwrap().is_some(), "a reader reads it until it is gone");
    let replaced =
        Generation { number: 2, replaced_segments: vec![of(1).name(0).to_string()], ..Generation::default() };
    let index = vault.load_index(&replaced, reader).unwrap();
    assert_eq!(index.chunk(&chunk(1)).unwrap(), None);
    assert!(index.chunk(&chunk(0)).unwrap().is_some());
}

#[test]
fn scenario_19_a_state_directory_that_takes_nothing_costs_time_alone() {
    let place = Place::new();
    let blocked = place.dir.path().join("file");
    fs::write(&blocked, b"no folder").unwrap();
    let (vault, _) = place.open(Local::in_dir(&blocked));
    (0..3).for_each(|n| run(&vault, "pc", n));
    assert!((0..3).all(|n| knows(&vault, "pc", n)));
    assert_eq!(points(&vault, "pc"), points(&place.elsewhere(), "pc"));
}

#[test]
fn many_requests_in_flight_give_what_one_at_a_time_gives() {
    let place = Place::new();
    let writer = place.elsewhere();
    (0..40).for_each(|n| run(&writer, "pc", n));
    let (eager, _) = place.open(Local { cache: None, requests: 16 });
    assert_eq!(points(&eager, "pc"), points(&place.elsewhere(), "pc"));
    assert!((0..40).all(|n| knows(&eager, "pc", n)));
    place.store.damage(&nightkeep_vault::record::point::name_of(machine(&eager, "pc"), 3), |bytes| bytes[90] ^= 1);
    let found = eager.points(machine(&eager, "pc")).unwrap();
    assert_eq!((found.points.len(), found.problems.len()), (39, 1));
    assert!(matches!(found.problems[0].error, VaultError::Object { .. }));
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| path.parent().is_some_and(|parent| parent.ends_with("objects")));
    found
}
