#![expect(clippy::unwrap_used, reason = "a test whose snapshots are refused has failed")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Mac, is_moment, is_named, is_of_a_snapshot, prospects, remove, take};
use crate::mounts::{Mount, MountClass};
use crate::volume_snapshot::program::RunError;
use crate::volume_snapshot::{Method, SnapshotOptions, Taken, Volume, WhyLive, ledger};

const MOMENT: &str = "2026-11-27-061500";

/// A Mac that answers as Apple's manuals say, with more snapshots than ours.
#[derive(Clone)]
struct Told {
    answers: Arc<Mutex<HashMap<String, Result<String, String>>>>,
    asked: Arc<Mutex<Vec<String>>>,
    root: bool,
}

impl Told {
    fn new() -> Self {
        let answers = [
            (
                "tmutil localsnapshot",
                format!(
                    "NOTE: local snapshots are considered purgeable.\nCreated local snapshot with date: {MOMENT}\n"
                ),
            ),
            (
                "tmutil listlocalsnapshots /System/Volumes/Data",
                format!(
                    "Snapshots for disk /System/Volumes/Data:\ncom.apple.TimeMachine.2026-11-27-051500.local\ncom.apple.TimeMachine.{MOMENT}.local\n"
                ),
            ),
            ("tmutil listlocalsnapshots /Volumes/Photos", "Snapshots for disk /Volumes/Photos:\n".to_owned()),
            ("tmutil listlocalsnapshotdates", format!("Snapshot dates for all disks:\n2026-11-27-051500\n{MOMENT}\n")),
            ("mount_apfs", String::new()),
            ("tmutil deletelocalsnapshots", format!("Deleted local snapshot '{MOMENT}'\n")),
        ];
        let answers = answers.map(|(words, answer)| (words.to_owned(), Ok(answer))).into_iter().collect();
        Self { answers: Arc::new(Mutex::new(answers)), asked: Arc::default(), root: true }
    }

    fn fails(self, words: &str, error: &str) -> Self {
        self.answers.lock().unwrap().insert(words.to_owned(), Err(error.to_owned()));
        self
    }

    fn asked(&self, words: &str) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(words)).cloned().collect()
    }
}

impl Mac for Told {
    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<String, RunError> {
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        let line = format!("{program} {}", words.join(" "));
        self.asked.lock().unwrap().push(line.clone());
        let answers = self.answers.lock().unwrap();
        let longest = answers.iter().filter(|(words, _)| line.starts_with(*words)).max_by_key(|(words, _)| words.len());
        longest.map_or_else(|| Err("no answer".to_owned()), |(_, answer)| answer.clone()).map_err(RunError::Failed)
    }

    fn mounts(&self) -> io::Result<Vec<Mount>> {
        let mount = |place: &str, filesystem: &str, source: &str, class| Mount {
            id: 1,
            root: b"/".to_vec(),
            mount_point: place.as_bytes().to_vec(),
            device: 1,
            filesystem: filesystem.to_owned(),
            source: source.to_owned(),
            class,
        };
        Ok(vec![
            mount("/", "apfs", "/dev/disk3s1s1", MountClass::Local),
            mount("/dev", "devfs", "devfs", MountClass::Pseudo),
            mount("/System/Volumes/Data", "apfs", "/dev/disk3s5", MountClass::Local),
            mount("/Volumes/Photos", "apfs", "/dev/disk5s1", MountClass::Local),
            mount("/Volumes/STICK", "exfat", "/dev/disk6s1", MountClass::Local),
        ])
    }

    fn firm_links(&self) -> String {
        "/Users\tUsers\n/private\tprivate\n/usr/local\tusr/local\nnonsense\n/\t\n".to_owned()
    }

    fn is_root(&self) -> bool {
        self.root
    }
}

fn taken(mac: &Told, path: &str, state: &Path) -> Taken {
    let options = SnapshotOptions { state, time_max: Duration::from_secs(5), cancelled: &|| false };
    take(Box::new(mac.clone()), &[PathBuf::from(path)], &options).unwrap()
}

fn of<'a>(taken: &'a Taken, place: &str) -> &'a Volume {
    taken.volumes.iter().find(|volume| volume.place == Path::new(place)).unwrap()
}

