//! Volume snapshots on real devices. `cargo xtask test linux` runs these: they need root, btrfs and LVM in the kernel, and the
//! programs of both.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its disk has failed")]

#[path = "support/disk.rs"]
mod disk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disk::{Disk, mounts, output, run};
use nightkeep_platform::volume_snapshot::{
    Method, Policy, SnapshotError, SnapshotOptions, Snapshots, TIME_MAX, WhyLive, prepare, prospects, remove_leftovers,
};

/// Which folder the process that is to die backs up, and where it keeps its ledger.
const DOOMED: &str = "NIGHTKEEP_TEST_DOOMED";

fn take(path: &Path, policy: Policy, state: &Path) -> Result<Snapshots, SnapshotError> {
    prepare(&[path.to_owned()], policy, &SnapshotOptions { state, time_max: TIME_MAX, cancelled: &|| false })
}

/// A snapshot holds what was there and nothing of what came after, and leaves no trace.
fn holds_the_moment(disk: &Disk, method: Method) {
    let state = tempfile::tempdir().unwrap();
    let file = disk.path().join("folder/file");
    fs::create_dir(disk.path().join("folder")).unwrap();
    fs::write(&file, vec![b'a'; 100_000]).unwrap();
    fs::write(disk.path().join("gone soon"), "x").unwrap();
    let before = (mounts().unwrap(), names(disk.path()));

    let snapshots = take(disk.path(), Policy::Required, state.path()).unwrap();
    fs::write(&file, vec![b'b'; 200_000]).unwrap();
    fs::write(disk.path().join("new"), "x").unwrap();
    fs::remove_file(disk.path().join("gone soon")).unwrap();
    assert_eq!(snapshots.method(), method.name());
    assert_eq!(snapshots.volumes().len(), 1, "{snapshots:?}");
    let read_at = snapshots.path_of(disk.path());
    assert_ne!(read_at, disk.path());
    assert_eq!(fs::read(snapshots.path_of(&file)).unwrap(), vec![b'a'; 100_000]);
    assert_eq!(names(&read_at), before.1);
    assert!(fs::write(read_at.join("folder/x"), "x").is_err(), "a snapshot that can be written");

    let mut snapshots = snapshots;
    assert!(snapshots.broken().is_empty());
    snapshots.release().unwrap();
    assert_eq!(mounts().unwrap(), before.0);
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    assert_eq!(fs::read(&file).unwrap(), vec![b'b'; 200_000]);
}

