//! The first stage: walks the source beside the parent's catalogue and tells what must be read.
//!
//! **Invariant**: both run in the same order, so one entry of each is in memory at a time (and one hunk of the parent).

use super::parent::{Parent, Parents};
use super::settled::{self, Settled};
use super::{BackupError, Shared};
use crate::changed::ChangedDirs;
use crate::progress::Finding;
use crate::source::{SourceEntry, Step, Walk};
use nightkeep_platform::files::{FileKind, FileMeta};
use nightkeep_vault::catalogue::{Content, Entry, EntryKind, Extras, HunkRef, Piece, compare_paths};
use nightkeep_vault::codec::Time;
use nightkeep_vault::reader::is_within;
use std::cmp::Ordering;
use std::sync::Arc;

/// A batch ends at so many entries, bytes of contents, or directories (each holds a handle open).
const BATCH_ENTRIES: usize = 512;
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_DIRS: usize = 32;
/// Or at so many bytes of paths, which bounds what batches hold where paths are long.
const BATCH_PATH_BYTES: usize = 256 << 10;
/// Some filesystems keep times to two seconds: a file that changed this close to the parent's scan is read again.
const RACY_SECONDS: i64 = 2;

/// An entry on its way through the stages.
#[derive(Debug)]
pub(crate) enum Item {
    /// As in the parent; nothing is read.
    Unchanged(Box<Entry>),
    /// To be read; the flag tells whether the parent had the path.
    Read(Box<SourceEntry>, bool),
}

impl Item {
    fn path_bytes(&self) -> usize {
        match self {
            Item::Unchanged(entry) => entry.path.len(),
            Item::Read(entry, _) => entry.path.len(),
        }
    }
}

/// Entries in path order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Counts batches from 0, so that later stages can restore the order.
    pub(crate) number: u64,
    pub(crate) items: Vec<Item>,
}

