//! Faults of the source and of the machine: flagged, survived, and never passed on into the vault.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::backup::{BackupError, BackupOptions, Executor, Faults, MEMORY_ERRORS_MAX};
use nightkeep_engine::progress::{FindingKind, Progress, Stop};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Bench, noise, read_all, write};

/// Flips a bit of the n-th blocks that pass between naming and sealing.
#[derive(Debug)]
struct BadMemory {
    blocks: AtomicU32,
    bad: fn(u32) -> bool,
}

impl Faults for BadMemory {
    fn memory(&self, plain: &mut [u8]) {
        if (self.bad)(self.blocks.fetch_add(1, Ordering::Relaxed)) {
            let middle = plain.len() / 2;
            plain[middle] ^= 4;
        }
    }
}

fn with_memory(bench: &Bench, bad: fn(u32) -> bool) -> BackupOptions {
    BackupOptions { faults: Some(Arc::new(BadMemory { blocks: AtomicU32::new(0), bad })), ..bench.options() }
}

#[test]
fn scenario_16_a_bit_that_flips_in_memory_is_found_and_read_again_from_the_source() {
    let bench = Bench::new();
    for n in 0..40u64 {
        write(&bench.source().join(format!("{n}")), &noise(30_000 + 20_000 * n as usize, n));
    }
    // One block of the first attempt, of those that are compressed and of those that are stored.
    let report = bench.run(&with_memory(&bench, |block| block == 25)).unwrap();
    assert_eq!(report.memory_errors, 1);
    assert!(report.totals.bytes_read < report.totals.bytes, "what was confirmed is not read again: {report:?}");
    bench.assert_restores_the_source();
}

#[test]
fn scenario_16_memory_that_goes_on_flipping_bits_stops_the_backup_as_suspect() {
    let bench = Bench::new();
    write(&bench.source().join("a"), &noise(500_000, 1));
    write(&bench.source().join("b"), "text\n".repeat(30_000).as_bytes());
    for executor in [Executor::Inline, Executor::Threads { workers: 2, uploads: 1 }] {
        let options = BackupOptions { executor, ..with_memory(&bench, |_| true) };
        let error = bench.run(&options).unwrap_err();
        assert!(matches!(error, BackupError::Hardware(_)), "{error}");
        assert!(error.to_string().contains("hardware suspect"));
    }
    assert_eq!(bench.points().len(), 0);
    assert_eq!(MEMORY_ERRORS_MAX, 2);
    bench.run(&bench.options()).unwrap();
    bench.assert_restores_the_source();
}

/// A disk with a bad sector, and a file that may be listed but not read.
#[derive(Debug)]
struct BadDisk;

impl Faults for BadDisk {
    fn read(&self, path: &[u8], offset: u64) -> io::Result<()> {
        match path {
            b"bad-sector" if offset > 1 << 20 => Err(io::Error::from_raw_os_error(5)),
            b"denied" => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        }
    }
}

/// Changes the source when the run comes to a certain place.
struct Meddler {
    source: PathBuf,
    times: AtomicU32,
}

