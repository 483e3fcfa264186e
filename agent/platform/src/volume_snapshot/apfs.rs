//! APFS: `tmutil localsnapshot` makes one snapshot of every volume that Time Machine would back up; `mount_apfs -s` mounts it.
//!
//! The call beneath (`fs_snapshot_create`) is kept for programs to which Apple gives a right of its own. A snapshot's name is the
//! moment at which Time Machine made it, so it is known, and written down, only when it is there: one that a run leaves by dying in
//! between is removed by the system itself, a day later, like all of Time Machine's.
//!
//! `/` is a snapshot already, sealed by Apple, and read where it is. What people write lies in the data volume, whose folders appear
//! beneath `/` by firm links; each of these places is read in the snapshot of that volume.
//!
//! The decisions are here, tried on every system; `macos.rs` asks the Mac.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::ledger::Ledger;
use super::program::RunError;
use super::scope::concerned;
use super::{Held, Method, Prospect, SnapshotError, SnapshotOptions, Taken, Volume, WhyLive};
use crate::mounts::{Mount, MountClass};

const DATA_VOLUME: &str = "/System/Volumes/Data";
const REMEDY: &str = "give the agent Full Disk Access, and try `tmutil localsnapshot` by hand";

/// The Mac.
pub(super) trait Mac: Send {
    /// Runs a program of the system to its end; answers what it wrote to standard output.
    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<String, RunError>;
    /// All mounts.
    fn mounts(&self) -> io::Result<Vec<Mount>>;
    /// `/usr/share/firmlinks`: a place beneath `/` and, behind a tab, one in the data volume; by line.
    fn firm_links(&self) -> String;
    fn is_root(&self) -> bool;
}

/// A place in the machine, as far as snapshots go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    place: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    NotOurs,
    /// The system's own volume, which nothing changes.
    Sealed,
    /// A filesystem without snapshots.
    Without(String),
    /// In the volume mounted at `volume`, the part `rest` of it.
    Apfs {
        volume: PathBuf,
        rest: PathBuf,
    },
}

/// What a run made. The ledger's lines: `apfs MOMENT`, `mounted PLACE`.
struct Run {
    mac: Box<dyn Mac>,
    state: PathBuf,
    ledger: Option<Ledger>,
    made: Vec<String>,
    /// Places of mounted snapshots by volume, or why there is none.
    mounted: Vec<(PathBuf, Result<PathBuf, WhyLive>)>,
    /// The moment of the run's snapshots, or why there are none.
    moment: Option<Result<String, WhyLive>>,
}

/// Makes snapshots for the paths.
pub(super) fn take(
    mac: Box<dyn Mac>,
    paths: &[PathBuf],
    options: &SnapshotOptions<'_>,
) -> Result<Taken, SnapshotError> {
    let places = match mac.mounts() {
        Ok(mounts) => places(&mounts, &mac.firm_links()),
        Err(error) => {
            let why = failed(&error.to_string(), "look at the list of `mount`");
            let volumes = paths.iter().map(|path| Volume::live(path.clone(), why.clone())).collect();
            return Ok(Taken { volumes, held: None });
        }
    };
    let state = options.state.to_owned();
    let mut run = Run { mac, state, ledger: None, made: Vec::new(), mounted: Vec::new(), moment: None };
    let mut volumes = Vec::new();
    for place in concerned(&places, |place| &place.place, paths) {
        if (options.cancelled)() {
            // What stays is in the ledger.
            let _ = run.release();
            return Err(SnapshotError::Cancelled);
        }
        volumes.push(run.volume(place));
    }
    let held: Option<Box<dyn Held>> = if run.made.is_empty() { None } else { Some(Box::new(run)) };
    Ok(Taken { volumes, held })
}

/// Removes what a line of a ledger names; whether a snapshot was there.
pub(super) fn remove(mac: &dyn Mac, line: &str) -> io::Result<bool> {
    match line.split_once(' ') {
        Some(("mounted", at)) if Path::new(at).is_absolute() => {
            let at = Path::new(at);
            if mac.mounts()?.iter().any(|mount| mount.mount_point == at.as_os_str().as_encoded_bytes()) {
                run(mac, "umount", &[at.as_os_str()]).map_err(other)?;
            }
            // The run's own folder goes with the last of its places.
            let _ = std::fs::remove_dir(at);
            let _ = at.parent().map(std::fs::remove_dir);
            Ok(false)
        }
        Some(("apfs", moment)) if is_moment(moment) => {
            let listed = run(mac, "tmutil", &["listlocalsnapshotdates".as_ref()]).map_err(other)?;
            if !listed.lines().any(|line| line.trim() == moment) {
                return Ok(false);
            }
            run(mac, "tmutil", &["deletelocalsnapshots".as_ref(), moment.as_ref()]).map_err(other)?;
            Ok(true)
        }
        // None of ours.
        Some(_) | None => Ok(false),
    }
}