/// The scanning stage.
pub(crate) struct Scan<'a> {
    shared: &'a Shared<'a>,
    walk: Walk,
    /// What the parents hold, what an interrupted run confirmed before the last point.
    cursors: Vec<ParentCursor>,
    /// What the change journal vouches for, and the subtree being taken over on its word.
    changed: Option<Arc<ChangedDirs>>,
    settled: Option<Settled>,
    /// Up to this path all was taken over before the parent's catalogue turned out to be unreadable.
    done_to: Option<Vec<u8>>,
    number: u64,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, walk: Walk, parents: &Parents) -> Self {
        let cursors = parents.newest_first().cloned().map(ParentCursor::new).collect();
        let changed = shared.options.changed.clone();
        Self { shared, walk, cursors, changed, settled: None, done_to: None, number: 0 }
    }

    /// The next batch; none at the end of the source.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, BackupError> {
        let mut batch = Batch { number: self.number, items: Vec::new() };
        let (mut bytes, mut path_bytes, mut dirs, mut last_dir) = (0, 0, 0, std::ptr::null());
        while batch.items.len() < BATCH_ENTRIES
            && bytes < BATCH_BYTES
            && path_bytes < BATCH_PATH_BYTES
            && dirs < BATCH_DIRS
        {
            self.shared.check_stop()?;
            let Some(item) = self.next_item() else { break };
            path_bytes += item.path_bytes();
            if let Item::Read(entry, _) = &item {
                bytes += entry.meta.bytes;
                let dir = entry.dir.as_ref().map_or(std::ptr::null(), Arc::as_ptr);
                if dir != last_dir {
                    last_dir = dir;
                    dirs += 1;
                }
            }
            batch.items.push(item);
        }
        self.number += 1;
        Ok(if batch.items.is_empty() { None } else { Some(batch) })
    }

    fn next_item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.take_over() {
                return Some(item);
            }
            let mut step = Some(self.walk.next_step()?);
            while let Some(taken) = step.take() {
                match taken {
                    Step::Finding(finding) => self.shared.finding(finding),
                    Step::Entry(entry) if self.is_done(&entry.path) => {}
                    Step::Entry(entry) => return Some(self.compare(entry)),
                    Step::Settled(entry) => match self.settle(entry) {
                        Ok(item) => return Some(item),
                        Err(entry) => step = self.walk.enter(entry, false),
                    },
                }
            }
        }
    }

    /// Begins to take over a directory; hands it back when the parent does not have this very one.
    fn settle(&mut self, entry: Box<SourceEntry>) -> Result<Item, Box<SourceEntry>> {
        let (Some(changed), Some(cursor)) = (&self.changed, self.cursors.last_mut()) else { return Err(entry) };
        let Some(before) = cursor.seek(&entry.path) else { return Err(entry) };
        if !settled::is_same_directory(&before, &entry) {
            cursor.put_back(before);
            return Err(entry);
        }
        self.settled = Some(Settled::new(entry, cursor.parent.clone(), changed.clone()));
        Ok(Item::Unchanged(Box::new(before)))
    }

    /// The next item of the subtree being taken over; none at its end.
    fn take_over(&mut self) -> Option<Item> {
        loop {
            let settled = self.settled.as_mut()?;
            let cursor = self.cursors.iter_mut().rfind(|cursor| Arc::ptr_eq(&cursor.parent, &settled.parent))?;
            let Ok(next) = cursor.next_within(&settled.top.path) else {
                // Read anew what is not taken over yet.
                let settled = self.settled.take()?;
                self.done_to = Some(settled.last);
                if let Some(Step::Finding(finding)) = self.walk.enter(settled.top, false) {
                    self.shared.finding(finding);
                }
                return None;
            };
            let Some(before) = next else {
                self.settled = None;
                return None;
            };
            if !settled.needs_look(&before) {
                return Some(Item::Unchanged(Box::new(before)));
            }
            match settled.look(&before.path) {
                Ok(Some(entry)) => {
                    cursor.put_back(before);
                    return Some(self.compare(Box::new(entry)));
                }
                Ok(None) => {}
                Err(error) => self.shared.finding(Finding::of_read(&before.path, &error)),
            }
        }
    }

    fn is_done(&self, path: &[u8]) -> bool {
        self.done_to.as_ref().is_some_and(|done| compare_paths(path, done).is_le())
    }

    fn compare(&mut self, entry: Box<SourceEntry>) -> Item {
        let mut existed = false;
        for cursor in &mut self.cursors {
            let Some(before) = cursor.seek(&entry.path) else { continue };
            existed = true;
            let racy = cursor.parent.started_seconds() - RACY_SECONDS;
            let same = is_unchanged(&before, &entry, racy);
            if same && (cursor.parent.healthy || all_chunks_known(self.shared, &cursor.parent, &before)) {
                // Device numbers may differ from boot to boot, and all names of a file must agree.
                let extras = Extras { link_group: link_group(&entry.meta), ..before.extras };
                return Item::Unchanged(Box::new(Entry { extras, ..before }));
            }
        }
        Item::Read(entry, existed)
    }
}

/// Whether everything a stat tells is as it was, and the times are old enough to be trusted.
fn is_unchanged(before: &Entry, now: &SourceEntry, racy_seconds: i64) -> bool {
    let meta = &now.meta;
    let same_file = before.kind == entry_kind(meta.kind)
        && before.inode == meta.inode
        && before.mode == meta.mode
        && before.uid == meta.uid
        && before.gid == meta.gid
        && before.modified == time(meta.modified)
        && before.changed == time(meta.changed)
        && before.extras.ancestor == now.ancestor
        && before.extras.link_group.is_some() == link_group(meta).is_some()
        && !before.extras.inconsistent;
    let same_size = before.kind != EntryKind::File || before.bytes == meta.bytes;
    let settled = meta.changed.seconds < racy_seconds && meta.modified.seconds < racy_seconds;
    same_file && same_size && settled
}

/// What the names of one file have in common; none for a file with a single name.
pub(crate) fn link_group(meta: &FileMeta) -> Option<u64> {
    let linked = meta.links > 1 && meta.kind != FileKind::Directory;
    linked.then(|| meta.inode ^ meta.device.rotate_left(40))
}

