//! Which filesystems are marked, since when, and what is mounted where.
//!
//! **Invariant**: a filesystem counts as watched since a moment only if its mark was made before it and lives.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::fanotify::Queue;
use crate::journal::{Coverage, FileId, JournalError};
use crate::mounts::{Mount, MountClass, Mounts};

/// Filesystems whose every change goes through this kernel's ordinary paths, and whose handles outlive renames.
const WATCHABLE: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"];

/// The marked filesystems beneath a place.
#[derive(Debug)]
pub(super) struct Watches {
    place: Vec<u8>,
    /// By device, as `mountinfo` tells it.
    filesystems: HashMap<u64, Watch>,
    unwatched: BTreeMap<Vec<u8>, String>,
    /// What is mounted at each mount point, the uppermost last.
    points: BTreeMap<Vec<u8>, Vec<Mounted>>,
    /// Mount points, with the span in which what is mounted there became another.
    changed: HashMap<Vec<u8>, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    device: u64,
    root: Vec<u8>,
    filesystem: String,
    class: MountClass,
}

#[derive(Debug)]
struct Watch {
    /// Mounts of its root: number and mount point.
    mounts: Vec<(u64, Vec<u8>)>,
    /// Its id, as events name it.
    id: u64,
    /// Number of the span in which its mark was made.
    begun: u64,
}

/// A watched filesystem's root, opened for as long as a question takes.
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) root: FileId,
    /// The mount of our own; gone with this handle.
    _mount: OwnedFd,
}

impl Watches {
    pub(super) fn new(place: PathBuf) -> Self {
        Self {
            place: place.into_os_string().into_vec(),
            filesystems: HashMap::new(),
            unwatched: BTreeMap::new(),
            points: BTreeMap::new(),
            changed: HashMap::new(),
        }
    }

    /// Compares with what is mounted now and marks what is new, in the span with this number. Answers whether all is as before.
    pub(super) fn refresh(&mut self, queue: &Queue, number: u64) -> io::Result<bool> {
        let table = Mounts::read()?;
        let points = self.points_of(&table);
        let mut same = points == self.points;
        if !same {
            let all: BTreeSet<&Vec<u8>> = points.keys().chain(self.points.keys()).collect();
            let differing = all.into_iter().filter(|point| points.get(*point) != self.points.get(*point));
            self.changed.extend(differing.map(|point| (point.clone(), number)));
        }
        self.points = points;
        let alive = queue.marked()?;
        let before = self.filesystems.len();
        self.filesystems.retain(|device, _| alive.contains(&kernel_device(*device)));
        same &= self.filesystems.len() == before;
        self.mark(queue, &table, number);
        Ok(same)
    }

    /// Fails with the reason when nothing is watched.
    pub(super) fn at_least_one(&self) -> Result<(), JournalError> {
        let reason = || self.unwatched.values().next().cloned().unwrap_or_else(|| "none is mounted".to_owned());
        if self.filesystems.is_empty() { Err(JournalError::Nothing { reason: reason() }) } else { Ok(()) }
    }

    fn mark(&mut self, queue: &Queue, table: &Mounts, number: u64) {
        self.unwatched.clear();
        let wanted = self.wanted(table);
        self.filesystems.retain(|device, _| wanted.contains_key(device));
        for (device, (point, filesystem)) in wanted {
            if !WATCHABLE.contains(&filesystem.as_str()) {
                self.unwatched.insert(point, format!("{filesystem} is not watched"));
                continue;
            }
            let whole = table.iter().filter(|mount| mount.device == device && mount.root == b"/");
            let mounts: Vec<_> = whole.map(|mount| (mount.id, mount.mount_point.clone())).collect();
            if let Some(watch) = self.filesystems.get_mut(&device) {
                watch.mounts = mounts;
                continue;
            }
            match Watch::begin(queue, mounts, number) {
                Ok(watch) => _ = self.filesystems.insert(device, watch),
                Err(error) => _ = self.unwatched.insert(point, error.to_string()),
            }
        }
    }

    /// The filesystem that holds the place, and the local ones mounted beneath it; each with a mount point and its kind.
    fn wanted(&self, table: &Mounts) -> BTreeMap<u64, (Vec<u8>, String)> {
        let holder = table.iter().filter(|mount| is_within(&self.place, &mount.mount_point));
        let holder = holder.max_by_key(|mount| mount.mount_point.len());
        let beneath =
            table.iter().filter(|mount| mount.class == MountClass::Local && is_within(&mount.mount_point, &self.place));
        let named = |mount: &Mount| (mount.device, (mount.mount_point.clone(), mount.filesystem.clone()));
        beneath.chain(holder).map(named).collect()
    }

    fn points_of(&self, table: &Mounts) -> BTreeMap<Vec<u8>, Vec<Mounted>> {
        let mut points: BTreeMap<Vec<u8>, Vec<Mounted>> = BTreeMap::new();
        for mount in table.iter().filter(|mount| is_within(&mount.mount_point, &self.place)) {
            points.entry(mount.mount_point.clone()).or_default().push(Mounted {
                device: mount.device,
                root: mount.root.clone(),
                filesystem: mount.filesystem.clone(),
                class: mount.class,
            });
        }
        points
    }

