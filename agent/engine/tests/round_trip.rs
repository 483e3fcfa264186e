//! What is backed up is restored: claims about the engine at its boundary, on real folders.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_engine::backup::{self, BackupError, BackupOptions, BackupReport, Clock, Executor};
use nightkeep_engine::check::{self, CheckOptions, CheckReport};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{FindingKind, Silent, Stop, StopKind};
use nightkeep_engine::restore::{self, RestoreOptions, RestoreReport, RunError};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::{CivilTime, Point};
use nightkeep_vault::store::{MemoryStore, ObjectName, Store};
use nightkeep_vault::vault::Vault;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> CivilTime {
        CivilTime {
            at: Time { seconds: 4_000_000_000, nanoseconds: 0 },
            offset_minutes: 60,
            zone: "Europe/Berlin".into(),
        }
    }
}

struct Bench {
    store: MemoryStore,
    vault: Arc<Vault>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryStore::new();
        let vault = Vault::create(
            Arc::new(store.clone()),
            CustomerRoot::generate(),
            VaultId([5; 16]),
            Custody::Owner,
            Time::default(),
        );
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { store, vault: Arc::new(vault.unwrap()), dir }
    }

    fn source(&self) -> std::path::PathBuf {
        self.dir.path().join("source")
    }

    fn options(&self) -> BackupOptions {
        let source = SourceOptions {
            machine_root: self.source(),
            roots: vec![Vec::new()],
            excludes: Excludes::new(&[]).unwrap(),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        BackupOptions::new(source, "machine")
    }

    fn backup(&self) -> BackupReport {
        backup::run(&self.vault, &self.options(), &FixedClock, &Silent, &Stop::new()).unwrap()
    }

    fn newest(&self) -> Point {
        let machine = self.vault.writer("machine").unwrap().id;
        self.vault.points(machine).unwrap().visible().next_back().unwrap().point.clone()
    }

    fn restore(&self, to: &str, include: &[&[u8]]) -> Result<RestoreReport, RunError> {
        let options = RestoreOptions {
            target: self.dir.path().join(to),
            include: include.iter().map(|path| path.to_vec()).collect(),
            overwrite: false,
            workers: 2,
        };
        restore::run(&self.vault, &self.newest(), &options, &Silent, &Stop::new())
    }

    fn check(&self) -> CheckReport {
        let options = CheckOptions { read_data: true, workers: 2 };
        check::run(&self.vault, options, &Silent, &Stop::new()).unwrap()
    }

    fn names(&self, prefix: &str) -> Vec<ObjectName> {
        let store: &dyn Store = &self.store;
        store.list_all(prefix).unwrap().into_iter().map(|info| info.name).collect()
    }

    fn stored_bytes(&self) -> u64 {
        let store: &dyn Store = &self.store;
        store.list_all("").unwrap().iter().map(|info| info.bytes).sum()
    }
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A tree with one of everything that an ordinary account can make.
fn make_tree(root: &Path) {
    write(&root.join("empty"), b"");
    write(&root.join("inline"), b"short");
    for n in 0..1500u64 {
        write(&root.join(format!("many/{:02}/file-{n}", n % 7)), &noise((n % 90) as usize * 40, n));
    }
    write(&root.join("large"), &noise(9 << 20, 77));
    fs::hard_link(root.join("large"), root.join("many/second name of large")).unwrap();
    symlink("nowhere/at all", root.join("many/link")).unwrap();
    let mut sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(50 << 20)).unwrap();
    sparse.write_all(&noise(300_000, 5)).unwrap();
    sparse.set_len(200 << 20).unwrap();
    fs::set_permissions(root.join("many/03"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(root.join("inline"), fs::Permissions::from_mode(0o4711)).unwrap();
}

/// Compares two trees: names, kinds, contents, modes, owners, times, links, holes.
fn assert_same(a: &Path, b: &Path) {
    let list = |root: &Path| {
        let mut all: Vec<_> =
            walk(root).into_iter().map(|path| path.strip_prefix(root).unwrap().to_path_buf()).collect();
        all.sort();
        all
    };
    assert_eq!(list(a), list(b));
    for path in list(a) {
        let (x, y) = (a.join(&path), b.join(&path));
        let (m, n) = (fs::symlink_metadata(&x).unwrap(), fs::symlink_metadata(&y).unwrap());
        let facts = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), m.nlink());
        assert_eq!(facts(&m), facts(&n), "{}", path.display());
        if m.is_file() {
            assert_eq!(m.len(), n.len(), "{}", path.display());
            assert!(n.blocks() <= m.blocks() + 64, "{} keeps its holes", path.display());
            assert!(fs::read(&x).unwrap() == fs::read(&y).unwrap(), "{}", path.display());
        }
        if m.is_symlink() {
            assert_eq!(fs::read_link(&x).unwrap(), fs::read_link(&y).unwrap());
        }
    }
}

