//! A window of files: fetched by pack, opened by block, written by whoever has the piece.
//!
//! **Invariant**: a file gets its length and metadata when its last piece is written, and is removed when one is missing.

use super::plan::{self, PackWants, Want};
use super::{RunError, Shared, chain};
use crate::progress::FindingKind;
use nightkeep_platform::files::{self, FileKind};
use nightkeep_platform::restore::{IfExists, Operation, RestoreError, TargetDir, set_len, write_at};
use nightkeep_vault::catalogue::{Content, Entry, Piece};
use nightkeep_vault::pack::Area;
use nightkeep_vault::reader::OpenPack;
use nightkeep_vault::vault::VaultError;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A window ends at so many files, directories (each a handle) or bytes of contents.
const WINDOW_FILES: usize = 8192;
const WINDOW_DIRS: usize = 256;
const WINDOW_BYTES: u64 = 256 << 20;

/// A file that is being written.
pub(crate) struct FileJob {
    dir: Arc<TargetDir>,
    entry: Entry,
    state: Mutex<FileState>,
    pieces_left: AtomicUsize,
    written: AtomicU64,
}

#[derive(Default)]
struct FileState {
    file: Option<Arc<File>>,
    /// It was made already, though its handle was let go.
    created: bool,
    failed: Option<(FindingKind, String)>,
}

/// The files of a window and the pieces they want.
#[derive(Default)]
pub(crate) struct Window {
    files: Vec<FileJob>,
    wants: Vec<Want>,
    dirs: usize,
    bytes: u64,
}

impl FileJob {
    pub(crate) fn new(dir: Arc<TargetDir>, entry: Entry) -> Self {
        let (state, pieces_left) = (Mutex::default(), AtomicUsize::new(0));
        Self { dir, entry, state, pieces_left, written: AtomicU64::new(0) }
    }

    /// The file, made at the first call.
    fn file(&self, if_exists: IfExists) -> Result<Arc<File>, RestoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &state.file {
            return Ok(file.clone());
        }
        let name = self.entry.name();
        let file = if state.created { self.dir.open_file(name)? } else { self.dir.create_file(name, if_exists)? };
        state.created = true;
        Ok(state.file.insert(Arc::new(file)).clone())
    }

    /// Makes the file and lets go of its handle, as a window may hold more files than the system lends handles.
    fn create(&self, if_exists: IfExists) -> Result<(), RestoreError> {
        self.file(if_exists)?;
        self.state.lock().unwrap_or_else(PoisonError::into_inner).file = None;
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64, if_exists: IfExists) -> Result<(), RestoreError> {
        let file = self.file(if_exists)?;
        write_at(&file, bytes, offset).map_err(|source| self.failed_write(source))?;
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn failed_write(&self, source: std::io::Error) -> RestoreError {
        RestoreError { operation: Operation::Write, name: self.entry.name().to_vec(), source }
    }

    fn fail(&self, kind: FindingKind, text: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed.get_or_insert((kind, text));
    }

    /// Ends the file: length, metadata; or its removal, when a piece is missing.
    fn finish(&self, shared: &Shared<'_>) -> Result<(), RunError> {
        let ended = self
            .file(shared.target.if_exists)
            .and_then(|file| set_len(&file, self.entry.bytes).map_err(|source| self.failed_write(source)));
        let state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        match (ended, state.failed) {
            (Err(error), _) => shared.unrestored(&self.entry, &error),
            (Ok(()), Some((kind, text))) => {
                let removed = self.dir.remove(self.entry.name());
                shared.finding(kind, &self.entry.path, text);
                removed.or_else(|error| shared.unrestored(&self.entry, &error))
            }
            (Ok(()), None) => {
                shared.set_attributes(&self.dir, &self.entry);
                shared.count(&self.entry);
                Ok(())
            }
        }
    }
}

impl Window {
    pub(crate) fn is_full(&self) -> bool {
        self.files.len() >= WINDOW_FILES || self.dirs >= WINDOW_DIRS || self.bytes >= WINDOW_BYTES
    }

    /// Plans a file's pieces, or writes it at once when nothing must be fetched.
    pub(crate) fn add(&mut self, shared: &Shared<'_>, job: FileJob, pieces: Vec<Piece>) -> Result<(), RunError> {
        if shared.target.resumes && is_whole(shared, &job, &pieces) {
            shared.set_attributes(&job.dir, &job.entry);
            shared.count(&job.entry);
            return Ok(());
        }
        if let Content::Inline(bytes) = &job.entry.content
            && let Err(error) = job.write(bytes, 0, shared.target.if_exists)
        {
            return shared.unrestored(&job.entry, &error);
        }
        // A file with several names must be there when the next name comes.
        if job.entry.extras.link_group.is_some()
            && let Err(error) = job.create(shared.target.if_exists)
        {
            return shared.unrestored(&job.entry, &error);
        }
        let (number, wanted) = (self.files.len() as u32, self.wants.len());
        let mut offset = 0;
        for piece in &pieces {
            if let Piece::Chunk { id, .. } = piece {
                match shared.index.chunk(id).map_err(VaultError::Index)? {
                    Some(location) => self.wants.push(Want { location, file: number, offset }),
                    None => {
                        let missing = VaultError::Missing { what: "chunk", id: id.to_string() };
                        job.fail(FindingKind::Damaged, missing.to_string());
                    }
                }
            }
            offset += piece.bytes();
        }
        let pieces_left = self.wants.len() - wanted;
        if pieces_left == 0 {
            return job.finish(shared);
        }
        job.pieces_left.store(pieces_left, Ordering::Relaxed);
        if self.files.last().is_none_or(|last| !Arc::ptr_eq(&last.dir, &job.dir)) {
            self.dirs += 1;
        }
        self.bytes += job.entry.bytes;
        self.files.push(job);
        Ok(())
    }

