//! A window: neighbouring files, links and folders of the catalogue, and the pieces they want.
//!
//! **Invariant**: links and the metadata of folders of a window wait until every file of it, and of the windows before
//! it, has ended.

use super::file::FileJob;
use super::folders::Folder;
use super::plan::Want;
use super::{RunError, Shared};
use crate::progress::FindingKind;
use nightkeep_platform::restore::TargetDir;
use nightkeep_vault::catalogue::{Content, Entry, EntryKind, Piece};
use nightkeep_vault::vault::VaultError;
use std::sync::Arc;

/// A window ends at so many files, folders (each holds a handle), pieces or bytes of contents.
const FILES_MAX: usize = 4096;
const FOLDERS_MAX: usize = 128;
const WANTS_MAX: usize = 32_768;
const BYTES_MAX: u64 = 256 << 20;
/// And goes on to the end of the block it is in, up to this many times the bounds.
const STRETCH: usize = 2;

/// A further name of a file.
pub(crate) struct Link {
    pub(crate) entry: Entry,
    pub(crate) dir: Arc<TargetDir>,
    /// Where the file's first name was restored.
    pub(crate) first: Vec<u8>,
}

/// What is restored together.
#[derive(Default)]
pub(crate) struct Window {
    /// Files that want pieces.
    pub(crate) files: Vec<Arc<FileJob>>,
    pub(crate) wants: Vec<Want>,
    /// Files whose contents lie in the catalogue, or that have none.
    pub(crate) plain: Vec<FileJob>,
    pub(crate) links: Vec<Link>,
    /// Folders that nothing more comes into, children before parents.
    pub(crate) folders: Vec<Folder>,
    bytes: u64,
}

impl Window {
    /// Whether something must be written before more is planned.
    pub(crate) fn is_full(&self) -> bool {
        self.fullness(1)
    }

    fn fullness(&self, times: usize) -> bool {
        self.files.len() + self.plain.len() + self.links.len() >= FILES_MAX * times
            || self.folders.len() >= FOLDERS_MAX
            || self.wants.len() >= WANTS_MAX * times
            || self.bytes >= BYTES_MAX * times as u64
    }

    /// Whether the window should end before a file whose first piece is `next`: a block that is cut is read twice.
    pub(crate) fn ends_before(&self, shared: &Shared<'_>, next: Option<&Piece>) -> Result<bool, RunError> {
        if !self.is_full() || self.fullness(STRETCH) {
            return Ok(self.is_full());
        }
        let (Some(last), Some(Piece::Chunk { id, .. })) = (self.wants.last(), next) else { return Ok(true) };
        let next = shared.places.chunk(id).map_err(VaultError::Index)?;
        Ok(next.is_none_or(|next| (next.pack, next.block) != (last.place.pack, last.place.block)))
    }

    /// Plans a file that needs nothing from a pack.
    pub(crate) fn add_plain(&mut self, file: FileJob) {
        self.bytes += file.entry.bytes;
        self.plain.push(file);
    }

    /// Begins a file; its pieces follow by [`Window::add_pieces`].
    pub(crate) fn add_file(&mut self, file: Arc<FileJob>) {
        self.files.push(file);
    }

    /// Plans the next pieces of the newest file, from `offset`. Pieces that the target has already are left out.
    pub(crate) fn add_pieces(
        &mut self,
        shared: &Shared<'_>,
        pieces: &[Piece],
        there: &[bool],
        mut offset: u64,
    ) -> Result<u64, RunError> {
        let number = self.files.len().saturating_sub(1) as u32;
        let Some(file) = self.files.last() else { return Ok(offset) };
        for (n, piece) in pieces.iter().enumerate() {
            if let Piece::Chunk { id, bytes } = piece
                && !there.get(n).copied().unwrap_or(false)
            {
                if let Some(place) = shared.places.chunk(id).map_err(VaultError::Index)? {
                    file.expect_piece();
                    self.wants.push(Want { place, id: *id, bytes: *bytes, file: number, offset });
                    self.bytes += bytes;
                } else {
                    let missing = VaultError::Missing { what: "chunk", id: id.to_string() };
                    file.fail(FindingKind::Damaged, missing.to_string());
                }
            }
            offset = offset.saturating_add(piece.bytes());
        }
        Ok(offset)
    }

    /// What is left when all files of this window and of those before have ended.
    pub(crate) fn close(&mut self, shared: &Shared<'_>) -> Result<(), RunError> {
        for link in self.links.drain(..) {
            make_link(shared, &link)?;
        }
        for folder in self.folders.drain(..) {
            shared.set_folder(&folder);
        }
        Ok(())
    }
}

fn make_link(shared: &Shared<'_>, link: &Link) -> Result<(), RunError> {
    if link.entry.extras.link_group.is_some_and(|group| shared.is_lost(group)) {
        let text = format!("its first name {} could not be restored", String::from_utf8_lossy(&link.first));
        shared.finding(FindingKind::Damaged, &link.entry.path, text);
        return Ok(());
    }
    match shared.target.link(&link.dir, link.entry.name(), &link.first) {
        Ok(()) => {
            shared.count(&link.entry);
            Ok(())
        }
        Err(error) => shared.unrestored(&link.entry, &error),
    }
}

/// Writes a file whose contents are at hand.
pub(crate) fn write_plain(shared: &Shared<'_>, file: &FileJob) -> Result<(), RunError> {
    debug_assert_eq!(file.entry.kind, EntryKind::File);
    if let Content::Inline(bytes) = &file.entry.content {
        file.write(shared, bytes, 0)?;
    }
    file.piece_done(shared)
}