/// What can be expected of this Mac's volumes.
pub(super) fn prospects(mac: &dyn Mac) -> Vec<Prospect> {
    let places = mac.mounts().map(|mounts| places(&mounts, "")).unwrap_or_default();
    let outcome = |kind: &Kind| match kind {
        Kind::NotOurs => None,
        Kind::Sealed => Some(Ok(Method::Apfs)),
        Kind::Without(filesystem) => Some(Err(without(filesystem))),
        Kind::Apfs { .. } if !mac.is_root() => Some(Err(not_root())),
        Kind::Apfs { .. } => Some(Ok(Method::Apfs)),
    };
    let prospect = |place: Place| Some(Prospect { outcome: outcome(&place.kind)?, place: place.place });
    places.into_iter().filter_map(prospect).collect()
}

/// Every place at which another volume begins, outer ones first.
fn places(mounts: &[Mount], firm_links: &str) -> Vec<Place> {
    let mut places: Vec<Place> = mounts.iter().map(place_of).collect();
    if places.iter().any(|place| place.place == Path::new(DATA_VOLUME)) {
        for (place, rest) in firm_links.lines().filter_map(|line| line.split_once('\t')) {
            let volume = PathBuf::from(DATA_VOLUME);
            // Other words than a place and a part of the volume make no place.
            if place.starts_with('/') && !rest.starts_with('/') && !rest.is_empty() {
                places.push(Place { place: place.into(), kind: Kind::Apfs { volume, rest: rest.into() } });
            }
        }
    }
    places.sort_by(|a, b| a.place.cmp(&b.place));
    places
}

fn place_of(mount: &Mount) -> Place {
    let place = PathBuf::from(String::from_utf8_lossy(&mount.mount_point).into_owned());
    let kind = match mount.filesystem.as_str() {
        _ if mount.class != MountClass::Local => Kind::NotOurs,
        "apfs" if is_of_a_snapshot(&mount.source) => Kind::Sealed,
        "apfs" => Kind::Apfs { volume: place.clone(), rest: PathBuf::new() },
        other => Kind::Without(other.to_owned()),
    };
    Place { place, kind }
}

/// `/dev/disk3s1s1` is a snapshot of the volume `/dev/disk3s1`; other programs' names follow an `@`.
fn is_of_a_snapshot(source: &str) -> bool {
    let parts = source.trim_start_matches("/dev/disk").split('s').filter(|part| !part.is_empty());
    source.contains('@') || (source.starts_with("/dev/disk") && parts.count() >= 3)
}

impl Run {
    fn volume(&mut self, place: &Place) -> Volume {
        let at = place.place.clone();
        match &place.kind {
            Kind::NotOurs => Volume::live(at, WhyLive::NotOurs),
            Kind::Without(filesystem) => Volume::live(at, without(filesystem)),
            Kind::Sealed => {
                Volume { read_at: at.clone(), place: at, method: Method::Apfs, why_live: None, warnings: Vec::new() }
            }
            Kind::Apfs { .. } if !self.mac.is_root() => Volume::live(at, not_root()),
            Kind::Apfs { volume, rest } => match self.snapshot_of(volume) {
                Ok(root) => {
                    // A joined empty path would end in a slash.
                    let read_at = if rest.as_os_str().is_empty() { root } else { root.join(rest) };
                    Volume { place: at, read_at, method: Method::Apfs, why_live: None, warnings: Vec::new() }
                }
                Err(why) => Volume::live(at, why),
            },
        }
    }

    /// Where the snapshot of a volume is mounted.
    fn snapshot_of(&mut self, volume: &Path) -> Result<PathBuf, WhyLive> {
        if let Some((_, known)) = self.mounted.iter().find(|(known, _)| known == volume) {
            return known.clone();
        }
        let outcome = self.mount(volume);
        self.mounted.push((volume.to_owned(), outcome.clone()));
        outcome
    }