    /// Roots of the filesystems watched since a moment, by their ids in events. An id that two share tells nothing.
    pub(super) fn open_since(&self, past: u64) -> HashMap<u64, Opened> {
        let alone = |id| self.filesystems.values().filter(|watch| watch.id == id).count() == 1;
        let since = self.filesystems.values().filter(|watch| watch.begun <= past && alone(watch.id));
        since.filter_map(|watch| Some((watch.id, watch.open().ok()?))).collect()
    }

    /// Directories that lead to mount points, and to what were some at a moment.
    pub(super) fn leading(&self, past: u64) -> HashSet<FileId> {
        let mut ways = BTreeSet::new();
        let changed = self.changed.iter().filter(|(_, number)| **number > past).map(|(point, _)| point);
        for point in self.points.keys().chain(changed) {
            let above = ancestors(point).filter(|above| is_within(above, &self.place));
            ways.extend(above.filter(|above| !self.may_hang(above)));
        }
        ways.into_iter().filter_map(|way| id_of(way).ok()).collect()
    }

    /// Mount points where something else is mounted now than at a moment.
    pub(super) fn remounted(&self, past: u64) -> HashSet<FileId> {
        let points = self.changed.iter().filter(|(point, number)| **number > past && !self.may_hang(point));
        points.filter_map(|(point, _)| id_of(point).ok()).collect()
    }

    /// Whether a path leads through another machine's filesystem, which may be away. Nothing of it is ever watched.
    fn may_hang(&self, path: &[u8]) -> bool {
        let here = std::iter::once(path).chain(ancestors(path));
        let mut mounted = here.filter_map(|path| self.points.get(path)?.last());
        mounted.any(|mounted| mounted.class == MountClass::Network)
    }

    pub(super) fn coverage(&self) -> Coverage {
        let path = |point: &[u8]| PathBuf::from(OsStr::from_bytes(point));
        let points = self.filesystems.values().filter_map(|watch| watch.mounts.first());
        let mut watched: Vec<PathBuf> = points.map(|(_, point)| path(point)).collect();
        watched.sort();
        let unwatched = self.unwatched.iter().map(|(point, reason)| (path(point), reason.clone()));
        Coverage { watched, unwatched: unwatched.collect() }
    }
}

impl Watch {
    fn begin(queue: &Queue, mounts: Vec<(u64, Vec<u8>)>, begun: u64) -> io::Result<Self> {
        let mut watch = Self { mounts, id: 0, begun };
        let root = watch.root()?;
        queue.mark(root.as_fd())?;
        watch.id = rustix::fs::fstatvfs(&root)?.f_fsid;
        // What cannot be opened when somebody asks need not be watched.
        watch.open()?;
        Ok(watch)
    }

    /// Opens its root in a mount of our own, where nothing is mounted on any of its directories: what is covered by another
    /// mount may be in sight through a third.
    fn open(&self) -> io::Result<Opened> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let mount = rustix::mount::open_tree(self.root()?, c"", flags)?;
        let fd = rustix::fs::openat(&mount, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
        Ok(Opened { fd, root: file_id(&stat), _mount: mount })
    }

    fn root(&self) -> io::Result<OwnedFd> {
        let mut last = io::Error::other("only a part of it is mounted");
        for (mount, point) in &self.mounts {
            match open_mount(*mount, point) {
                Ok(root) => return Ok(root),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// Opens a mount's root; something else mounted on top of it is not it.
fn open_mount(mount: u64, point: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, Path::new(OsStr::from_bytes(point)), flags, Mode::empty())?;
    let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if stat.stx_mnt_id == mount { Ok(fd) } else { Err(Errno::XDEV) }
}

fn id_of(path: &[u8]) -> Result<FileId, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    Ok(file_id(&rustix::fs::statx(CWD, Path::new(OsStr::from_bytes(path)), flags, StatxFlags::INO)?))
}

fn file_id(stat: &Statx) -> FileId {
    FileId { device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino }
}

/// The kernel's own number of a device, with 20 bits for the minor number, as `fdinfo` tells it.
fn kernel_device(device: u64) -> u64 {
    u64::from(rustix::fs::major(device)) << 20 | u64::from(rustix::fs::minor(device))
}

/// The directories above an absolute path, from the nearest to `/`.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(path), |path| parent(path))
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/').filter(|_| path.len() > 1)?;
    Some(&path[..slash.max(1)])
}

fn is_within(path: &[u8], place: &[u8]) -> bool {
    place == b"/" || path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::{ancestors, is_within};

    #[test]
    fn paths_are_compared_by_component() {
        assert_eq!(ancestors(b"/a/bc/d").collect::<Vec<_>>(), [b"/a/bc".as_slice(), b"/a", b"/"]);
        assert_eq!(ancestors(b"/").count(), 0);
        assert!(is_within(b"/a/b", b"/") && is_within(b"/a", b"/a") && is_within(b"/a/b", b"/a"));
        assert!(!is_within(b"/ab", b"/a"));
    }
}
