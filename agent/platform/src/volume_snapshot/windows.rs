//! Windows: shadow copies of the volumes that have drive letters.
//!
//! One thread makes them, keeps the backup's object while the copies are read, and ends it: COM wants its calls from one
//! apartment, and the service deletes the copies of a process that died by itself. The ledger is for what it does not.

#[path = "windows/com.rs"]
mod com;

use std::io;
use std::path::{Component, Path, PathBuf, Prefix};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::ledger::Ledger;
use super::vss::{self, Around, Cancelled, Code, Id, Made, Requester, Wanted};
use super::{Held, Method, Prospect, SnapshotError, SnapshotOptions, Taken, Volume, WhyLive};
use crate::mounts::{MountClass, Mounts};
use com::{Apartment, Components};

/// How often the thread that waits looks whether somebody asks to stop.
const LOOK: Duration = Duration::from_millis(100);
/// What an entry of the ledger begins with.
const ENTRY: &str = "vss ";

pub(super) fn take(paths: &[PathBuf], options: &SnapshotOptions<'_>) -> Result<Taken, SnapshotError> {
    let (wanted, mut volumes) = sort_out(paths, &Mounts::read().unwrap_or_default());
    if wanted.is_empty() {
        return Ok(Taken { volumes, held: None });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (answer, answered) = channel();
    let (release, released) = channel();
    let (told, outcome) = channel();
    let task = Task { wanted: wanted.clone(), state: options.state.to_path_buf(), left: options.time_max };
    let asked = stop.clone();
    let thread = std::thread::Builder::new().name("shadow copies".to_owned());
    let started = thread.spawn(move || {
        // Whoever asked may be gone; then what was made is removed at once.
        let _ = told.send(task.run(&asked, &answer, &released));
    });
    if let Err(error) = started {
        let why = failed(&format!("no thread for the Volume Shadow Copy service: {error}"));
        volumes.extend(wanted.iter().map(|wanted| Volume::live(PathBuf::from(&wanted.root), why.clone())));
        return Ok(Taken { volumes, held: None });
    }
    let made = loop {
        if (options.cancelled)() {
            stop.store(true, Ordering::Relaxed);
        }
        match answered.recv_timeout(LOOK) {
            Ok(made) => break made,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let why = failed("the thread that speaks with the Volume Shadow Copy service ended");
                break Ok(wanted.iter().map(|one| Volume::live(PathBuf::from(&one.root), why.clone())).collect());
            }
        }
    };
    volumes.extend(made.map_err(|Cancelled| SnapshotError::Cancelled)?);
    let any = volumes.iter().any(|volume| volume.method == Method::Vss);
    let held: Option<Box<dyn Held>> = any.then(|| Box::new(Keeper { release, outcome }) as Box<dyn Held>);
    Ok(Taken { volumes, held })
}

fn failed(reason: &str) -> WhyLive {
    WhyLive::Failed { reason: reason.to_owned(), remedy: "look into the agent's log and try again".to_owned() }
}

/// The drives to make shadow copies of, and the places that can have none.
fn sort_out(paths: &[PathBuf], mounts: &Mounts) -> (Vec<Wanted>, Vec<Volume>) {
    let (mut roots, mut volumes): (Vec<String>, Vec<Volume>) = (Vec::new(), Vec::new());
    for path in paths {
        match drive_of(path) {
            Place::Machine => {
                let local = mounts.iter().filter(|mount| mount.class == MountClass::Local);
                roots.extend(local.filter_map(|mount| mount.mount_point.first()).map(|letter| root(*letter)));
            }
            Place::Drive(letter) => match class_of(letter, mounts) {
                Some(MountClass::Local) | None => roots.push(root(letter)),
                Some(MountClass::Network) => volumes.push(not_here(PathBuf::from(root(letter)), "a network drive")),
                Some(MountClass::Pseudo) => volumes.push(not_here(PathBuf::from(root(letter)), "no disk of its own")),
            },
            Place::Share(share) => volumes.push(not_here(share, "another machine's share")),
        }
    }
    roots.sort_unstable();
    roots.dedup();
    volumes.dedup();
    (roots.into_iter().map(|root| Wanted { root }).collect(), volumes)
}