fn walk(root: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![root.to_path_buf()];
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

#[test]
fn what_is_backed_up_is_restored_with_its_metadata() {
    let bench = Bench::new();
    make_tree(&bench.source());
    let report = bench.backup();
    assert_eq!(report.findings, []);
    assert!(report.totals.bytes_read < 13 << 20, "holes are not read, second names not again: {:?}", report.totals);
    let restored = bench.restore("target", &[]).unwrap();
    assert_eq!(restored.findings, []);
    assert_eq!(restored.files, report.totals.files);
    assert_same(&bench.source(), &bench.dir.path().join("target"));
    let checked = bench.check();
    assert_eq!(checked.problems, []);
    assert_eq!(checked.affected, []);
    assert!(checked.packs >= 2 && checked.unlisted_packs == 0);
}

#[test]
fn the_inline_executor_stores_what_the_threads_store() {
    let bench = Bench::new();
    make_tree(&bench.source());
    let options = BackupOptions { executor: Executor::Inline, ..bench.options() };
    let inline = backup::run(&bench.vault, &options, &FixedClock, &Silent, &Stop::new()).unwrap();
    let threads = bench.backup();
    assert_eq!(threads.totals.bytes_new, 0, "all of it is known");
    assert_eq!(inline.totals.bytes, threads.totals.bytes);
    bench.restore("target", &[]).unwrap();
    assert_same(&bench.source(), &bench.dir.path().join("target"));
}

#[test]
fn an_unchanged_source_costs_next_to_nothing_and_reads_nothing() {
    let bench = Bench::new();
    make_tree(&bench.source());
    let first = bench.backup();
    let (before, packs) = (bench.stored_bytes(), bench.names("p/").len() + bench.names("m/").len());
    let second = bench.backup();
    assert_eq!(second.parent, Some(first.point));
    assert_eq!(second.totals.files_unchanged, first.totals.files);
    assert_eq!(second.totals.bytes_read, 0);
    assert_eq!(bench.names("p/").len() + bench.names("m/").len(), packs, "no pack is written");
    assert!(bench.stored_bytes() - before < 16 << 10, "{} bytes", bench.stored_bytes() - before);
    assert_eq!(bench.check().problems, []);
}

#[test]
fn a_change_costs_what_changed() {
    let bench = Bench::new();
    make_tree(&bench.source());
    bench.backup();
    let before = bench.stored_bytes();
    write(&bench.source().join("many/01/new"), &noise(20_000, 999));
    fs::remove_file(bench.source().join("many/02/file-2")).unwrap();
    let second = bench.backup();
    assert_eq!((second.totals.files_new, second.totals.files_changed), (1, 0));
    assert!(bench.stored_bytes() - before < 200 << 10, "{} bytes", bench.stored_bytes() - before);
    bench.restore("target", &[]).unwrap();
    assert_same(&bench.source(), &bench.dir.path().join("target"));
    assert_eq!(bench.check().problems, []);
}

#[test]
fn a_second_machine_with_the_same_data_sends_almost_nothing() {
    let bench = Bench::new();
    make_tree(&bench.source());
    bench.backup();
    let before = bench.stored_bytes();
    let options = BackupOptions { machine_name: "other".into(), ..bench.options() };
    let other = backup::run(&bench.vault, &options, &FixedClock, &Silent, &Stop::new()).unwrap();
    assert_eq!(other.totals.bytes_new, 0);
    let sent = bench.stored_bytes() - before;
    assert!(sent * 100 < other.totals.bytes, "{sent} of {}", other.totals.bytes);
}

#[test]
fn a_part_is_restored_alone_with_the_folders_above_it() {
    let bench = Bench::new();
    make_tree(&bench.source());
    bench.backup();
    let report = bench.restore("target", &[b"many/03"]).unwrap();
    let target = bench.dir.path().join("target");
    assert_eq!(report.files as usize, fs::read_dir(bench.source().join("many/03")).unwrap().count());
    assert_same(&bench.source().join("many/03"), &target.join("many/03"));
    assert!(!target.join("large").exists());
    assert!(matches!(bench.restore("elsewhere", &[b"many/99"]), Err(RunError::NotThere(_))));
}

#[test]
fn a_target_that_holds_something_is_refused_and_untouched() {
    let bench = Bench::new();
    make_tree(&bench.source());
    bench.backup();
    write(&bench.dir.path().join("target/mine"), b"precious");
    assert!(matches!(bench.restore("target", &[]), Err(RunError::NotEmpty(_))));
    assert_eq!(walk(&bench.dir.path().join("target")).len(), 2);
}

#[test]
fn an_interrupted_restore_of_the_same_point_goes_on() {
    let bench = Bench::new();
    make_tree(&bench.source());
    bench.backup();
    bench.restore("target", &[]).unwrap();
    let target = bench.dir.path().join("target");
    write(&target.join(".nightkeep-restore"), bench.newest().id.to_string().as_bytes());
    fs::remove_file(target.join("many/01/file-1")).unwrap();
    write(&target.join("many/01/file-8"), b"torn");
    bench.restore("target", &[]).unwrap();
    assert_same(&bench.source(), &target);
}

#[test]
fn a_stopped_run_leaves_no_point_and_no_pack() {
    let bench = Bench::new();
    make_tree(&bench.source());
    let stop = Stop::new();
    stop.request(StopKind::Discard);
    let stopped = backup::run(&bench.vault, &bench.options(), &FixedClock, &Silent, &stop);
    assert!(matches!(stopped, Err(BackupError::Stopped(StopKind::Discard))));
    assert_eq!(
        (bench.names("s/"), bench.names("p/"), bench.names("m/"), bench.names("i/")),
        (vec![], vec![], vec![], vec![])
    );
}

#[test]
fn a_damaged_pack_is_named_with_the_files_it_touches_and_the_rest_is_restored() {
    let bench = Bench::new();
    make_tree(&bench.source());
    bench.backup();
    let pack = bench.names("p/").into_iter().next().unwrap();
    bench.store.damage(&pack, |bytes| {
        let middle = bytes.len() / 3;
        bytes[middle] ^= 0x40;
    });
    let checked = bench.check();
    assert_eq!(checked.problems.len(), 1, "{:?}", checked.problems);
    assert_eq!(checked.problems[0].object, pack.to_string());
    assert!(!checked.affected.is_empty());
    let restored = bench.restore("target", &[]).unwrap();
    let mut damaged: Vec<Vec<u8>> = restored.findings.iter().map(|finding| finding.path.clone()).collect();
    assert!(restored.findings.iter().all(|finding| finding.kind == FindingKind::Damaged));
    damaged.sort();
    let mut named: Vec<Vec<u8>> = checked.affected.iter().map(|file| file.path.clone()).collect();
    named.sort();
    // A further name of a damaged file is not restored either, but it is no damage of its own.
    damaged.retain(|path| named.contains(path));
    assert!(!damaged.is_empty());
}

#[test]
fn a_lost_pack_is_written_again_by_the_next_run() {
    let bench = Bench::new();
    make_tree(&bench.source());
    bench.backup();
    // The pack and the segments that list it are gone: the index knows nothing any more.
    for name in bench.names("p/").into_iter().chain(bench.names("i/")) {
        bench.store.delete(&name).unwrap();
    }
    bench.backup();
    bench.restore("target", &[]).unwrap();
    assert_same(&bench.source(), &bench.dir.path().join("target"));
}

#[test]
fn excluded_folders_and_other_vaults_are_left_out() {
    let bench = Bench::new();
    make_tree(&bench.source());
    write(&bench.source().join("vault/cfg/1"), b"x");
    write(&bench.source().join("vault/p/00/x"), b"x");
    write(&bench.source().join("cache/x"), b"x");
    let mut options = bench.options();
    options.source.entire_machine = true;
    options.source.excludes = Excludes::new(&["/cache/".to_owned()]).unwrap();
    backup::run(&bench.vault, &options, &FixedClock, &Silent, &Stop::new()).unwrap();
    bench.restore("target", &[]).unwrap();
    assert!(!bench.dir.path().join("target/vault").exists());
    assert!(!bench.dir.path().join("target/cache").exists());
    assert!(bench.dir.path().join("target/large").exists());
}
