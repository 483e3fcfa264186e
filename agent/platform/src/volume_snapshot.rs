//! Volume snapshots: every file of a volume as it was at one moment, also those that programs hold open.
//!
//! ```text
//! prepare(paths, policy) -> Snapshots { volume: its place, the path to read it at, the method } -> read -> release
//! ```
//! The places are the machine's own and are what a recovery point records; only reading goes elsewhere. A snapshot is removed by
//! [`Snapshots::release`], by dropping, and, when the process died before, by [`remove_leftovers`] at the next start: each one
//! is written down in a [`ledger`] before it is made.
//!
//! **Invariant**: a volume is told as [`Method::Live`] unless its snapshot was made and can be read, and with [`Policy::Required`]
//! no answer holds a live volume that belongs to the machine.

#[cfg(any(target_os = "macos", all(test, unix)))]
mod apfs;
pub(crate) mod ledger;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod scope;
#[cfg_attr(target_os = "linux", path = "volume_snapshot/linux.rs")]
#[cfg_attr(target_os = "macos", path = "volume_snapshot/macos.rs")]
#[cfg_attr(target_os = "windows", path = "volume_snapshot/windows.rs")]
mod system;
#[cfg(test)]
mod tests;
/// The part of shadow copies that makes no call of Windows; tried on every system.
#[cfg(any(windows, test))]
mod vss;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the making of a snapshot may take in all. VSS itself freezes writers for 60 seconds at most, and waits for their
/// metadata before.
pub const TIME_MAX: Duration = Duration::from_secs(600);

/// Whether snapshots are to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Without one of every volume the run must not begin.
    Required,
    /// Where they work; other volumes are read live.
    WhenAvailable,
    /// Nothing is asked of the system.
    Never,
}

/// What a volume is read through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// A snapshot of APFS.
    Apfs,
    /// A read-only snapshot of a btrfs subvolume.
    Btrfs,
    /// A snapshot of a logical volume.
    Lvm,
    /// A shadow copy of Windows.
    Vss,
    /// Nothing: its files as they are when their turn comes.
    Live,
}

impl Method {
    /// The word that a recovery point keeps.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apfs => "apfs",
            Self::Btrfs => "btrfs",
            Self::Lvm => "lvm",
            Self::Vss => "vss",
            Self::Live => "live",
        }
    }
}

/// Why a volume is read live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyLive {
    /// Nothing of this machine is kept there (a kernel's filesystem, another machine's share beneath a local volume): a snapshot
    /// is not missed, and none is required.
    NotOurs,
    /// It has no snapshots, by its kind or for want of room or rights that somebody would have to give.
    Unavailable {
        /// What is in the way.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// It should have them, and making one failed.
    Failed {
        /// What failed, in the system's words.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
}

impl fmt::Display for WhyLive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("it is no volume of this machine"),
            Self::Unavailable { reason, remedy } | Self::Failed { reason, remedy } => write!(f, "{reason}; {remedy}"),
        }
    }
}

/// One filesystem of those asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it lies in the machine: `C:\`, `/srv`.
    pub place: PathBuf,
    /// Where to read it: a directory that stands for `place`; `place` itself when it is read live.
    pub read_at: PathBuf,
    /// What it is read through.
    pub method: Method,
    /// With [`Method::Live`], why.
    pub why_live: Option<WhyLive>,
    /// What makes its snapshot worth less than it could be: a program that could not get its data in order.
    pub warnings: Vec<String>,
}

impl Volume {
    /// One that is read live.
    pub fn live(place: PathBuf, why: WhyLive) -> Self {
        Self { read_at: place.clone(), place, method: Method::Live, why_live: Some(why), warnings: Vec::new() }
    }
}

/// What keeps snapshots there, and takes them away.
pub(crate) trait Held: Send {
    /// Removes everything that was made. Called once, also after a failure.
    fn release(&mut self) -> io::Result<()>;

    /// What is worth nothing any more; to be asked before [`Held::release`]. Most snapshots live for as long as they are held.
    fn broken(&mut self) -> Vec<Broken> {
        Vec::new()
    }
}

/// A snapshot that was lost while it was read.
pub(crate) struct Broken {
    /// Where it was read.
    pub(crate) read_at: PathBuf,
    /// What became of it.
    pub(crate) reason: String,
}

/// What a system made of a request.
pub(crate) struct Taken {
    /// Every filesystem at or beneath the paths, outer ones before those mounted in them.
    pub(crate) volumes: Vec<Volume>,
    /// None when all are live.
    pub(crate) held: Option<Box<dyn Held>>,
}

/// The snapshots of one run.
pub struct Snapshots {
    volumes: Vec<Volume>,
    held: Option<Box<dyn Held>>,
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").field("volumes", &self.volumes).finish_non_exhaustive()
    }
}

/// What a request for snapshots takes with it.
#[derive(Clone, Copy)]
pub struct SnapshotOptions<'a> {
    /// A folder of our own for the ledger, and for places where snapshots are mounted; made when it is not there.
    pub state: &'a Path,
    /// No call takes longer in all; usually [`TIME_MAX`].
    pub time_max: Duration,
    /// Whether somebody wants the run to end; asked every now and then.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The plan requires a snapshot and none can be had.
    #[error(
        "a volume snapshot is required, and there is none of {}: {reason}; {remedy}, or let the plan use snapshots \"when available\"",
        volume.display()
    )]
    Required {
        /// The volume's place.
        volume: PathBuf,
        /// What is in the way.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// Somebody asked to stop.
    #[error("stopped while volume snapshots were made")]
    Cancelled,
}