/// A parent with a lost pack: a file is taken over only when each of its chunks is still to be had.
fn all_chunks_known(shared: &Shared<'_>, parent: &Parent, entry: &Entry) -> bool {
    let known = |piece: &Piece| match piece {
        Piece::Chunk { id, .. } => shared.known.is_in_index(id).is_ok_and(|known| known),
        Piece::Hole { .. } => true,
    };
    match &entry.content {
        Content::Empty | Content::Inline(_) => true,
        Content::Pieces(pieces) => pieces.iter().all(known),
        Content::Lists(lists) => {
            lists.iter().all(|list| parent.content_list(&list.id).is_ok_and(|pieces| pieces.iter().all(known)))
        }
    }
}

pub(crate) fn time(timestamp: nightkeep_platform::files::Timestamp) -> Time {
    Time { seconds: timestamp.seconds, nanoseconds: timestamp.nanoseconds }
}

pub(crate) fn entry_kind(kind: FileKind) -> EntryKind {
    match kind {
        FileKind::Regular => EntryKind::File,
        FileKind::Directory => EntryKind::Directory,
        FileKind::Symlink => EntryKind::Symlink,
        FileKind::Fifo => EntryKind::Fifo,
        FileKind::Socket => EntryKind::Socket,
        FileKind::CharDevice => EntryKind::CharDevice,
        FileKind::BlockDevice => EntryKind::BlockDevice,
    }
}

/// The parent's catalogue, read forward.
struct ParentCursor {
    parent: Arc<Parent>,
    next_hunk: usize,
    /// An entry that was taken and is wanted again.
    put_back: Option<Entry>,
    entries: std::iter::Peekable<std::vec::IntoIter<Entry>>,
}

/// A part of the parent's catalogue that cannot be read.
struct Unreadable;

impl ParentCursor {
    fn new(parent: Arc<Parent>) -> Self {
        Self { parent, next_hunk: 0, put_back: None, entries: Vec::new().into_iter().peekable() }
    }

    /// The parent's entry of a path. Paths must be asked for in rising order.
    fn seek(&mut self, path: &[u8]) -> Option<Entry> {
        if let Some(entry) = self.put_back.take()
            && entry.path == path
        {
            return Some(entry);
        }
        loop {
            while let Some(entry) = self.entries.peek() {
                match compare_paths(&entry.path, path) {
                    Ordering::Less => {
                        self.entries.next();
                    }
                    Ordering::Equal => return self.entries.next(),
                    Ordering::Greater => return None,
                }
            }
            let hunk = self.parent.hunks().get(self.next_hunk)?;
            // A hunk whose successor begins at or before the path holds nothing for it.
            let skip = self
                .parent
                .hunks()
                .get(self.next_hunk + 1)
                .is_some_and(|after| compare_paths(&after.first_path, path).is_le());
            self.next_hunk += 1;
            if skip {
                continue;
            }
            // Its files are read anew when it cannot be read.
            let _ = self.read(hunk.clone());
        }
    }

    /// To be answered again by the next [`seek`](Self::seek) for its path.
    fn put_back(&mut self, entry: Entry) {
        self.put_back = Some(entry);
    }

    /// The next entry, when it lies beneath a directory that was sought last.
    fn next_within(&mut self, directory: &[u8]) -> Result<Option<Entry>, Unreadable> {
        loop {
            if let Some(next) = self.entries.peek() {
                let within = is_within(&next.path, directory);
                return Ok(if within { self.entries.next() } else { None });
            }
            let Some(hunk) = self.parent.hunks().get(self.next_hunk).cloned() else { return Ok(None) };
            if !is_within(&hunk.first_path, directory) {
                return Ok(None);
            }
            self.next_hunk += 1;
            self.read(hunk)?;
        }
    }

    fn read(&mut self, hunk: HunkRef) -> Result<(), Unreadable> {
        match self.parent.read_hunk(&hunk) {
            Ok(entries) => self.entries = entries.into_iter().peekable(),
            Err(error) => {
                tracing::warn!(%error, "A part of the last catalogue cannot be read; its files are read anew");
                return Err(Unreadable);
            }
        }
        Ok(())
    }
}