    fn mount(&mut self, volume: &Path) -> Result<PathBuf, WhyLive> {
        let moment = match &self.moment {
            Some(known) => known.clone(),
            None => {
                let made = self.make();
                self.moment = Some(made.clone());
                made
            }
        }?;
        let listed = run(self.mac.as_ref(), "tmutil", &["listlocalsnapshots".as_ref(), volume.as_os_str()]);
        let listed = listed.map_err(|words| failed(&words, REMEDY))?;
        let name = listed.lines().map(str::trim).find(|name| is_named(name, &moment));
        let Some(name) = name.map(str::to_owned) else {
            return Err(WhyLive::Unavailable {
                reason: "Time Machine makes no snapshot of this volume".to_owned(),
                remedy: "take it out of the exclusions of Time Machine".to_owned(),
            });
        };
        let at = self.next_place().map_err(|error| failed(&error.to_string(), "look at the agent's state folder"))?;
        self.note(format!("mounted {}", at.display()))?;
        let arguments = [
            "-o".as_ref(),
            "rdonly,nobrowse".as_ref(),
            "-s".as_ref(),
            name.as_ref(),
            volume.as_os_str(),
            at.as_os_str(),
        ];
        run(self.mac.as_ref(), "mount_apfs", &arguments).map_err(|words| failed(&words, REMEDY))?;
        Ok(at)
    }

    /// Makes a snapshot of every volume; answers its moment.
    fn make(&mut self) -> Result<String, WhyLive> {
        // There is a place to write it down before it is made.
        self.begin().map_err(|error| failed(&error.to_string(), "look at the agent's state folder"))?;
        let said = run(self.mac.as_ref(), "tmutil", &["localsnapshot".as_ref()]);
        let said = said.map_err(|words| failed(&words, REMEDY))?;
        let moment = said.split_whitespace().map(|word| word.trim_end_matches('.')).find(|word| is_moment(word));
        let moment = moment.ok_or_else(|| failed(&format!("tmutil said {:?}", said.trim()), REMEDY))?.to_owned();
        self.note(format!("apfs {moment}"))?;
        Ok(moment)
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.ledger.is_none() {
            self.ledger = Some(Ledger::begin(&self.state)?);
        }
        Ok(())
    }

    fn next_place(&mut self) -> io::Result<PathBuf> {
        self.begin()?;
        let run = self.ledger.as_ref().map(Ledger::run).unwrap_or_default();
        let at = self.state.join(run).join(self.mounted.len().to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&at)?;
        Ok(at)
    }

    fn note(&mut self, line: String) -> Result<(), WhyLive> {
        let noted = self.ledger.as_mut().map_or(Ok(()), |ledger| ledger.note(&line));
        self.made.push(line);
        noted.map_err(|error| failed(&error.to_string(), "look at the agent's state folder"))
    }
}

impl Held for Run {
    fn release(&mut self) -> io::Result<()> {
        let ledger = self.ledger.take();
        let mut all_gone = Ok(());
        for line in self.made.drain(..).rev() {
            let gone = remove(self.mac.as_ref(), &line).map(drop);
            all_gone = all_gone.and(gone);
        }
        // Let go with its entries when something stayed, for whoever removes leftovers next.
        all_gone?;
        ledger.map_or(Ok(()), Ledger::finish)
    }
}

/// `2026-11-27-061500`.
fn is_moment(word: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| if matches!(at, 4 | 7 | 10) { byte == b'-' } else { byte.is_ascii_digit() };
    word.len() == 17 && word.bytes().enumerate().all(shape)
}

/// `com.apple.TimeMachine.MOMENT.local`; the last word is younger than the rest.
fn is_named(name: &str, moment: &str) -> bool {
    let rest = name.strip_prefix("com.apple.TimeMachine.").and_then(|rest| rest.strip_prefix(moment));
    matches!(rest, Some("" | ".local"))
}

fn run(mac: &dyn Mac, program: &str, arguments: &[&OsStr]) -> Result<String, String> {
    mac.run(program, arguments).map_err(|error| match error {
        RunError::NotThere => format!("{program} is not there"),
        RunError::Failed(words) => words,
    })
}

fn other(words: String) -> io::Error {
    io::Error::other(words)
}

fn without(filesystem: &str) -> WhyLive {
    WhyLive::Unavailable {
        reason: format!("{filesystem} has no snapshots"),
        remedy: "keep such data on a volume with APFS".to_owned(),
    }
}

fn not_root() -> WhyLive {
    WhyLive::Unavailable {
        reason: "only root may make snapshots".to_owned(),
        remedy: "let the agent run as the system's service".to_owned(),
    }
}

fn failed(reason: &str, remedy: &str) -> WhyLive {
    WhyLive::Failed { reason: reason.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests;
