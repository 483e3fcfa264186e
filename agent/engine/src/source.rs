//! Walks the source in catalogue order, directory handle by directory handle.
//!
//! **Invariant**: memory grows with the names of the largest directories on the way down, not with the number of files.

mod ahead;
mod elsewhere;

use crate::changed::ChangedDirs;
use crate::exclude::Excludes;
use crate::progress::Finding;
use ahead::{Ahead, Coming, Opened};
use elsewhere::{Renumber, open_root, renumbered};
use nightkeep_platform::files::{Dir, DirEntry, FileKind, FileMeta, Listing};
use nightkeep_platform::journal::{Beneath, FileId};
use nightkeep_platform::mounts::{MountClass, Mounts};
use nightkeep_platform::names;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use elsewhere::ReadAt;

/// What to walk.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// The folder that counts as the machine's root; `/` in production.
    pub machine_root: PathBuf,
    /// Paths from that root to back up; the empty path is everything.
    pub roots: Vec<Vec<u8>>,
    /// Patterns left out.
    pub excludes: Excludes,
    /// Folders left out by their place: our own state, the vault that is being written.
    pub skip: Vec<PathBuf>,
    /// Leave out pseudo and network filesystems and every folder that holds a vault ("entire machine").
    pub entire_machine: bool,
    /// Directories that are read at another place than their own; see [`ReadAt`].
    pub read_at: Vec<ReadAt>,
}

/// An entry of the source, with the handle of the directory it is in.
#[derive(Debug, Clone)]
pub struct SourceEntry {
    /// Its directory; none for the machine's root itself.
    pub dir: Option<Arc<Dir>>,
    /// Its name in that directory.
    pub name: Vec<u8>,
    /// Its path from the machine's root.
    pub path: Vec<u8>,
    /// Its metadata when it was listed.
    pub meta: FileMeta,
    /// Listed only as a parent of a root.
    pub ancestor: bool,
    /// For what its handle tells later.
    pub(crate) renumber: Renumber,
}

/// What the walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// An entry to back up.
    Entry(Box<SourceEntry>),
    /// A file or directory that could not be looked at.
    Finding(Finding),
    /// A directory beneath which nothing changed, as the journal has it. Unless it is given to [`Walk::enter`] next, the walk
    /// goes on behind it.
    Settled(Box<SourceEntry>),
}

/// What lets a walk leave directories unread.
#[derive(Debug)]
pub(crate) struct Trust {
    /// What the journal vouches for.
    pub(crate) changed: Arc<ChangedDirs>,
    /// Paths that are looked at whatever the journal says.
    pub(crate) doubtful: Vec<Vec<u8>>,
}

/// Why a walk cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path that was asked for is not there.
    #[error("cannot read {}; check the path and the rights of this account", path.display())]
    Root {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The walk; see [`Walk::next_step`].
pub struct Walk {
    options: SourceOptions,
    skip: BTreeSet<(u64, u64)>,
    mounts: Option<Mounts>,
    stack: Vec<Frame>,
    /// The entry to answer next: the root at first, later a directory whose finding came before it.
    pending: Option<Box<SourceEntry>>,
    trust: Option<Trust>,
    ahead: Option<Ahead>,
}

/// A directory whose entries are being visited.
struct Frame {
    dir: Arc<Dir>,
    path: Vec<u8>,
    listing: Listing,
    /// Entries of the listing whose metadata was read.
    entries: std::vec::IntoIter<DirEntry>,
    device: u64,
    /// Whether every entry is taken, or only those on the way to a root.
    whole: bool,
    /// Whether the journal is asked about the directories in it.
    ask: bool,
    renumber: Renumber,
}

impl Frame {
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path, b"/".as_slice(), name].concat() }
    }
}

impl Walk {
    /// Opens the machine's root and checks that every wanted root is there.
    pub fn new(options: SourceOptions) -> Result<Self, SourceError> {
        let at = |path: &Path, source| SourceError::Root { path: path.to_path_buf(), source };
        let opened = open_root(&options).map_err(|error| at(&options.machine_root, error))?;
        let (root, meta, renumber) = (Arc::new(opened.0), opened.1, opened.2);
        for wanted in &options.roots {
            let path = names::join(&options.machine_root, wanted).unwrap_or_else(|| options.machine_root.clone());
            std::fs::symlink_metadata(&path).map_err(|error| at(&path, error))?;
        }
        let skip = options.skip.iter().filter_map(|path| Dir::open(path).ok()?.self_meta().ok());
        let skip = skip.map(|meta| (meta.device, meta.inode)).collect();
        let mounts = if options.entire_machine { Mounts::read().ok() } else { None };
        let whole = options.roots.iter().any(Vec::is_empty);
        let entry = SourceEntry { dir: None, name: Vec::new(), path: Vec::new(), meta, ancestor: !whole, renumber };
        let mut walk =
            Self { options, skip, mounts, stack: Vec::new(), pending: Some(Box::new(entry)), trust: None, ahead: None };
        let listing = root.list().map_err(|error| at(&walk.options.machine_root, error))?;
        let frame = FrameOf { path: Vec::new(), device: meta.device, whole, ask: true, renumber };
        walk.push(root, (listing, Vec::new()), frame);
        Ok(walk)
    }

