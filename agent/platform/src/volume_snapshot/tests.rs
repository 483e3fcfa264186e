#![expect(clippy::unwrap_used, reason = "a test whose snapshots are refused has failed")]

use super::{Held, Method, Policy, SnapshotError, Snapshots, Taken, Volume, WhyLive, judge};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default, Clone)]
struct Counted(Arc<AtomicUsize>);

impl Held for Counted {
    fn release(&mut self) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn snapshot(place: &str, read_at: &str, method: Method) -> Volume {
    let (place, read_at) = (PathBuf::from(place), PathBuf::from(read_at));
    Volume { place, read_at, method, why_live: None, warnings: Vec::new() }
}

fn failed() -> WhyLive {
    WhyLive::Failed { reason: "no room for changes".to_owned(), remedy: "free 1 GB on it".to_owned() }
}

fn taken(volumes: Vec<Volume>, held: &Counted) -> Taken {
    Taken { volumes, held: Some(Box::new(held.clone())) }
}

#[test]
fn a_path_is_read_in_the_innermost_volume_that_holds_it() {
    let volumes = vec![
        snapshot("/", "/run/snap/root", Method::Lvm),
        snapshot("/srv", "/run/snap/srv", Method::Btrfs),
        Volume::live(PathBuf::from("/srv/nfs"), WhyLive::NotOurs),
    ];
    let snapshots = Snapshots { volumes, held: None };
    let check = |original: &str, expected: &str| {
        assert_eq!(snapshots.path_of(Path::new(original)), Path::new(expected), "{original}");
    };
    check("/", "/run/snap/root");
    check("/etc/fstab", "/run/snap/root/etc/fstab");
    check("/srv", "/run/snap/srv");
    check("/srv/a", "/run/snap/srv/a");
    check("/srvices", "/run/snap/root/srvices");
    check("/srv/nfs/a", "/srv/nfs/a");
    assert_eq!(snapshots.method(), "btrfs+lvm");
    assert!(snapshots.any());
}

#[test]
fn a_required_snapshot_that_is_missing_names_the_volume_and_leaves_nothing_behind() {
    let held = Counted::default();
    let volumes = || vec![snapshot("/", "/run/snap", Method::Lvm), Volume::live(PathBuf::from("/srv"), failed())];
    let error = judge(taken(volumes(), &held), Policy::Required).unwrap_err();
    assert!(matches!(&error, SnapshotError::Required { volume, .. } if volume == Path::new("/srv")));
    let words = error.to_string();
    assert!(words.contains("/srv") && words.contains("no room") && words.contains("free 1 GB"), "{words}");
    assert_eq!(held.0.load(Ordering::Relaxed), 1);

    let snapshots = judge(taken(volumes(), &held), Policy::WhenAvailable).unwrap();
    assert_eq!(snapshots.method(), "lvm+live");
    snapshots.release().unwrap();
    assert_eq!(held.0.load(Ordering::Relaxed), 2);
}

#[test]
fn what_is_not_of_this_machine_is_not_required() {
    let held = Counted::default();
    let volumes = vec![snapshot("/", "/run/snap", Method::Lvm), Volume::live(PathBuf::from("/proc"), WhyLive::NotOurs)];
    let snapshots = judge(taken(volumes, &held), Policy::Required).unwrap();
    assert_eq!(snapshots.method(), "lvm");
    drop(snapshots);
    assert_eq!(held.0.load(Ordering::Relaxed), 1);
}

#[test]
fn without_a_snapshot_the_method_is_live() {
    assert_eq!(Snapshots { volumes: Vec::new(), held: None }.method(), "live");
}
