#![expect(clippy::unwrap_used, reason = "a test whose snapshots are refused has failed")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::machine::{Access, Mapped, System};
use super::take_by;
use crate::mounts::{Mount, MountClass};
use crate::volume_snapshot::program::RunError;
use crate::volume_snapshot::{Method, SnapshotError, SnapshotOptions, Taken, WhyLive, ledger};

/// A machine that answers what it was told to, and remembers what it was asked.
#[derive(Default, Clone)]
pub(super) struct Script(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    answers: HashMap<String, String>,
    mapped: HashMap<u64, Mapped>,
    mounts: Vec<Mount>,
    not_root: bool,
    asked: Vec<String>,
}

impl Script {
    fn with(self, change: impl FnOnce(&mut Told)) -> Self {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        self
    }

    /// A program's standard output; one without an answer fails.
    pub(super) fn answers(self, program: &str, output: &str) -> Self {
        self.with(|told| _ = told.answers.insert(program.to_owned(), output.to_owned()))
    }

    pub(super) fn mapped(self, device: u64, name: &str, uuid: &str) -> Self {
        self.with(|told| _ = told.mapped.insert(device, Mapped { name: name.to_owned(), uuid: uuid.to_owned() }))
    }

    fn mounts(self, mounts: Vec<Mount>) -> Self {
        self.with(|told| told.mounts = mounts)
    }

    /// How often a program ran.
    pub(super) fn ran(&self, program: &str) -> usize {
        self.asked().iter().filter(|asked| asked.starts_with(&format!("{program} "))).count()
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    fn note(&self, words: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked.push(words);
    }
}

impl System for Script {
    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<String, RunError> {
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        self.note(format!("{program} {}", words.join(" ")));
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = told.answers.get(program).cloned();
        answer.ok_or_else(|| RunError::Failed(format!("{program}: no answer")))
    }

    fn mount(&self, source: &Path, at: &Path, filesystem: &str, access: Access, options: &str) -> io::Result<()> {
        self.note(format!("mount {filesystem} {} {} {access:?} {options}", source.display(), at.display()));
        Ok(())
    }

    fn unmount(&self, at: &Path) -> io::Result<bool> {
        self.note(format!("umount {}", at.display()));
        Ok(true)
    }

    fn mounts(&self) -> io::Result<Vec<Mount>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).mounts.clone())
    }

    fn mapped(&self, device: u64) -> Option<Mapped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).mapped.get(&device).cloned()
    }

    fn is_root(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).not_root
    }
}

/// A mount of a whole local filesystem; of what the kernel makes up, a pseudo one.
pub(super) fn mount(place: &str, filesystem: &str, source: &str, device: u64) -> Mount {
    Mount {
        id: device,
        root: b"/".to_vec(),
        mount_point: place.as_bytes().to_vec(),
        device,
        filesystem: filesystem.to_owned(),
        source: source.to_owned(),
        class: if matches!(filesystem, "proc" | "tmpfs") { MountClass::Pseudo } else { MountClass::Local },
    }
}

const THICK: &str = "  vg|data|10737418240|5368709120|-wi-ao----||\n";

fn logical_machine() -> Script {
    let mounts = vec![
        mount("/", "ext4", "/dev/vda1", 1),
        mount("/proc", "proc", "proc", 2),
        mount("/srv", "xfs", "/dev/mapper/vg-data", 8),
        Mount { root: b"/inner".to_vec(), ..mount("/srv/bound", "xfs", "/dev/mapper/vg-data", 8) },
    ];
    Script::default().mounts(mounts).mapped(8, "vg-data", "LVM-x").answers("lvs", THICK).answers("lvcreate", "")
}

fn take(script: &Script, path: &str, state: &Path) -> Result<Taken, SnapshotError> {
    let options = SnapshotOptions { state, time_max: Duration::from_secs(5), cancelled: &|| false };
    take_by(Box::new(script.clone()), &[PathBuf::from(path)], &options)
}