    /// Reads directories ahead on a thread of its own from now on. Where a journal is asked, that would read what need not be.
    pub(crate) fn read_ahead(&mut self) {
        if self.trust.is_none() {
            self.ahead = Ahead::start().ok();
        }
    }

    /// Leaves directories unread from now on that the journal vouches for.
    pub(crate) fn trust(&mut self, trust: Option<Trust>) {
        self.trust = trust;
        self.count_read();
    }

    /// The next entry or finding; none at the end.
    pub fn next_step(&mut self) -> Option<Step> {
        if let Some(entry) = self.pending.take() {
            return Some(Step::Entry(entry));
        }
        loop {
            let frame = self.stack.last_mut()?;
            let Some(entry) = frame.entries.next() else {
                match frame.dir.next_entries(&mut frame.listing) {
                    Some(entries) => {
                        frame.entries = renumbered(entries, frame.renumber).into_iter();
                        self.announce();
                    }
                    None => drop(self.stack.pop()),
                }
                continue;
            };
            let path = frame.path_of(&entry.name);
            let (whole, ancestor) = match self.options.wants(&path, frame.whole) {
                Wanted::No => continue,
                Wanted::Whole => (true, false),
                Wanted::Ancestor => (false, true),
            };
            let meta = match entry.meta {
                Ok(meta) => meta,
                Err(error) => return Some(Step::Finding(Finding::of_read(&path, &error))),
            };
            let is_dir = meta.kind == FileKind::Directory;
            if self.options.excludes.excludes(&path, is_dir) {
                continue;
            }
            let (dir, ask, renumber) = (frame.dir.clone(), frame.ask, frame.renumber);
            let mut found = Box::new(SourceEntry { dir: Some(dir), name: entry.name, path, meta, ancestor, renumber });
            if is_dir && self.options.place_of(&found.path).is_some() {
                match self.options.original(&found) {
                    Ok(original) => *found = original,
                    Err(error) => return Some(Step::Finding(Finding::of_read(&found.path, &error))),
                }
            }
            let asked = if is_dir && whole && ask { self.ask(&found) } else { Asked::Enter { ask } };
            let step = match asked {
                Asked::Settled => return Some(Step::Settled(found)),
                Asked::Enter { ask } => self.take(found, whole, ask),
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// Enters a directory that was said to be settled after all; asks the journal about those in it, or not.
    /// None when it is left out.
    pub(crate) fn enter(&mut self, entry: Box<SourceEntry>, ask: bool) -> Option<Step> {
        self.take(entry, true, ask)
    }

    /// The step for an entry, with what is in it put next.
    fn take(&mut self, found: Box<SourceEntry>, whole: bool, ask: bool) -> Option<Step> {
        let is_dir = found.meta.kind == FileKind::Directory;
        let device = self.stack.last().map_or(found.meta.device, |frame| frame.device);
        match if is_dir { self.descend(&found, device, whole, ask) } else { Descent::Nothing } {
            Descent::LeftOut => None,
            Descent::Nothing => Some(Step::Entry(found)),
            Descent::Finding(finding) => {
                self.pending = Some(found);
                Some(Step::Finding(finding))
            }
        }
    }

    /// What the journal says about a directory.
    fn ask(&self, entry: &SourceEntry) -> Asked {
        let Some(Trust { changed, doubtful }) = &self.trust else { return Asked::Enter { ask: false } };
        let within = nightkeep_vault::reader::is_within;
        // On the way to another volume nothing is taken over: what lies there is not what the directory's handle leads to.
        if self.options.read_at.iter().any(|read_at| within(&read_at.path, &entry.path)) {
            return Asked::Enter { ask: true };
        }
        match changed.changes.beneath(FileId { device: entry.meta.device, inode: entry.meta.inode }) {
            Beneath::Unchanged if doubtful.iter().any(|path| within(path, &entry.path)) => Asked::Enter { ask: true },
            Beneath::Unchanged => Asked::Settled,
            Beneath::Changed | Beneath::Unwatched => Asked::Enter { ask: true },
            Beneath::Unknown => Asked::Enter { ask: false },
        }
    }

    /// Announces the directories among the entries that come next, as far as [`Walk::descend`] will certainly open them.
    fn announce(&self) {
        let (Some(ahead), Some(frame)) = (&self.ahead, self.stack.last()) else { return };
        if !frame.whole {
            return;
        }
        let coming = frame.entries.as_slice().iter().filter_map(|entry| {
            let meta = entry.meta.as_ref().ok()?;
            // Elsewhere something else may be mounted, which opening might wake.
            if meta.kind != FileKind::Directory || meta.device != frame.device {
                return None;
            }
            let path = frame.path_of(&entry.name);
            let is_left_out =
                self.skip.contains(&(meta.device, meta.inode)) || self.options.excludes.excludes(&path, true);
            let is_elsewhere = self.options.place_of(&path).is_some();
            (!is_left_out && !is_elsewhere).then(|| Coming {
                parent: frame.dir.clone(),
                name: entry.name.clone(),
                path,
            })
        });
        ahead.announce(coming.collect());
    }

    fn count_read(&self) {
        if let Some(trust) = &self.trust {
            trust.changed.count_read();
        }
    }

    /// Opens a directory and puts its entries next. Its own entry is returned by the caller first.
    fn descend(&mut self, entry: &SourceEntry, parent_device: u64, whole: bool, ask: bool) -> Descent {
        let (Some(parent), meta) = (&entry.dir, &entry.meta) else { return Descent::Nothing };
        if self.skip.contains(&(meta.device, meta.inode)) {
            return Descent::LeftOut;
        }
        let crosses = meta.device != parent_device;
        if crosses && self.mounts.as_ref().is_some_and(|mounts| mounts.class_of(meta.device) != MountClass::Local) {
            // The mount point itself is kept, what is mounted there is not.
            return Descent::Nothing;
        }
        let mut renumber = entry.renumber;
        let opened = match self.options.place_of(&entry.path) {
            Some(place) => Opened::open_at(place).and_then(|opened| {
                renumber = Renumber::new(opened.dir.self_meta()?.device, meta.device);
                Ok(opened)
            }),
            None => {
                let read_ahead = self.ahead.as_ref().and_then(|ahead| ahead.take(&entry.path));
                read_ahead.unwrap_or_else(|| Opened::open(parent, &entry.name))
            }
        };
        match opened {
            Ok(opened) if self.options.entire_machine && holds_vault(&opened.listing) => {
                tracing::info!(path = %String::from_utf8_lossy(&entry.path), "A folder that holds a vault is left out");
                Descent::LeftOut
            }
            Ok(Opened { dir, listing, entries }) => {
                self.count_read();
                let frame = FrameOf { path: entry.path.clone(), device: meta.device, whole, ask, renumber };
                self.push(Arc::new(dir), (listing, entries), frame);
                self.announce();
                Descent::Nothing
            }
            Err(error) => Descent::Finding(Finding::of_read(&entry.path, &error)),
        }
    }

    /// A directory with its names and the metadata of the first of them.
    fn push(&mut self, dir: Arc<Dir>, (listing, entries): (Listing, Vec<DirEntry>), of: FrameOf) {
        let FrameOf { path, device, whole, ask, renumber } = of;
        let entries = renumbered(entries, renumber).into_iter();
        self.stack.push(Frame { dir, path, listing, entries, device, whole, ask, renumber });
    }
}

/// What of a directory's frame does not come from its handle.
struct FrameOf {
    path: Vec<u8>,
    device: u64,
    whole: bool,
    ask: bool,
    renumber: Renumber,
}

enum Asked {
    Settled,
    Enter { ask: bool },
}

enum Descent {
    Nothing,
    LeftOut,
    Finding(Finding),
}

enum Wanted {
    No,
    Ancestor,
    Whole,
}

impl SourceOptions {
    /// How a path relates to the wanted roots.
    fn wants(&self, path: &[u8], parent_whole: bool) -> Wanted {
        if parent_whole {
            return Wanted::Whole;
        }
        let within = nightkeep_vault::reader::is_within;
        if self.roots.iter().any(|root| within(path, root)) {
            Wanted::Whole
        } else if self.roots.iter().any(|root| within(root, path)) {
            Wanted::Ancestor
        } else {
            Wanted::No
        }
    }
}

/// A vault on a local disk shows by its configuration and its folders for packs.
fn holds_vault(listing: &Listing) -> bool {
    listing.contains(b"cfg") && [b"p".as_slice(), b"keys", b"w"].iter().any(|name| listing.contains(name))
}

/// How many files and bytes a walk would find: the estimate of a first backup.
pub fn measure(options: &SourceOptions, stop: impl Fn() -> bool) -> Option<(u64, u64)> {
    let mut walk = Walk::new(options.clone()).ok()?;
    let (mut files, mut bytes) = (0, 0);
    while let Some(step) = walk.next_step() {
        if stop() {
            return None;
        }
        if let Step::Entry(entry) = step
            && entry.meta.kind == FileKind::Regular
        {
            files += 1;
            bytes += entry.meta.bytes;
        }
    }
    Some((files, bytes))
}