/// What a process that died left is removed by the next, and nothing else.
fn leftovers_go(disk: &Disk, count: impl Fn() -> usize) {
    let state = tempfile::tempdir().unwrap();
    fs::write(disk.path().join("file"), "x").unwrap();
    let before = (mounts().unwrap(), count());
    let mut doomed = Command::new(std::env::current_exe().unwrap());
    doomed.args(["--ignored", "--exact", "a_process_that_dies_with_its_snapshots"]);
    doomed.env(DOOMED, format!("{}:{}", disk.path().display(), state.path().display())).stdout(Stdio::null());
    assert!(!doomed.status().unwrap().success());
    assert_eq!(count(), before.1 + 1, "the dead one left none");

    assert_eq!(remove_leftovers(state.path()).unwrap(), 1);
    assert_eq!((mounts().unwrap(), count()), before);
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    assert_eq!(remove_leftovers(state.path()).unwrap(), 0);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn subvolumes(disk: &Disk) -> usize {
    output("btrfs", &["subvolume", "list", disk.path().to_str().unwrap()]).unwrap().lines().count()
}

fn logical_volumes(disk: &Disk) -> usize {
    output("lvs", &["--noheadings", "-o", "lv_name", disk.group_name()]).unwrap().lines().count()
}

#[test]
#[ignore = "run by the tests below"]
fn a_process_that_dies_with_its_snapshots() {
    let Some(places) = std::env::var_os(DOOMED) else { return };
    let places = places.into_string().unwrap();
    let (path, state) = places.split_once(':').unwrap();
    let snapshots = take(Path::new(path), Policy::Required, Path::new(state)).unwrap();
    assert!(snapshots.any());
    std::process::abort();
}

#[test]
#[ignore = "needs root and btrfs: cargo xtask test linux"]
fn btrfs_holds_the_moment() {
    holds_the_moment(&Disk::btrfs().unwrap(), Method::Btrfs);
}

#[test]
#[ignore = "needs root and btrfs: cargo xtask test linux"]
fn btrfs_leftovers_go_and_other_snapshots_stay() {
    let disk = Disk::btrfs().unwrap();
    let other = disk.path().join(".nightkeep-somebody-else");
    run("btrfs", &["subvolume", "snapshot", "-r", disk.path().to_str().unwrap(), other.to_str().unwrap()]).unwrap();
    leftovers_go(&disk, || subvolumes(&disk));
    assert!(other.exists());
}

#[test]
#[ignore = "needs root and btrfs: cargo xtask test linux"]
fn nested_subvolumes_are_volumes_of_their_own_and_read_only_ones_are_read_where_they_are() {
    let disk = Disk::btrfs().unwrap();
    let state = tempfile::tempdir().unwrap();
    let path = |name: &str| disk.path().join(name);
    let btrfs = |words: &[&str], last: &[PathBuf]| {
        let last: Vec<&str> = last.iter().map(|path| path.to_str().unwrap()).collect();
        run("btrfs", &[&["subvolume"], words, &last].concat()).unwrap();
    };
    btrfs(&["create"], &[path("in a folder")]);
    btrfs(&["create"], &[path("in a folder/deeper")]);
    fs::write(path("in a folder/file"), "before").unwrap();
    fs::write(path("in a folder/deeper/file"), "before").unwrap();
    btrfs(&["snapshot", "-r"], &[path("in a folder"), path("kept")]);

    let snapshots = take(disk.path(), Policy::Required, state.path()).unwrap();
    fs::write(path("in a folder/file"), "after").unwrap();
    fs::write(path("in a folder/deeper/file"), "after").unwrap();
    let places: Vec<_> = snapshots.volumes().iter().map(|volume| volume.place.clone()).collect();
    assert_eq!(
        places,
        ["", "in a folder", "in a folder/deeper", "kept"].map(|name| match name {
            "" => disk.path().to_owned(),
            name => path(name),
        })
    );
    for name in ["in a folder/file", "in a folder/deeper/file", "kept/file"] {
        assert_eq!(fs::read_to_string(snapshots.path_of(&path(name))).unwrap(), "before", "{name}");
    }
    let before = subvolumes(&disk);
    snapshots.release().unwrap();
    assert_eq!(before - subvolumes(&disk), 3, "the read-only one needs none");

    // Of a folder in the innermost only that is asked for.
    let snapshots = take(&path("in a folder/deeper"), Policy::Required, state.path()).unwrap();
    assert_eq!(snapshots.volumes().len(), 1, "{snapshots:?}");
}

#[test]
#[ignore = "needs root and btrfs: cargo xtask test linux"]
fn a_subvolume_that_is_mounted_by_itself_is_snapshotted_once() {
    let disk = Disk::btrfs().unwrap();
    let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run("btrfs", &["subvolume", "create", disk.path().join("home").to_str().unwrap()]).unwrap();
    fs::create_dir(disk.path().join("home/me")).unwrap();
    fs::write(disk.path().join("home/me/file"), "before").unwrap();
    let (from, to) = (disk.path().join("home/me"), elsewhere.path());
    run("mount", &["--bind", from.to_str().unwrap(), to.to_str().unwrap()]).unwrap();
    let paths = [disk.path().to_owned(), to.to_owned()];
    let options = SnapshotOptions { state: state.path(), time_max: TIME_MAX, cancelled: &|| false };
    let snapshots = prepare(&paths, Policy::Required, &options).unwrap();
    fs::write(to.join("file"), "after").unwrap();
    for path in [to.join("file"), disk.path().join("home/me/file")] {
        assert_eq!(fs::read_to_string(snapshots.path_of(&path)).unwrap(), "before", "{}", path.display());
    }
    assert_eq!(subvolumes(&disk), 3, "home, and one snapshot of it and of the top");
    drop(snapshots);
    run("umount", &[to.to_str().unwrap()]).unwrap();
    assert_eq!(subvolumes(&disk), 1);
}

#[test]
#[ignore = "needs root: cargo xtask test linux"]
fn a_plain_partition_is_live_with_its_reason_and_refused_when_required() {
    let disk = Disk::plain("ext4").unwrap();
    let state = tempfile::tempdir().unwrap();
    let snapshots = take(disk.path(), Policy::WhenAvailable, state.path()).unwrap();
    assert_eq!((snapshots.method().as_str(), snapshots.any()), ("live", false));
    let why = snapshots.volumes()[0].why_live.clone();
    assert!(matches!(why, Some(WhyLive::Unavailable { reason, .. }) if reason.contains("ext4 on /dev/loop")));
    let refused = take(disk.path(), Policy::Required, state.path());
    assert!(matches!(refused, Err(SnapshotError::Required { volume, .. }) if volume == disk.path()));
}

#[test]
#[ignore = "needs root and LVM: cargo xtask test linux"]
fn lvm_thick_holds_the_moment_of_ext4_and_xfs() {
    for filesystem in ["ext4", "xfs"] {
        holds_the_moment(&Disk::thick(filesystem, 200).unwrap(), Method::Lvm);
    }
}

#[test]
#[ignore = "needs root and LVM: cargo xtask test linux"]
fn lvm_thin_holds_the_moment_of_ext4_and_xfs() {
    for filesystem in ["ext4", "xfs"] {
        holds_the_moment(&Disk::thin(filesystem).unwrap(), Method::Lvm);
    }
}

#[test]
#[ignore = "needs root and LVM: cargo xtask test linux"]
fn lvm_leftovers_go_and_other_snapshots_stay() {
    for disk in [Disk::thick("ext4", 300).unwrap(), Disk::thin("xfs").unwrap()] {
        let origin = format!("{}/data", disk.group_name());
        let is_thin = logical_volumes(&disk) == 2 && output("lvs", &[&origin]).unwrap().contains("pool");
        let mut arguments = vec!["--yes", "--snapshot", "--monitor", "n", "-n", "nightkeep-somebody-else"];
        if !is_thin {
            arguments.extend(["-L", "50M"]);
        }
        run("lvcreate", &[arguments.as_slice(), &[&origin]].concat()).unwrap();
        leftovers_go(&disk, || logical_volumes(&disk));
        assert!(output("lvs", &[disk.group_name()]).unwrap().contains("nightkeep-somebody-else"));
    }
}

#[test]
#[ignore = "needs root and LVM: cargo xtask test linux"]
fn a_snapshot_that_changes_fill_up_is_noticed() {
    let disk = Disk::thick("ext4", 40).unwrap();
    let state = tempfile::tempdir().unwrap();
    fs::write(disk.path().join("file"), vec![1; 80 << 20]).unwrap();
    let mut snapshots = take(disk.path(), Policy::Required, state.path()).unwrap();
    assert!(snapshots.broken().is_empty());
    fs::write(disk.path().join("file"), vec![2; 80 << 20]).unwrap();
    fs::write(disk.path().join("more"), vec![3; 100 << 20]).unwrap();
    run("sync", &[]).unwrap();
    let broken = snapshots.broken();
    assert!(broken.iter().any(|(place, reason)| place == disk.path() && reason.contains("filled up")), "{broken:?}");
    snapshots.release().unwrap();
    assert_eq!(fs::metadata(disk.path().join("more")).unwrap().len(), 100 << 20);
}

#[test]
#[ignore = "needs root and LVM: cargo xtask test linux"]
fn a_group_without_room_is_told_before_and_nothing_is_made() {
    let disk = Disk::thick("ext4", 8).unwrap();
    let state = tempfile::tempdir().unwrap();
    let snapshots = take(disk.path(), Policy::WhenAvailable, state.path()).unwrap();
    let why = snapshots.volumes()[0].why_live.clone();
    assert!(matches!(&why, Some(WhyLive::Unavailable { reason, .. }) if reason.contains("free")), "{why:?}");
    let told = prospects().into_iter().find(|prospect| prospect.place == disk.path()).unwrap();
    assert_eq!(told.outcome, Err(why.unwrap()));
    assert_eq!(logical_volumes(&disk), 2);
}