#[test]
fn a_logical_volume_is_snapshotted_once_whatever_it_is_mounted_at_and_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let script = logical_machine();
    let taken = take(&script, "/", state.path()).unwrap();
    let told: Vec<_> = taken.volumes.iter().map(|volume| (volume.place.to_str().unwrap(), volume.method)).collect();
    let expected = [("/", Method::Live), ("/proc", Method::Live), ("/srv", Method::Lvm), ("/srv/bound", Method::Lvm)];
    assert_eq!(told, expected);
    assert!(matches!(taken.volumes[0].why_live, Some(WhyLive::Unavailable { .. })));
    assert_eq!(taken.volumes[1].why_live, Some(WhyLive::NotOurs));
    assert_eq!(taken.volumes[3].read_at, taken.volumes[2].read_at.join("inner"));
    assert!(taken.volumes[2].read_at.starts_with(state.path()));
    assert_eq!(script.ran("lvcreate"), 1);
    let asked = script.asked();
    let mounted = asked.iter().find(|words| words.starts_with("mount ")).unwrap();
    assert!(
        mounted.starts_with("mount xfs /dev/vg/nightkeep-") && mounted.ends_with(" ReadOnly nouuid,norecovery"),
        "{mounted}"
    );

    let name = asked.iter().find_map(|words| words.split_once("--name ")?.1.split(' ').next().map(str::to_owned));
    let script = script.answers("lvs", "  data|nightkeep\n").answers("lvremove", "");
    taken.held.unwrap().release().unwrap();
    assert!(script.asked().last().unwrap().ends_with(&format!("vg/{}", name.unwrap())));
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn what_a_failed_removal_leaves_is_still_in_the_ledger() {
    let state = tempfile::tempdir().unwrap();
    let script = logical_machine();
    let taken = take(&script, "/srv", state.path()).unwrap();
    assert_eq!(taken.volumes.len(), 2);
    // It does not look like ours, so it stays.
    let mut held = taken.held.unwrap();
    assert!(held.release().is_err());
    drop((held, script));
    let orphans = ledger::orphans(state.path()).unwrap();
    assert_eq!(orphans.len(), 1);
    assert!(orphans[0].entries()[0].starts_with("lvm vg nightkeep-"), "{:?}", orphans[0].entries());
}

#[test]
fn a_failure_is_told_in_the_words_of_the_program_and_other_volumes_are_read_all_the_same() {
    let state = tempfile::tempdir().unwrap();
    let script = logical_machine().with(|told| _ = told.answers.remove("lvcreate"));
    let taken = take(&script, "/srv/x", state.path()).unwrap();
    let why = taken.volumes[0].why_live.clone();
    assert!(matches!(why, Some(WhyLive::Failed { reason, .. }) if reason.contains("no answer")));
    // It may have been made before it failed.
    assert!(taken.held.is_some());
}

#[test]
fn without_root_nothing_is_asked_of_any_program() {
    let state = tempfile::tempdir().unwrap();
    let script = logical_machine().with(|told| told.not_root = true);
    let taken = take(&script, "/srv", state.path()).unwrap();
    assert!(matches!(&taken.volumes[0].why_live, Some(WhyLive::Unavailable { reason, .. }) if reason.contains("root")));
    assert!(taken.held.is_none() && script.asked().is_empty());
}

#[test]
fn who_cancels_gets_nothing_and_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let script = logical_machine();
    let asked = std::cell::Cell::new(0);
    let cancelled = || asked.replace(asked.get() + 1) >= 3;
    let options = SnapshotOptions { state: state.path(), time_max: Duration::from_secs(5), cancelled: &cancelled };
    let taken = take_by(Box::new(script.clone()), &[PathBuf::from("/")], &options);
    assert!(matches!(taken, Err(SnapshotError::Cancelled)));
    assert_eq!((script.ran("lvcreate"), script.ran("umount")), (1, 1));
}

#[test]
fn a_path_in_memory_is_told_as_one_without_snapshots() {
    let state = tempfile::tempdir().unwrap();
    let script = Script::default().mounts(vec![mount("/", "ext4", "/dev/vda1", 1), mount("/run", "tmpfs", "tmpfs", 2)]);
    let why = |path: &str| take(&script, path, state.path()).unwrap().volumes.pop().unwrap().why_live;
    assert!(matches!(why("/run/x"), Some(WhyLive::Unavailable { reason, .. }) if reason.contains("tmpfs")));
    assert_eq!(why("/"), Some(WhyLive::NotOurs));
}
