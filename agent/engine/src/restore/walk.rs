//! The catalogue in path order: folders, links and nodes at once, files into windows.
//!
//! **Invariant**: one content list of a file is in memory at a time, so a file of any size is planned in bounded memory.

use super::file::FileJob;
use super::folders::{Folder, Folders};
use super::siblings::{Name, Siblings};
use super::transfer::Sender;
use super::window::{Link, Window};
use super::{RunError, Shared, chain, resume};
use crate::progress::FindingKind;
use nightkeep_platform::restore::TargetDir;
use nightkeep_vault::catalogue::{Content, Entry, EntryKind, Piece};
use nightkeep_vault::reader::{CatalogueReader, is_within};
use std::collections::HashMap;
use std::sync::Arc;

/// The mode of a folder until all below it is done.
const PRIVATE_DIR_MODE: u32 = 0o700;

/// A catalogue that contradicts itself.
const WRONG_LENGTH: &str = "the catalogue gives it contents of another length than its own";

/// A restore that walks the catalogue.
pub(crate) struct Walk<'a> {
    shared: &'a Shared<'a>,
    catalogue: &'a CatalogueReader,
    include: &'a [Vec<u8>],
    sender: &'a Sender<'a>,
    window: Window,
    folders: Folders,
    siblings: Siblings,
    /// The first restored name of each file with several.
    links: HashMap<u64, FirstName>,
    /// The root of the machine, whose metadata come last of all.
    root: Option<Entry>,
}

