//! Linux: snapshots of logical volumes (LVM, thick and thin) and of btrfs subvolumes, by the programs that come with them.
//!
//! ```text
//! mounts --> volumes at and beneath the paths --> lvm: lvcreate, mount       --> STATE/RUN/N
//!                                            \-> btrfs: mount top, snapshot --> STATE/RUN/N/.nightkeep-RUN-ID
//! ```
//! **Invariant**: everything made has its line in the ledger before, with a name that holds the run's id, and goes in the
//! opposite order.

#[path = "linux/btrfs.rs"]
mod btrfs;
#[path = "linux/entry.rs"]
mod entry;
#[path = "linux/lvm.rs"]
mod lvm;
#[path = "linux/machine.rs"]
mod machine;
#[cfg(test)]
#[path = "linux/tests.rs"]
pub(super) mod tests;
#[path = "linux/volumes.rs"]
mod volumes;

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::entry::{Entry, PREFIX};
use self::machine::{Machine, System};
use self::volumes::{Kind, Mounted};
use super::ledger::Ledger;
use super::scope::concerned;
use super::{Broken, Held, Method, Prospect, SnapshotError, SnapshotOptions, Taken, Volume, WhyLive};

/// How long a program may take to remove something.
const REMOVAL_TIME_MAX: Duration = Duration::from_secs(120);

pub(super) fn take(paths: &[PathBuf], options: &SnapshotOptions<'_>) -> Result<Taken, SnapshotError> {
    take_by(Box::new(Machine { time_max: options.time_max }), paths, options)
}

/// Removes what an entry of a ledger names; whether it was still there.
pub(super) fn remove(line: &str) -> io::Result<bool> {
    let Some(entry) = Entry::of_line(line) else { return Ok(false) };
    let removed = entry.remove(&Machine { time_max: REMOVAL_TIME_MAX })?;
    // A mount is no snapshot.
    Ok(removed && !matches!(entry, Entry::Top { .. }))
}

pub(super) fn prospects() -> Vec<Prospect> {
    let machine = Machine { time_max: REMOVAL_TIME_MAX };
    let mounts = machine.mounts().unwrap_or_default();
    let mounted = volumes::mounted(&mounts, &machine);
    let ours = mounted.into_iter().filter(|mounted| mounted.kind != Kind::NotOurs);
    ours.map(|mounted| Prospect { outcome: prospect(&machine, &mounted), place: mounted.place }).collect()
}

fn prospect(system: &dyn System, mounted: &Mounted) -> Result<Method, WhyLive> {
    match &mounted.kind {
        Kind::NotOurs => Err(WhyLive::NotOurs),
        Kind::Without { reason, remedy } => {
            Err(WhyLive::Unavailable { reason: reason.clone(), remedy: remedy.clone() })
        }
        Kind::Lvm(_) | Kind::Btrfs if !system.is_root() => Err(not_root()),
        Kind::Lvm(mapped) => lvm::prospect(system, mapped).map(|()| Method::Lvm),
        Kind::Btrfs => match system.run("btrfs", &["--version".as_ref()]) {
            Ok(_) => Ok(Method::Btrfs),
            Err(_) => Err(WhyLive::Unavailable {
                reason: "the programs of btrfs are not installed".to_owned(),
                remedy: "install btrfs-progs".to_owned(),
            }),
        },
    }
}

/// One run: what it made, and what it needs to make more.
struct Run {
    system: Box<dyn System>,
    /// The folder of the ledgers.
    state: PathBuf,
    /// Begun with the first thing that is made.
    ledger: Option<Ledger>,
    made: Vec<Entry>,
    places: u32,
}

fn take_by(system: Box<dyn System>, paths: &[PathBuf], options: &SnapshotOptions<'_>) -> Result<Taken, SnapshotError> {
    let mounts = match system.mounts() {
        Ok(mounts) => mounts,
        Err(error) => {
            let why = failed(&error, "look at /proc/self/mountinfo");
            let volumes = paths.iter().map(|path| Volume::live(path.clone(), why.clone())).collect();
            return Ok(Taken { volumes, held: None });
        }
    };
    let all = volumes::mounted(&mounts, system.as_ref());
    let mut run = Run { system, state: options.state.to_owned(), ledger: None, made: Vec::new(), places: 0 };
    match run.volumes(&all, paths, options.cancelled) {
        Some(volumes) if run.made.is_empty() => Ok(Taken { volumes, held: None }),
        Some(volumes) => Ok(Taken { volumes, held: Some(Box::new(run)) }),
        None => {
            // What stays is in the ledger.
            let _ = run.release();
            Err(SnapshotError::Cancelled)
        }
    }
}

