//! Gathers the pieces of a large file; many of them go into content lists while the file is still being read.
//!
//! **Invariant**: memory does not grow with the file, and the lists are cut where the pieces say, not where reads ended.

use super::{BackupError, Shared};
use nightkeep_vault::catalogue::{self, CONTENT_LIST_PIECES_MAX, Content, ContentListRef, Piece};
use nightkeep_vault::id::BlobId;
use nightkeep_vault::reader::catalogue_id;

/// A file with more pieces than this keeps them in content lists instead of its entry.
const ENTRY_PIECES_MAX: usize = 256;

/// A content list on its way to the catalogue, ahead of the entry that names it.
#[derive(Debug)]
pub(crate) struct FinishedList {
    pub(crate) id: BlobId,
    pub(crate) plain: Vec<u8>,
    pub(crate) chunks: Vec<BlobId>,
}

/// Where finished lists go.
pub(crate) type ListOutlet<'o> = dyn FnMut(FinishedList) -> Result<(), BackupError> + 'o;

/// The pieces of one file so far.
pub(crate) struct Pieces<'a> {
    shared: &'a Shared<'a>,
    lists: Vec<ContentListRef>,
    pieces: Vec<Piece>,
    /// How many of `pieces` are known not to end a list.
    looked_at: usize,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, lists: Vec::new(), pieces: Vec::new(), looked_at: 0 }
    }

    /// Adds the next piece; neighbouring holes become one.
    pub(crate) fn push(&mut self, piece: Piece, out: &mut ListOutlet<'_>) -> Result<(), BackupError> {
        match (self.pieces.last_mut(), piece) {
            (_, Piece::Hole { bytes: 0 }) => return Ok(()),
            (Some(Piece::Hole { bytes }), Piece::Hole { bytes: more }) => *bytes += more,
            (_, piece) => self.pieces.push(piece),
        }
        if self.lists.is_empty() && self.pieces.len() <= ENTRY_PIECES_MAX {
            return Ok(());
        }
        // The last piece may be a hole that grows, which never ends a list.
        while let Some(length) = self.next_cut() {
            self.cut(length, out)?;
        }
        Ok(())
    }

    fn next_cut(&mut self) -> Option<usize> {
        let end = self.pieces.len().min(CONTENT_LIST_PIECES_MAX);
        let found = self.pieces[self.looked_at..end].iter().position(catalogue::ends_content_list);
        match found {
            Some(at) => Some(self.looked_at + at + 1),
            // One more than a list holds, so that a hole at its end is whole.
            None if self.pieces.len() > CONTENT_LIST_PIECES_MAX => Some(CONTENT_LIST_PIECES_MAX),
            None => {
                self.looked_at = end;
                None
            }
        }
    }

    fn cut(&mut self, length: usize, out: &mut ListOutlet<'_>) -> Result<(), BackupError> {
        let rest = self.pieces.split_off(length);
        let head = std::mem::replace(&mut self.pieces, rest);
        self.looked_at = 0;
        let plain = catalogue::encode_content_list(&head);
        let machine = self.shared.session.machine();
        let id = catalogue_id(&machine.meta, machine.id, &plain);
        self.lists.push(ContentListRef { id, bytes: head.iter().map(Piece::bytes).sum() });
        out(FinishedList { id, plain, chunks: chunk_ids(&head).collect() })
    }

    /// The content of the whole file.
    pub(crate) fn finish(mut self, out: &mut ListOutlet<'_>) -> Result<Content, BackupError> {
        if self.lists.is_empty() && self.pieces.len() <= ENTRY_PIECES_MAX {
            return Ok(if self.pieces.is_empty() { Content::Empty } else { Content::Pieces(self.pieces) });
        }
        while !self.pieces.is_empty() {
            let length = self.next_cut().unwrap_or(self.pieces.len());
            self.cut(length, out)?;
        }
        Ok(Content::Lists(self.lists))
    }
}

/// The chunks among pieces.
pub(crate) fn chunk_ids(pieces: &[Piece]) -> impl Iterator<Item = BlobId> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Chunk { id, .. } => Some(*id),
        Piece::Hole { .. } => None,
    })
}
