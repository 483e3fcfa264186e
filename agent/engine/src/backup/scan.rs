//! The first stage: walks the source beside the parent's catalogue and tells what must be read.
//!
//! **Invariant**: both run in the same order, so one entry of each is in memory at a time (and one hunk of the parent).

use super::parent::{Parent, Parents};
use super::{BackupError, Shared};
use crate::source::{SourceEntry, Step, Walk};
use nightkeep_platform::files::{FileKind, FileMeta};
use nightkeep_vault::catalogue::{Content, Entry, EntryKind, Extras, Piece, compare_paths};
use nightkeep_vault::codec::Time;
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
    number: u64,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, walk: Walk, parents: &Parents) -> Self {
        let cursors = parents.newest_first().cloned().map(ParentCursor::new).collect();
        Self { shared, walk, cursors, number: 0 }
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
            match self.walk.next_step() {
                None => break,
                Some(Step::Finding(finding)) => self.shared.finding(finding),
                Some(Step::Entry(entry)) => {
                    path_bytes += entry.path.len();
                    let item = self.compare(entry);
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
            }
        }
        self.number += 1;
        Ok(if batch.items.is_empty() { None } else { Some(batch) })
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
    entries: std::iter::Peekable<std::vec::IntoIter<Entry>>,
}

impl ParentCursor {
    fn new(parent: Arc<Parent>) -> Self {
        Self { parent, next_hunk: 0, entries: Vec::new().into_iter().peekable() }
    }

    /// The parent's entry of a path. Paths must be asked for in rising order.
    fn seek(&mut self, path: &[u8]) -> Option<Entry> {
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
            match self.parent.read_hunk(hunk) {
                Ok(entries) => self.entries = entries.into_iter().peekable(),
                Err(error) => {
                    tracing::warn!(%error, "A part of the last catalogue cannot be read; its files are read anew")
                }
            }
        }
    }
}