struct FirstName {
    path: Vec<u8>,
    kind: EntryKind,
    bytes: u64,
    content: u64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        shared: &'a Shared<'a>,
        catalogue: &'a CatalogueReader,
        include: &'a [Vec<u8>],
        sender: &'a Sender<'a>,
    ) -> Self {
        let (window, folders, siblings) = Default::default();
        Self { shared, catalogue, include, sender, window, folders, siblings, links: HashMap::new(), root: None }
    }

    /// Walks to the end; answers the entry of the root, if it is wanted.
    pub(crate) fn run(mut self) -> Result<Option<Entry>, RunError> {
        for hunk in &self.catalogue.hunks {
            match self.catalogue.hunk(hunk) {
                Ok(entries) => {
                    for entry in entries.into_iter().filter(|entry| is_wanted(self.include, &entry.path)) {
                        self.shared.check_stop()?;
                        self.add(entry)?;
                    }
                }
                Err(error) => {
                    let text = format!("a part of the catalogue that begins here cannot be read: {}", chain(&error));
                    self.shared.finding(FindingKind::Damaged, &hunk.first_path, text);
                }
            }
        }
        let left = self.folders.leave_all();
        self.leave(left);
        self.flush()?;
        Ok(self.root)
    }

    fn flush(&mut self) -> Result<(), RunError> {
        self.sender.send(std::mem::take(&mut self.window))
    }

    fn leave(&mut self, folders: Vec<Folder>) {
        self.window.folders.extend(folders.into_iter().filter(Folder::was_made));
    }

    /// Makes an entry at once, or plans its contents.
    fn add(&mut self, entry: Entry) -> Result<(), RunError> {
        if entry.path.is_empty() {
            self.root = Some(entry);
            return Ok(());
        }
        let left = self.folders.leave(&entry.path);
        self.leave(left);
        if !self.has_own_name(&entry) {
            return Ok(());
        }
        let dir = match self.folders.parent(&self.shared.target, &entry.path) {
            Ok(dir) => dir,
            Err(error) => return self.shared.unrestored(&entry, &error),
        };
        if let Some(first) = self.first_name(&entry) {
            self.window.links.push(Link { entry, dir, first });
            return self.flush_if_full();
        }
        match entry.kind {
            EntryKind::File => self.file(entry, dir),
            EntryKind::Directory => {
                self.folder(entry, &dir)?;
                self.flush_if_full()
            }
            EntryKind::Symlink
            | EntryKind::Fifo
            | EntryKind::Socket
            | EntryKind::CharDevice
            | EntryKind::BlockDevice => self.node(&entry, &dir),
        }
    }

    /// Whether the target can hold this entry beside those before it; tells when it cannot.
    fn has_own_name(&mut self, entry: &Entry) -> bool {
        let target = &self.shared.target;
        if !target.folds_case {
            return true;
        }
        let is_folder = entry.kind == EntryKind::Directory;
        match self.siblings.judge(&entry.path, is_folder, |one, other| target.takes_for_one(one, other)) {
            Name::Own => true,
            Name::Beneath => false,
            Name::Taken(other) => {
                let what = if is_folder { "it and all in it are" } else { "it is" };
                let text = format!(
                    "{what} left out: this target takes its name for {:?}, which was restored; restore it alone, into another folder, with --include",
                    String::from_utf8_lossy(&other)
                );
                self.shared.finding(FindingKind::Unrestored, &entry.path, text);
                false
            }
        }
    }

    fn flush_if_full(&mut self) -> Result<(), RunError> {
        if self.window.is_full() { self.flush() } else { Ok(()) }
    }

    fn folder(&mut self, entry: Entry, dir: &TargetDir) -> Result<(), RunError> {
        let target = &self.shared.target;
        match dir.create_dir(entry.name(), target.if_exists) {
            Ok(made) => {
                self.shared.count(&entry);
                let known = target.birth.map(|birth| birth.with_mode(PRIVATE_DIR_MODE));
                self.folders.enter(entry, Some(made), known);
                Ok(())
            }
            Err(error) => {
                let told = self.shared.unrestored(&entry, &error);
                self.folders.enter(entry, None, None);
                told
            }
        }
    }

    fn node(&mut self, entry: &Entry, dir: &TargetDir) -> Result<(), RunError> {
        match self.shared.target.make(dir, entry) {
            Ok(()) => {
                self.shared.count(entry);
                self.shared.set_attributes(dir, entry);
                Ok(())
            }
            Err(error) => self.shared.unrestored(entry, &error),
        }
    }

    fn file(&mut self, entry: Entry, dir: Arc<TargetDir>) -> Result<(), RunError> {
        let stated = entry.bytes;
        match entry.content.clone() {
            Content::Empty if stated == 0 => self.plain(entry, dir),
            Content::Inline(bytes) if stated == bytes.len() as u64 => self.plain(entry, dir),
            Content::Pieces(pieces) if stated == length(&pieces) => self.pieces(entry, dir, &pieces),
            Content::Lists(lists) => {
                let file = Arc::new(FileJob::new(dir, entry));
                self.lists(&file, lists.iter().map(|list| list.id))?;
                file.piece_done(self.shared)
            }
            Content::Empty | Content::Inline(_) | Content::Pieces(_) => {
                self.shared.finding(FindingKind::Damaged, &entry.path, WRONG_LENGTH.to_owned());
                Ok(())
            }
        }
    }

    fn plain(&mut self, entry: Entry, dir: Arc<TargetDir>) -> Result<(), RunError> {
        self.window.add_plain(FileJob::with_pieces(dir, entry, &[]));
        self.flush_if_full()
    }

    fn pieces(&mut self, entry: Entry, dir: Arc<TargetDir>, pieces: &[Piece]) -> Result<(), RunError> {
        let shared = self.shared;
        if self.window.ends_before(shared, pieces.first())? {
            self.flush()?;
        }
        let file = Arc::new(FileJob::with_pieces(dir, entry, pieces));
        let there = resume::pieces_there(shared, &file, pieces, 0);
        if !there.is_empty() {
            file.take_over();
        }
        self.window.add_file(file.clone());
        self.window.add_pieces(shared, pieces, &there, 0)?;
        file.piece_done(shared)
    }

    /// Plans a large file list by list; its windows may end in between.
    fn lists(
        &mut self,
        file: &Arc<FileJob>,
        lists: impl Iterator<Item = nightkeep_vault::id::BlobId>,
    ) -> Result<(), RunError> {
        let mut offset = 0;
        self.window.add_file(file.clone());
        for (n, list) in lists.enumerate() {
            let pieces = match self.catalogue.content_list(&list) {
                Ok(pieces) => pieces,
                Err(error) => {
                    file.fail(FindingKind::Damaged, chain(&error));
                    return Ok(());
                }
            };
            let there = resume::pieces_there(self.shared, file, &pieces, offset);
            if n == 0 && !there.is_empty() {
                file.take_over();
            }
            offset = self.window.add_pieces(self.shared, &pieces, &there, offset)?;
            if self.window.is_full() {
                self.flush()?;
                self.window.add_file(file.clone());
            }
        }
        if offset != file.entry.bytes {
            file.fail(FindingKind::Damaged, WRONG_LENGTH.to_owned());
        }
        Ok(())
    }

    /// The first name of a file that this is a further name of.
    fn first_name(&mut self, entry: &Entry) -> Option<Vec<u8>> {
        let group = entry.extras.link_group?;
        let content = fingerprint(&entry.content);
        let is_same =
            |first: &FirstName| (first.kind, first.bytes, first.content) == (entry.kind, entry.bytes, content);
        if let Some(first) = self.links.get(&group).filter(|first| is_same(first)) {
            return Some(first.path.clone());
        }
        let first = FirstName { path: entry.path.clone(), kind: entry.kind, bytes: entry.bytes, content };
        self.links.insert(group, first);
        None
    }
}

fn length(pieces: &[Piece]) -> u64 {
    pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.bytes()))
}

/// Tells contents apart without keeping them.
fn fingerprint(content: &Content) -> u64 {
    let mut hasher = blake3::Hasher::new();
    match content {
        Content::Empty => {}
        Content::Inline(bytes) => {
            hasher.update(bytes);
        }
        Content::Pieces(pieces) => pieces.iter().for_each(|piece| {
            match piece {
                Piece::Chunk { id, .. } => hasher.update(&id.0),
                Piece::Hole { bytes } => hasher.update(&bytes.to_le_bytes()),
            };
        }),
        Content::Lists(lists) => lists.iter().for_each(|list| {
            hasher.update(&list.id.0);
        }),
    }
    let hash = *hasher.finalize().as_bytes();
    u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

/// Whether an entry is asked for, or leads to one that is.
fn is_wanted(include: &[Vec<u8>], path: &[u8]) -> bool {
    include.is_empty() || include.iter().any(|wanted| is_within(path, wanted) || is_within(wanted, path))
}