impl Run {
    /// Every volume at and beneath the paths; none when somebody asked to stop.
    fn volumes(&mut self, all: &[Mounted], paths: &[PathBuf], cancelled: &dyn Fn() -> bool) -> Option<Vec<Volume>> {
        let mut logical = HashMap::new();
        let mut filesystems = HashMap::new();
        let mut volumes = Vec::new();
        for mounted in concerned(all, |mounted| &mounted.place, paths) {
            if cancelled() {
                return None;
            }
            match &mounted.kind {
                Kind::NotOurs if paths.iter().any(|path| path.starts_with(&mounted.place)) => {
                    let reason = format!("{} has no snapshots", mounted.mount.filesystem);
                    volumes.push((mounted.place.clone(), Err(unavailable(reason, "keep such data on a disk"))));
                }
                Kind::NotOurs => volumes.push((mounted.place.clone(), Err(WhyLive::NotOurs))),
                Kind::Without { reason, remedy } => {
                    volumes.push((mounted.place.clone(), Err(unavailable(reason.clone(), remedy))));
                }
                Kind::Lvm(_) | Kind::Btrfs if !self.system.is_root() => {
                    volumes.push((mounted.place.clone(), Err(not_root())));
                }
                Kind::Lvm(mapped) => {
                    let taken = logical.entry(mounted.mount.device);
                    let taken = taken.or_insert_with(|| lvm::take(self, &mounted.mount, mapped)).clone();
                    let root = names_of(&mounted.mount.root);
                    volumes.push((mounted.place.clone(), taken.map(|at| (join(at, &root), Method::Lvm))));
                }
                Kind::Btrfs => {
                    let opened = filesystems.entry(mounted.mount.device);
                    match opened.or_insert_with(|| btrfs::open(self, mounted)) {
                        Err(why) => volumes.push((mounted.place.clone(), Err(why.clone()))),
                        Ok(filesystem) => {
                            let places = filesystem.places(mounted, all);
                            for place in concerned(&places, |place| &place.place, paths) {
                                if cancelled() {
                                    return None;
                                }
                                let taken = filesystem.take(self, place).map(|at| (at, Method::Btrfs));
                                volumes.push((place.place.clone(), taken));
                            }
                        }
                    }
                }
            }
        }
        volumes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(volumes.into_iter().map(volume).collect())
    }

    /// The run's own word, in the names of all it makes. Also that of the folder in which it mounts.
    fn id(&self) -> String {
        self.ledger.as_ref().map(Ledger::run).unwrap_or_default()
    }

    /// A name for a snapshot that nothing else has, and a folder to mount it at.
    fn next_place(&mut self) -> io::Result<(String, PathBuf)> {
        if self.ledger.is_none() {
            self.ledger = Some(Ledger::begin(&self.state)?);
        }
        let (id, number) = (self.id(), self.places);
        self.places += 1;
        let at = self.state.join(&id).join(number.to_string());
        // Nobody else may enter: what a snapshot shows of a file is what it was, also when it has been closed to others since.
        DirBuilder::new().recursive(true).mode(0o700).create(&at)?;
        Ok((format!("{PREFIX}{id}-{number}"), at))
    }

    /// Writes down what is about to be made.
    fn note(&mut self, entry: Entry) -> io::Result<()> {
        let line = entry.line().ok_or(io::ErrorKind::InvalidFilename)?;
        let ledger = self.ledger.as_mut().ok_or(io::ErrorKind::NotFound)?;
        ledger.note(&line)?;
        self.made.push(entry);
        Ok(())
    }
}

impl Held for Run {
    fn release(&mut self) -> io::Result<()> {
        let ledger = self.ledger.take();
        let mut all_gone = Ok(());
        for entry in self.made.drain(..).rev() {
            let gone = entry.remove(self.system.as_ref()).map(drop);
            all_gone = all_gone.and(gone);
        }
        // Let go with its entries when something stayed, for whoever removes leftovers next.
        all_gone?;
        ledger.map_or(Ok(()), Ledger::finish)
    }

    fn broken(&mut self) -> Vec<Broken> {
        let broken = |entry: &Entry| match entry {
            Entry::Lvm { group, name, at, .. } => {
                let reason = lvm::broken(self.system.as_ref(), group, name)?;
                Some(Broken { read_at: at.clone(), reason })
            }
            Entry::Btrfs { .. } | Entry::Top { .. } => None,
        };
        self.made.iter().filter_map(broken).collect()
    }
}

fn volume((place, taken): (PathBuf, Result<(PathBuf, Method), WhyLive>)) -> Volume {
    match taken {
        Ok((read_at, method)) => Volume { place, read_at, method, why_live: None, warnings: Vec::new() },
        Err(why) => Volume::live(place, why),
    }
}

/// The part of a filesystem that a mount shows.
fn names_of(root: &[u8]) -> PathBuf {
    let root = root.strip_prefix(b"/").unwrap_or(root);
    PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(root))
}

/// A joined empty path would end in a slash.
fn join(at: PathBuf, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { at } else { at.join(rest) }
}

fn failed(reason: &dyn Display, remedy: &str) -> WhyLive {
    WhyLive::Failed { reason: reason.to_string(), remedy: remedy.to_owned() }
}

fn unavailable(reason: String, remedy: &str) -> WhyLive {
    WhyLive::Unavailable { reason, remedy: remedy.to_owned() }
}

fn not_root() -> WhyLive {
    unavailable("only root may make snapshots".to_owned(), "let the agent run as the system's service")
}