    /// Fetches and writes everything in the window.
    pub(crate) fn write(self, shared: &Shared<'_>) -> Result<(), RunError> {
        let packs = plan::by_pack(&shared.index, self.wants).map_err(VaultError::Index)?;
        let mut opened = Vec::with_capacity(packs.len());
        for wants in &packs {
            match shared.blocks.open(Area::Data, wants.id) {
                Ok(pack) => opened.push((pack, wants)),
                Err(error) => give_up(shared, &self.files, &wants.wants, &error)?,
            }
        }
        let split = |(pack, wants): &'_ (Arc<OpenPack>, &'_ PackWants)| -> Vec<_> {
            plan::reads(pack, &wants.wants).into_iter().map(|read| read.to_vec()).collect()
        };
        let reads: Vec<_> =
            opened.iter().flat_map(|open| split(open).into_iter().map(move |read| (&open.0, read))).collect();
        let next = AtomicUsize::new(0);
        let files = &self.files;
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..shared.workers.min(reads.len()))
                .map(|_| {
                    scope.spawn(|| {
                        while let Some((pack, read)) = reads.get(next.fetch_add(1, Ordering::Relaxed)) {
                            shared.check_stop()?;
                            write_read(shared, files, pack, read)?;
                        }
                        Ok(())
                    })
                })
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Err(RunError::Worker)))
        })
    }
}

fn write_read(shared: &Shared<'_>, files: &[FileJob], pack: &OpenPack, wants: &[Want]) -> Result<(), RunError> {
    let block = |want: &Want| pack.footer.blocks.get(want.location.block as usize);
    let (Some(first), Some(last)) = (wants.first().and_then(block), wants.last().and_then(block)) else {
        let missing = VaultError::Missing { what: "block of pack", id: pack.id.to_string() };
        return give_up(shared, files, wants, &missing);
    };
    let mut sealed = match shared.blocks.read_sealed(pack, first.offset, last.offset + last.sealed_bytes) {
        Ok(sealed) => sealed,
        Err(error) => return give_up(shared, files, wants, &error),
    };
    for wants in wants.chunk_by(|a, b| a.location.block == b.location.block) {
        let Some(info) = block(&wants[0]) else { continue };
        let start = (info.offset - first.offset) as usize;
        let Some(bytes) = sealed.get_mut(start..start + info.sealed_bytes as usize) else {
            let missing = VaultError::Missing { what: "block of pack", id: pack.id.to_string() };
            give_up(shared, files, wants, &missing)?;
            continue;
        };
        match shared.blocks.open_block(pack, info, bytes) {
            Err(error) => give_up(shared, files, wants, &error)?,
            Ok(plain) => {
                let mut starts = Vec::with_capacity(info.members.len());
                let mut at = 0;
                for member in &info.members {
                    starts.push(at);
                    at += member.bytes as usize;
                }
                for want in wants {
                    let member = want.location.member as usize;
                    let content = &plain[starts[member]..starts[member] + info.members[member].bytes as usize];
                    let job = &files[want.file as usize];
                    if let Err(error) = job.write(content, want.offset, shared.target.if_exists) {
                        job.fail(FindingKind::Unrestored, chain(&error));
                    }
                    piece_done(shared, job)?;
                }
            }
        }
    }
    Ok(())
}

/// Marks every file that needed these pieces.
fn give_up(shared: &Shared<'_>, files: &[FileJob], wants: &[Want], error: &VaultError) -> Result<(), RunError> {
    for want in wants {
        let job = &files[want.file as usize];
        job.fail(FindingKind::Damaged, chain(error));
        piece_done(shared, job)?;
    }
    Ok(())
}

fn piece_done(shared: &Shared<'_>, job: &FileJob) -> Result<(), RunError> {
    if job.pieces_left.fetch_sub(1, Ordering::AcqRel) == 1 { job.finish(shared) } else { Ok(()) }
}

/// Whether an interrupted restore left this file whole: length, time, and every byte.
fn is_whole(shared: &Shared<'_>, job: &FileJob, pieces: &[Piece]) -> bool {
    let entry = &job.entry;
    let Ok(Some(meta)) = job.dir.stat(entry.name()) else { return false };
    let modified = (meta.modified.seconds, meta.modified.nanoseconds);
    let settled = meta.kind == FileKind::Regular
        && meta.bytes == entry.bytes
        && modified == (entry.modified.seconds, entry.modified.nanoseconds);
    if !settled {
        return false;
    }
    let Ok(mut file) = job.dir.as_dir().open_file(entry.name()) else { return false };
    if files::file_meta(&file).is_ok_and(|meta| meta.links > 1) {
        return false;
    }
    if let Content::Inline(bytes) = &entry.content {
        let mut there = Vec::new();
        return file.read_to_end(&mut there).is_ok() && there == *bytes;
    }
    let key = shared.blocks.vault().keys().id.expose();
    let mut buffer = Vec::new();
    pieces.iter().all(|piece| {
        buffer.clear();
        match piece {
            Piece::Chunk { id, bytes } => {
                let read = (&file).take(*bytes).read_to_end(&mut buffer);
                read.is_ok() && blake3::keyed_hash(key, &buffer).as_bytes() == &id.0
            }
            Piece::Hole { bytes } => std::io::copy(&mut (&file).take(*bytes), &mut ZeroSink).is_ok(),
        }
    })
}

/// Accepts zero bytes only.
struct ZeroSink;

impl std::io::Write for ZeroSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.iter().all(|byte| *byte == 0) { Ok(bytes.len()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