fn not_here(place: PathBuf, what: &str) -> Volume {
    let reason = format!("it is {what}, which has no shadow copies here");
    Volume::live(place, WhyLive::Unavailable { reason, remedy: "back it up on the machine it belongs to".to_owned() })
}

fn class_of(letter: u8, mounts: &Mounts) -> Option<MountClass> {
    let mut of_drive = mounts.iter().filter(|mount| mount.mount_point.first() == Some(&letter));
    of_drive.next().map(|mount| mount.class)
}

fn root(letter: u8) -> String {
    format!("{}:\\", char::from(letter))
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Every drive.
    Machine,
    /// One of them, by its letter as a capital.
    Drive(u8),
    Share(PathBuf),
}

fn drive_of(path: &Path) -> Place {
    let Some(Component::Prefix(prefix)) = path.components().next() else { return Place::Machine };
    match prefix.kind() {
        Prefix::Disk(letter) | Prefix::VerbatimDisk(letter) => Place::Drive(letter.to_ascii_uppercase()),
        Prefix::UNC(..) | Prefix::VerbatimUNC(..) | Prefix::Verbatim(_) | Prefix::DeviceNS(_) => {
            Place::Share(PathBuf::from(prefix.as_os_str()))
        }
    }
}

/// What the thread does.
struct Task {
    wanted: Vec<Wanted>,
    state: PathBuf,
    left: Duration,
}

impl Task {
    /// Makes, answers, waits to be released, and removes.
    fn run(
        self,
        stop: &AtomicBool,
        answer: &Sender<Result<Vec<Volume>, Cancelled>>,
        released: &Receiver<()>,
    ) -> io::Result<()> {
        let apartment = Apartment::enter();
        let mut ledger: Option<Ledger> = None;
        let made = vss::make(
            &mut Around {
                open: &mut || {
                    let apartment = apartment.as_ref().map_err(|code| *code)?;
                    Ok(Box::new(Components::for_backup(apartment)?) as Box<dyn Requester>)
                },
                note: &mut |Id(set)| {
                    let ledger = match &mut ledger {
                        Some(ledger) => ledger,
                        none => none.insert(Ledger::begin(&self.state)?),
                    };
                    ledger.note(&format!("{ENTRY}{set:032x}"))
                },
                pause: &mut std::thread::sleep,
                cancelled: &|| stop.load(Ordering::Relaxed),
                left: self.left,
            },
            &self.wanted,
        );
        let (volumes, mut sets) = match made {
            Ok(Made { volumes, sets }) => (Ok(volumes), sets),
            Err(Cancelled) => (Err(Cancelled), Vec::new()),
        };
        if answer.send(volumes).is_ok() && !sets.is_empty() {
            // Released, or nobody is left who could.
            let _ = released.recv();
        }
        let mut outcome = Ok(());
        for set in &mut sets {
            if let Err(code) = set.release() {
                outcome = Err(io::Error::other(format!("a shadow copy could not be deleted: {code}")));
            }
        }
        match (outcome, ledger) {
            (Ok(()), Some(ledger)) => ledger.finish(),
            (outcome, _) => outcome,
        }
    }
}

/// Tells the thread that its copies are not needed any more, and waits until they are gone.
struct Keeper {
    release: Sender<()>,
    outcome: Receiver<io::Result<()>>,
}

impl Held for Keeper {
    fn release(&mut self) -> io::Result<()> {
        let _ = self.release.send(());
        let ended = || io::Error::other("the thread that speaks with the Volume Shadow Copy service ended");
        self.outcome.recv().map_err(|_| ended())?
    }
}

/// Removes what an entry of a ledger names; whether it was still there.
pub(super) fn remove(entry: &str) -> io::Result<bool> {
    let set = entry.strip_prefix(ENTRY).and_then(|set| u128::from_str_radix(set, 16).ok());
    let Some(set) = set else { return Ok(false) };
    let apartment = Apartment::enter();
    let deleted = apartment.and_then(|apartment| {
        let mut components = Components::for_all(&apartment)?;
        components.delete_set(Id(set))
    });
    match deleted {
        Ok(()) => Ok(true),
        // Copies of a process that ended go with it.
        Err(code) if code.is_not_found() || code.is_no_service() => Ok(false),
        Err(code) => Err(io::Error::other(format!("a shadow copy of an earlier run could not be deleted: {code}"))),
    }
}