impl Progress for Meddler {
    fn advance(&self, _files: u64, bytes: u64) {
        // The first advance is behind the first chunk of `changing`, which was opened by then.
        if bytes > 0 && self.times.fetch_add(1, Ordering::Relaxed) == 0 {
            let mut file = OpenOptions::new().append(true).open(self.source.join("changing")).unwrap();
            file.write_all(b"more").unwrap();
            fs::remove_file(self.source.join("vanishing")).unwrap();
            OpenOptions::new().write(true).open(self.source.join("truncated")).unwrap().set_len(5).unwrap();
            OpenOptions::new().append(true).open(self.source.join("grown")).unwrap().write_all(b"more").unwrap();
            // As long as before, with the time of before, and for fewer to read.
            let replaced = self.source.join("replaced");
            let modified = fs::metadata(&replaced).unwrap().modified().unwrap();
            fs::rename(self.source.join("spare"), &replaced).unwrap();
            File::open(&replaced).unwrap().set_modified(modified).unwrap();
            fs::set_permissions(&replaced, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn scenario_22_a_source_that_changes_vanishes_or_cannot_be_read_is_flagged_and_the_rest_is_exact() {
    let bench = Bench::new();
    write(&bench.source().join("bad-sector"), &noise(12 << 20, 1));
    write(&bench.source().join("changing"), &noise(20 << 20, 2));
    write(&bench.source().join("denied"), &noise(3000, 3));
    write(&bench.source().join("truncated"), &noise(300_000, 4));
    write(&bench.source().join("vanishing"), &noise(3000, 5));
    for (name, seed) in [("grown", 6), ("replaced", 7), ("spare", 8)] {
        write(&bench.source().join(name), &noise(3000, seed));
    }
    for n in 0..50u64 {
        write(&bench.source().join(format!("sound/{n}")), &noise(7_000 * n as usize, 100 + n));
    }
    let options = BackupOptions { faults: Some(Arc::new(BadDisk)), ..bench.options() };
    let meddler = Meddler { source: bench.source(), times: AtomicU32::new(0) };
    // `bad-sector` comes first and advances before it fails; meddle only from `changing` on.
    meddler.times.store(u32::MAX - 12, Ordering::Relaxed);
    let report = bench.run_with(&options, &meddler, &Stop::new()).unwrap();
    let found: BTreeMap<&[u8], FindingKind> =
        report.findings.iter().map(|finding| (finding.path.as_slice(), finding.kind)).collect();
    assert_eq!(found.get(b"bad-sector".as_slice()), Some(&FindingKind::Unreadable), "{found:?}");
    assert_eq!(found.get(b"denied".as_slice()), Some(&FindingKind::Unreadable));
    assert_eq!(found.get(b"vanishing".as_slice()), Some(&FindingKind::Vanished));
    assert_eq!(found.get(b"changing".as_slice()), Some(&FindingKind::Changed));
    assert_eq!(found.get(b"spare".as_slice()), Some(&FindingKind::Vanished));
    assert_eq!(found.len(), 5, "what is merely not what was listed is read as it is: {found:?}");
    let target = bench.restored(&[]);
    assert_eq!(fs::metadata(target.join("replaced")).unwrap().mode() & 0o777, 0o600, "what was read, and its mode");
    let restored = read_all(&target);
    for (path, bytes) in read_all(&bench.source()) {
        if !found.contains_key(path.as_slice()) {
            assert!(restored[&path] == bytes, "{}", String::from_utf8_lossy(&path));
        }
    }
    assert!(!restored.contains_key(b"bad-sector".as_slice()), "half a file would pass for a whole one");
}

#[test]
fn scenario_24_crowded_folders_deep_paths_and_names_in_no_alphabet_are_backed_up() {
    let bench = Bench::new();
    let (crowded, odd) = (bench.source().join("crowded"), bench.source().join("odd"));
    fs::create_dir_all(&crowded).unwrap();
    for n in 0..60_000 {
        fs::File::create(crowded.join(format!("{n:06}"))).unwrap();
    }
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(std::ffi::OsStr::from_bytes(b"\xff\xfe\n\t\"name")), b"kept").unwrap();
    let made = Command::new("mkfifo").arg(odd.join("pipe")).status().unwrap();
    assert!(made.success());
    let device = Command::new("mknod").arg(odd.join("device")).args(["c", "1", "3"]).output().unwrap();
    // Longer than any path a system call takes: made, and read back, folder by folder.
    let script = "cd \"$1\"; n=0; while [ $n -lt 24 ]; do mkdir -p \"$2\"; cd -P \"$2\"; n=$((n+1)); done";
    let deep = |then: &str, at: &PathBuf| {
        let script = format!("{script}; {then}");
        Command::new("bash").args(["-c", &script, "bash"]).arg(at).arg("d".repeat(200)).output().unwrap()
    };
    assert!(deep("echo deep > bottom", &odd).status.success());

    let options = BackupOptions { executor: Executor::default(), ..bench.options() };
    let report = bench.run(&options).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.totals.files, 60_002);
    assert_eq!(report.totals.others, 1 + u64::from(device.status.success()));
    let again = bench.run(&options).unwrap();
    assert_eq!(again.totals.files_unchanged, 60_002);
    let paths: Vec<usize> = bench.listed().iter().map(Vec::len).collect();
    assert!(paths.iter().any(|length| *length > 4096 + 200), "the deepest path is {:?} bytes", paths.iter().max());
    let name: &[u8] = b"odd/\xff\xfe\n\t\"name";
    let target = bench.restored(&[name, b"odd/pipe", b"crowded/030000"]);
    assert_eq!(fs::read(target.join("odd").join(std::ffi::OsStr::from_bytes(b"\xff\xfe\n\t\"name"))).unwrap(), b"kept");
    assert!(target.join("odd/pipe").symlink_metadata().unwrap().file_type().is_fifo());
}