#[test]
fn the_whole_mac_is_read_at_one_moment_through_the_places_that_people_know() {
    let (mac, state) = (Told::new(), tempfile::tempdir().unwrap());
    let taken = taken(&mac, "/", state.path());
    let places: Vec<_> = taken.volumes.iter().map(|volume| volume.place.to_str().unwrap()).collect();
    let all =
        ["/", "/System/Volumes/Data", "/Users", "/Volumes/Photos", "/Volumes/STICK", "/dev", "/private", "/usr/local"];
    assert_eq!(places, all);
    let data = of(&taken, "/System/Volumes/Data").read_at.clone();
    assert!(data.starts_with(state.path()), "{data:?}");
    for (place, rest) in [("/Users", "Users"), ("/private", "private"), ("/usr/local", "usr/local")] {
        let volume = of(&taken, place);
        assert_eq!((volume.read_at.clone(), volume.method), (data.join(rest), Method::Apfs), "{place}");
    }
    assert_eq!((of(&taken, "/").method, of(&taken, "/").read_at.to_str()), (Method::Apfs, Some("/")));
    assert_eq!(of(&taken, "/dev").why_live, Some(WhyLive::NotOurs));
    let why = |place: &str| of(&taken, place).why_live.clone().unwrap().to_string();
    assert!(why("/Volumes/Photos").contains("no snapshot of this volume"));
    assert!(why("/Volumes/STICK").contains("exfat"));
    let expected = format!(
        "mount_apfs -o rdonly,nobrowse -s com.apple.TimeMachine.{MOMENT}.local /System/Volumes/Data {}",
        data.display()
    );
    assert_eq!(mac.asked("mount_apfs"), [expected]);
    assert_eq!(mac.asked("tmutil localsnapshot").len(), 1);

    taken.held.unwrap().release().unwrap();
    assert_eq!(mac.asked("tmutil delete"), [format!("tmutil deletelocalsnapshots {MOMENT}")]);
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn a_mac_that_refuses_is_told_with_its_words_and_a_remedy() {
    let state = tempfile::tempdir().unwrap();
    let mac = Told::new().fails("tmutil localsnapshot", "tmutil: it requires Full Disk Access privileges.");
    let taken_one = taken(&mac, "/Users/me", state.path());
    let why = of(&taken_one, "/Users").why_live.clone().unwrap();
    assert!(
        matches!(&why, WhyLive::Failed { reason, remedy } if reason.contains("requires Full Disk") && remedy.contains("Full Disk Access"))
    );
    assert_eq!(taken_one.volumes.len(), 1);
    let nobody = Told { root: false, ..Told::new() };
    let taken_two = taken(&nobody, "/Users", state.path());
    assert!(
        matches!(&taken_two.volumes[0].why_live, Some(WhyLive::Unavailable { reason, .. }) if reason.contains("root"))
    );
    assert!(nobody.asked("").is_empty());
}

#[test]
fn what_is_left_is_in_the_ledger_and_only_that_is_removed() {
    let (mac, state) = (Told::new(), tempfile::tempdir().unwrap());
    let mac = mac.fails("tmutil deletelocalsnapshots", "tmutil: busy");
    assert!(taken(&mac, "/Users", state.path()).held.unwrap().release().is_err());
    let orphans = ledger::orphans(state.path()).unwrap();
    assert_eq!(orphans[0].entries()[0], format!("apfs {MOMENT}"));
    let mac = Told::new();
    assert!(remove(&mac, &orphans[0].entries()[0]).unwrap());
    assert_eq!(mac.asked("tmutil delete").len(), 1);
    for line in ["apfs 2026-11-27-071500", "apfs /", "apfs", "mounted Users", "lvm vg x y /z"] {
        assert!(!remove(&mac, line).unwrap(), "{line}");
    }
    assert_eq!(mac.asked("tmutil delete").len(), 1);
    assert!(mac.asked("umount").is_empty());
}

#[test]
fn what_can_be_expected_is_told_without_asking_anything_of_the_mac() {
    let mac = Told::new();
    let told = prospects(&mac);
    let outcome = |place: &str| {
        let prospect = told.iter().find(|prospect| prospect.place == Path::new(place));
        prospect.map(|prospect| prospect.outcome.clone().ok())
    };
    assert_eq!(outcome("/"), Some(Some(Method::Apfs)));
    assert_eq!(outcome("/Volumes/Photos"), Some(Some(Method::Apfs)));
    assert_eq!(outcome("/Volumes/STICK"), Some(None));
    assert_eq!(outcome("/dev"), None);
    assert!(mac.asked("").is_empty());
}

#[test]
fn moments_names_and_devices_are_told_from_others() {
    assert!(is_moment(MOMENT) && !is_moment("2026-11-27-06150") && !is_moment("2026-11-27 061500"));
    assert!(is_named(&format!("com.apple.TimeMachine.{MOMENT}"), MOMENT));
    assert!(is_named(&format!("com.apple.TimeMachine.{MOMENT}.local"), MOMENT));
    assert!(!is_named(&format!("com.apple.TimeMachine.{MOMENT}.backup"), MOMENT));
    assert!(!is_named(&format!("com.apple.os.update-{MOMENT}"), MOMENT));
    for (source, expected) in
        [("/dev/disk3s1s1", true), ("/dev/disk3s5", false), ("/dev/disk1", false), ("com.x@/dev/disk3s5", true)]
    {
        assert_eq!(is_of_a_snapshot(source), expected, "{source}");
    }
}
