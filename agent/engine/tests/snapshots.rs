//! Reading through volume snapshots: what is kept is the snapshot's, under the names of the volume.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::backup::BackupOptions;
use nightkeep_engine::source::{ReadAt, Step, Walk};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Bench, noise, read_all, write};

/// A folder on another device than the tests' own, where there is one, as a snapshot is.
fn elsewhere() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn reading(bench: &Bench, read_at: &[(&str, PathBuf)]) -> BackupOptions {
    let mut options = bench.options();
    let of = |(path, place): &(&str, PathBuf)| ReadAt { path: path.as_bytes().to_vec(), place: place.clone() };
    options.source.read_at = read_at.iter().map(of).collect();
    options.snapshot_method = "btrfs".to_owned();
    options
}

#[test]
fn what_changes_behind_a_snapshot_is_not_in_the_point_and_the_method_is() {
    let (bench, snapshot) = (Bench::new(), elsewhere());
    write(&bench.source().join("srv/a"), b"before");
    write(&bench.source().join("srv/deep/b"), &noise(300_000, 1));
    write(&bench.source().join("etc/c"), b"live");
    copy(&bench.source().join("srv"), &snapshot.path().join("srv"));
    let expected = read_all(&bench.source());
    fs::write(bench.source().join("srv/a"), b"after").unwrap();
    fs::remove_dir_all(bench.source().join("srv/deep")).unwrap();

    let options = reading(&bench, &[("srv", snapshot.path().join("srv"))]);
    let report = bench.run(&options).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(read_all(&bench.restored(&[])), expected);
    assert_eq!(bench.points()[0].header.snapshot_method, "btrfs");
}

#[test]
fn the_whole_machine_is_read_elsewhere_with_what_is_mounted_in_it() {
    let (bench, snapshot) = (Bench::new(), elsewhere());
    write(&bench.source().join("a"), b"of the root");
    write(&bench.source().join("mounted/here/b"), b"of another volume");
    // A snapshot of the outer volume holds but an empty folder there.
    let root = snapshot.path().join("root");
    write(&root.join("a"), b"of the root");
    fs::create_dir_all(root.join("mounted/here")).unwrap();
    let live = bench.source().join("mounted/here");
    let options = reading(&bench, &[("", root), ("mounted/here", live)]);
    bench.run(&options).unwrap();
    assert_eq!(read_all(&bench.restored(&[])), read_all(&bench.source()));
}

#[test]
fn names_of_one_file_stay_names_of_one_file_whatever_device_a_snapshot_has() {
    let (bench, snapshot) = (Bench::new(), elsewhere());
    // Large enough to be looked at again when it is opened.
    write(&bench.source().join("srv/one"), &noise(1_500_000, 2));
    fs::hard_link(bench.source().join("srv/one"), bench.source().join("srv/two")).unwrap();
    symlink("one", bench.source().join("srv/link")).unwrap();
    copy(&bench.source().join("srv"), &snapshot.path().join("srv"));
    let options = reading(&bench, &[("srv", snapshot.path().join("srv"))]);
    let report = bench.run(&options).unwrap();
    assert_eq!(report.findings, []);
    let target = bench.restored(&[]);
    let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
    assert_eq!(inode("srv/one"), inode("srv/two"));

    let mut walk = Walk::new(options.source).unwrap();
    let device = fs::metadata(bench.source()).unwrap().dev();
    while let Some(step) = walk.next_step() {
        let Step::Entry(entry) = step else { panic!("{step:?}") };
        assert_eq!(entry.meta.device, device, "{}", String::from_utf8_lossy(&entry.path));
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_is_a_finding_and_nothing_is_read_in_its_place() {
    let bench = Bench::new();
    write(&bench.source().join("srv/a"), b"live");
    write(&bench.source().join("b"), b"other");
    let options = reading(&bench, &[("srv", bench.dir.path().join("gone"))]);
    let report = bench.run(&options).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].path, b"srv");
    assert_eq!(bench.listed(), [b"".to_vec(), b"b".to_vec(), b"srv".to_vec()]);
}
