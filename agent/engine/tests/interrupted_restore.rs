//! A restore that was interrupted goes on: what is right stays, what is torn is written again.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::progress::{Progress, Silent, Stop, StopKind};
use nightkeep_engine::restore::{self, RestoreOptions, RestoreReport, RunError};
use nightkeep_vault::store::{CountedStore, Store};
use nightkeep_vault::vault::Vault;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use support::{Bench, StopAt, noise, read_all, write};

fn source() -> Bench {
    let bench = Bench::new();
    for n in 0..400u64 {
        write(&bench.source().join(format!("folder-{:02}/file-{n}", n % 20)), &noise(30_000, n));
    }
    write(&bench.source().join("large"), &noise(24 << 20, 99));
    let mut sparse = fs::File::create(bench.source().join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(9 << 20)).unwrap();
    sparse.write_all(&noise(700_000, 5)).unwrap();
    sparse.set_len(20 << 20).unwrap();
    fs::hard_link(bench.source().join("large"), bench.source().join("second name")).unwrap();
    bench.run(&bench.options()).unwrap();
    bench
}

fn restore(bench: &Bench, vault: &Arc<Vault>, progress: &dyn Progress, stop: &Stop) -> Result<RestoreReport, RunError> {
    let target = bench.dir.path().join("target");
    let options = RestoreOptions { target, include: Vec::new(), overwrite: false, workers: 2 };
    restore::run(vault, &bench.points().pop().unwrap(), &options, progress, stop)
}

fn assert_same(bench: &Bench) {
    let (source, target) = (bench.source(), bench.dir.path().join("target"));
    let (right, restored) = (read_all(&source), read_all(&target));
    assert_eq!(right.keys().collect::<Vec<_>>(), restored.keys().collect::<Vec<_>>());
    for (path, bytes) in &right {
        let name = String::from_utf8_lossy(path).into_owned();
        assert!(restored[path] == *bytes, "{name}");
        let facts = |root: &Path| {
            let meta = fs::metadata(root.join(&name)).unwrap();
            (meta.mode(), meta.mtime(), meta.mtime_nsec(), meta.nlink())
        };
        assert_eq!(facts(&source), facts(&target), "{name}");
    }
    assert!(!target.join(".nightkeep-restore").exists());
}

#[test]
fn scenario_29_an_interrupted_restore_goes_on_where_it_was_stopped() {
    let bench = source();
    let mut stopped = 0;
    for bytes in [1, 200_000, 2 << 20, 9 << 20] {
        let at = StopAt::new(bytes, StopKind::Interrupt);
        match restore(&bench, &bench.vault, &at, &at.stop) {
            // Everything was on its way already when the stop came.
            Ok(_) => {}
            Err(RunError::Stopped(_)) => {
                stopped += 1;
                assert!(bench.dir.path().join("target/.nightkeep-restore").exists(), "it is marked as unfinished");
                let report = restore(&bench, &bench.vault, &Silent, &Stop::new()).unwrap();
                assert_eq!(report.findings, []);
            }
            Err(error) => panic!("{error}"),
        }
        assert_same(&bench);
        fs::remove_dir_all(bench.dir.path().join("target")).unwrap();
    }
    assert!(stopped > 0, "no restore was interrupted, so nothing was shown");
}

#[test]
fn scenario_29_blocks_that_are_right_are_not_fetched_again_and_torn_ones_are() {
    let bench = source();
    restore(&bench, &bench.vault, &Silent, &Stop::new()).unwrap();
    let target = bench.dir.path().join("target");
    let unfinished = || {
        let id = bench.points().pop().unwrap().id.to_string();
        fs::write(target.join(".nightkeep-restore"), id).unwrap();
    };
    unfinished();
    // Torn in the middle, cut short, written where a hole belongs, gone: what a crash and somebody else leave.
    let edit = |name: &str, offset: u64, bytes: &[u8]| {
        let mut file = fs::OpenOptions::new().write(true).open(target.join(name)).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    };
    // The second name goes too: a file with several names is made again, as another may be outside the target.
    fs::remove_file(target.join("second name")).unwrap();
    edit("large", 12 << 20, b"torn");
    edit("sparse", 1 << 20, b"no hole any more");
    fs::OpenOptions::new().write(true).open(target.join("folder-03/file-3")).unwrap().set_len(100).unwrap();
    fs::remove_file(target.join("folder-04/file-4")).unwrap();

    let (counted, counts) = CountedStore::new(Arc::new(bench.store.clone()));
    let root = bench.vault.root().unwrap().clone();
    let vault = Arc::new(Vault::open_owner(counted, bench.vault.id(), root).unwrap());
    restore(&bench, &vault, &Silent, &Stop::new()).unwrap();
    assert_same(&bench);
    let store: &dyn Store = &bench.store;
    let all: u64 = store.list_all("p/").unwrap().iter().map(|info| info.bytes).sum();
    let fetched = counts.now().bytes_in;
    assert!(fetched * 3 < all, "{fetched} of {all} bytes were fetched for four files");
}