/// Makes snapshots of the volumes that hold `paths` (absolute; the machine's root means all local volumes), as far as `policy` asks
/// for them and the system can. Blocks; up to [`SnapshotOptions::time_max`].
///
/// # Errors
/// With [`Policy::Required`] when a volume of this machine would be read live; nothing is left behind then. When cancelled.
pub fn prepare(paths: &[PathBuf], policy: Policy, options: &SnapshotOptions<'_>) -> Result<Snapshots, SnapshotError> {
    match policy {
        Policy::Never => Ok(Snapshots { volumes: Vec::new(), held: None }),
        Policy::Required | Policy::WhenAvailable => judge(system::take(paths, options)?, policy),
    }
}

/// Holds what a system made against the policy.
fn judge(taken: Taken, policy: Policy) -> Result<Snapshots, SnapshotError> {
    // Whatever is answered, what was made is removed when this is dropped.
    let snapshots = Snapshots { volumes: taken.volumes, held: taken.held };
    if policy != Policy::Required {
        return Ok(snapshots);
    }
    let missing = snapshots.volumes.iter().find_map(|volume| match &volume.why_live {
        None | Some(WhyLive::NotOurs) => None,
        Some(WhyLive::Unavailable { reason, remedy } | WhyLive::Failed { reason, remedy }) => {
            let (volume, reason, remedy) = (volume.place.clone(), reason.clone(), remedy.clone());
            Some(SnapshotError::Required { volume, reason, remedy })
        }
    });
    missing.map_or(Ok(snapshots), Err)
}

impl Snapshots {
    /// Every filesystem at or beneath the paths, outer ones before those mounted in them; none when nothing was asked for.
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// Whether anything is read at another place than its own.
    pub fn any(&self) -> bool {
        self.volumes.iter().any(|volume| volume.method != Method::Live)
    }

    /// Where to read a path.
    pub fn path_of(&self, original: &Path) -> PathBuf {
        let within = |volume: &&Volume| original.starts_with(&volume.place);
        let volume = self.volumes.iter().filter(within).max_by_key(|volume| volume.place.components().count());
        let Some(volume) = volume else { return original.to_path_buf() };
        match original.strip_prefix(&volume.place) {
            Ok(rest) if rest.as_os_str().is_empty() => volume.read_at.clone(),
            Ok(rest) => volume.read_at.join(rest),
            Err(_) => original.to_path_buf(),
        }
    }

    /// The methods in use, for the recovery point: `vss`, `live`, or several as `btrfs+live`. What is not of this machine does
    /// not count.
    pub fn method(&self) -> String {
        let ours = self.volumes.iter().filter(|volume| volume.why_live != Some(WhyLive::NotOurs));
        let mut methods: Vec<Method> = ours.map(|volume| volume.method).collect();
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() {
            methods.push(Method::Live);
        }
        methods.into_iter().map(Method::name).collect::<Vec<_>>().join("+")
    }

    /// The places of volumes whose snapshots were lost while they were read, with what became of them: not all that was read
    /// there is of one moment, and not all could be read. To be asked when everything has been.
    pub fn broken(&mut self) -> Vec<(PathBuf, String)> {
        let broken = self.held.as_mut().map(|held| held.broken()).unwrap_or_default();
        let of_volume = |volume: &Volume| {
            let lost = broken.iter().find(|broken| volume.read_at.starts_with(&broken.read_at))?;
            Some((volume.place.clone(), lost.reason.clone()))
        };
        self.volumes.iter().filter_map(of_volume).collect()
    }

    /// Removes the snapshots. What cannot be removed is tried again by [`remove_leftovers`].
    pub fn release(mut self) -> io::Result<()> {
        self.held.take().map_or(Ok(()), |mut held| held.release())
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if let Some(mut held) = self.held.take() {
            // Nobody is left to tell; the ledger remembers.
            let _ = held.release();
        }
    }
}

/// Removes what runs left behind whose process is gone, going by the ledgers in the folder `state` of
/// [`SnapshotOptions::state`]. Answers how many snapshots were removed; those of runs that are still going on stay.
pub fn remove_leftovers(state: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for orphan in ledger::orphans(state)? {
        let mut all_gone = Ok(());
        for entry in orphan.entries() {
            match system::remove(entry) {
                Ok(true) => removed += 1,
                Ok(false) => {}
                Err(error) => all_gone = Err(error),
            }
        }
        all_gone?;
        orphan.finish()?;
    }
    Ok(removed)
}

/// What can be expected of one volume, found out without making a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    /// The volume's place.
    pub place: PathBuf,
    /// How a snapshot of it would be made, or why there would be none.
    pub outcome: Result<Method, WhyLive>,
}

/// What can be expected of this machine's own volumes.
pub fn prospects() -> Vec<Prospect> {
    system::prospects()
}