pub(super) fn prospects() -> Vec<Prospect> {
    let (wanted, _) = sort_out(&[PathBuf::from("/")], &Mounts::read().unwrap_or_default());
    // A thread of its own: the caller's may be in another apartment.
    let ask = std::thread::spawn(move || {
        let apartment = Apartment::enter();
        let mut components = apartment.as_ref().map_err(|code| *code).and_then(Components::for_backup);
        let prospect = |Wanted { root }: Wanted| {
            let outcome = match &mut components {
                Ok(components) => {
                    components.is_supported(&root).map_err(|code: Code| code.why_live("IsVolumeSupported"))
                }
                Err(code) => Err(code.why_live("InitializeForBackup")),
            };
            let outcome = outcome.and_then(|yes| if yes { Ok(Method::Vss) } else { Err(vss::words::not_supported()) });
            Prospect { place: PathBuf::from(root), outcome }
        };
        wanted.into_iter().map(prospect).collect::<Vec<_>>()
    });
    ask.join().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Place, drive_of, sort_out};
    use crate::mounts::Mounts;
    use crate::volume_snapshot::{
        Policy, SnapshotError, SnapshotOptions, TIME_MAX, WhyLive, prepare, remove_leftovers,
    };
    use std::path::{Path, PathBuf};

    #[test]
    fn a_path_tells_its_drive() {
        assert_eq!(drive_of(Path::new("/")), Place::Machine);
        assert_eq!(drive_of(Path::new(r"c:\Users")), Place::Drive(b'C'));
        assert_eq!(drive_of(Path::new(r"\\?\D:\x")), Place::Drive(b'D'));
        assert_eq!(drive_of(Path::new(r"\\server\share\x")), Place::Share(PathBuf::from(r"\\server\share")));
        let paths = [r"C:\a", r"C:\b", r"\\server\share\x"].map(PathBuf::from);
        let (wanted, live) = sort_out(&paths, &Mounts::default());
        assert_eq!((wanted.len(), wanted[0].root.as_str(), live.len()), (1, r"C:\", 1));
    }

    /// Wine has the library and no service behind it.
    #[test]
    fn without_the_service_required_fails_when_available_is_live_and_never_asks_nothing() {
        if std::env::var_os("NIGHTKEEP_UNDER_WINE").is_none() {
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("snapshots");
        let options = SnapshotOptions { state: &state, time_max: TIME_MAX, cancelled: &|| false };
        let paths = [PathBuf::from(r"C:\windows")];
        let error = prepare(&paths, Policy::Required, &options).expect_err("Wine has no shadow copies");
        let SnapshotError::Required { volume, .. } = &error else { panic!("{error}") };
        assert_eq!(volume, Path::new(r"C:\"));
        assert!(error.to_string().contains("no Volume Shadow Copy service"), "{error}");
        let live = prepare(&paths, Policy::WhenAvailable, &options).expect("it goes on");
        assert_eq!(live.method(), "live");
        assert!(matches!(live.volumes()[0].why_live, Some(WhyLive::Unavailable { .. })));
        let never = prepare(&paths, Policy::Never, &options).expect("nothing is asked");
        assert!(never.volumes().is_empty());
        assert_eq!(remove_leftovers(&state).expect("no ledger"), 0);
    }

    #[test]
    fn a_ledger_of_a_dead_run_is_cleared_where_nothing_can_have_been_made() {
        if std::env::var_os("NIGHTKEEP_UNDER_WINE").is_none() {
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("1-1.snapshots");
        std::fs::write(&file, "vss 000102030405060708090a0b0c0d0e0f\nnonsense\n").expect("written");
        assert_eq!(remove_leftovers(dir.path()).expect("nothing was there"), 0);
        assert!(!file.exists());
    }
}
