//! One file that is being written, by whoever has a piece of it.
//!
//! **Invariant**: a file gets its length and metadata when its last piece is written, and is removed when one is missing.

use super::target::attributes;
use super::{RunError, Shared};
use crate::progress::FindingKind;
use nightkeep_platform::restore::{Known, Operation, RestoreError, TargetDir, set_file_attributes, set_len, write_at};
use nightkeep_vault::catalogue::{Entry, Piece};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a file may be opened by while others could still open it: its owner alone.
const PRIVATE_MODE: u32 = 0o600;
/// Handles kept for files that wait for further pieces; beyond, they are opened again.
const WAITING_HANDLES_MAX: u64 = 128;

/// A file that is being written.
pub(crate) struct FileJob {
    pub(crate) dir: Arc<TargetDir>,
    pub(crate) entry: Entry,
    /// A file without holes at its end: writing gives it its length.
    ends_with_bytes: bool,
    /// It is written by one hand, so that nobody opens it a second time.
    is_small: bool,
    /// Pieces to be written, and one more while pieces are still being planned.
    left: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    origin: Origin,
    failed: Option<(FindingKind, String)>,
}

/// How the file came to be.
#[derive(Debug, Clone, Copy, Default)]
enum Origin {
    /// It was not made yet.
    #[default]
    None,
    /// This run created it, with these attributes where they are known.
    Created(Option<Known>),
    /// An interrupted run left it, and some of its pieces are right.
    Found,
}

impl FileJob {
    /// A file whose pieces are not all known yet.
    pub(crate) fn new(dir: Arc<TargetDir>, entry: Entry) -> Self {
        Self::ending(dir, entry, false, false)
    }

    /// A file with these pieces; without any, its contents lie in the catalogue.
    pub(crate) fn with_pieces(dir: Arc<TargetDir>, entry: Entry, pieces: &[Piece]) -> Self {
        let ends_with_hole = matches!(pieces.last(), Some(Piece::Hole { .. }));
        Self::ending(dir, entry, !ends_with_hole, pieces.len() <= 1)
    }

    fn ending(dir: Arc<TargetDir>, entry: Entry, ends_with_bytes: bool, is_small: bool) -> Self {
        Self { dir, entry, ends_with_bytes, is_small, left: AtomicU64::new(1), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the file that an interrupted run left.
    pub(crate) fn take_over(&self) {
        self.state().origin = Origin::Found;
    }

    /// Whether it was taken over.
    pub(crate) fn is_taken_over(&self) -> bool {
        matches!(self.state().origin, Origin::Found)
    }

    /// One more piece will be written.
    pub(crate) fn expect_piece(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes a piece of a file; several at once are fine.
    pub(crate) fn write(&self, shared: &Shared<'_>, bytes: &[u8], offset: u64) -> Result<(), RunError> {
        let mut state = self.state();
        if state.failed.is_some() {
            return Ok(());
        }
        let written = self
            .opened(shared, &mut state)
            .and_then(|file| write_at(file, bytes, offset).map_err(|source| self.refused(Operation::Write, source)));
        written.or_else(|error| {
            state.failed = Some((FindingKind::Unrestored, super::chain(&error)));
            shared.target.check_space(&error)
        })
    }

    /// The open file, made or opened when it is not.
    fn opened<'s>(&self, shared: &Shared<'_>, state: &'s mut State) -> Result<&'s File, RestoreError> {
        let name = self.entry.name();
        if state.file.is_none() {
            let file = match state.origin {
                Origin::None => {
                    let (file, known) = self.create(shared)?;
                    state.origin = Origin::Created(known);
                    file
                }
                Origin::Created(_) | Origin::Found => self.dir.open_file(name)?,
            };
            shared.waiting_handles.fetch_add(1, Ordering::Relaxed);
            state.file = Some(file);
        }
        state.file.as_ref().ok_or_else(|| self.refused(Operation::Open, std::io::ErrorKind::NotFound.into()))
    }

    /// Creates the file with its own mode where nobody but its readers to be could open it, else for its owner alone.
    fn create(&self, shared: &Shared<'_>) -> Result<(File, Option<Known>), RestoreError> {
        let (birth, if_exists) = (shared.target.birth, shared.target.if_exists);
        let is_ours = birth.is_some_and(|birth| (birth.uid, birth.gid) == (self.entry.uid, self.entry.gid));
        let mode = if is_ours && self.is_small { self.entry.mode & 0o777 } else { PRIVATE_MODE };
        let file = self.dir.create_file_with(self.entry.name(), mode, &self.entry.extras.xattrs, if_exists)?;
        Ok((file, birth.map(|birth| birth.with_mode(mode))))
    }

    fn refused(&self, operation: Operation, source: std::io::Error) -> RestoreError {
        RestoreError { operation, name: self.entry.name().to_vec(), source }
    }

    /// A piece cannot be had.
    pub(crate) fn fail(&self, kind: FindingKind, text: String) {
        self.state().failed.get_or_insert((kind, text));
    }

    /// A piece is written or given up, or the last one was planned; whoever comes last ends the file.
    pub(crate) fn piece_done(&self, shared: &Shared<'_>) -> Result<(), RunError> {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            return self.finish(shared);
        }
        if shared.waiting_handles.load(Ordering::Relaxed) > WAITING_HANDLES_MAX {
            self.let_go(shared, &mut self.state());
        }
        Ok(())
    }

    fn let_go(&self, shared: &Shared<'_>, state: &mut State) {
        if state.file.take().is_some() {
            shared.waiting_handles.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends the file: length, metadata; or its removal, when a piece is missing.
    fn finish(&self, shared: &Shared<'_>) -> Result<(), RunError> {
        let mut state = self.state();
        if let Some((kind, text)) = state.failed.take() {
            let made = !matches!(state.origin, Origin::None);
            self.let_go(shared, &mut state);
            if let Some(group) = self.entry.extras.link_group {
                shared.lost_groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
            }
            shared.finding(kind, &self.entry.path, text);
            let removed = if made { self.dir.remove(self.entry.name()) } else { Ok(()) };
            return removed.or_else(|error| shared.unrestored(&self.entry, &error));
        }
        let ended = self.settle(shared, &mut state);
        self.let_go(shared, &mut state);
        match ended {
            Ok(refused) => {
                shared.note_refused(&self.entry, &refused);
                shared.count(&self.entry);
                Ok(())
            }
            Err(error) => shared.unrestored(&self.entry, &error),
        }
    }

    /// Length and metadata; answers what of the metadata was refused.
    fn settle(&self, shared: &Shared<'_>, state: &mut State) -> Result<Vec<RestoreError>, RestoreError> {
        self.opened(shared, state)?;
        let (known, is_new) = match state.origin {
            Origin::Created(known) => (known, true),
            Origin::None | Origin::Found => (None, false),
        };
        let file = self.opened(shared, state)?;
        if !is_new || !self.ends_with_bytes {
            set_len(file, self.entry.bytes).map_err(|source| self.refused(Operation::Write, source))?;
        }
        Ok(set_file_attributes(file, self.entry.name(), &attributes(&self.entry), known))
    }
}
