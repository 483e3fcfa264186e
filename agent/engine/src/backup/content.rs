//! The second stage: reads what changed, cuts, names, and hands on what the vault does not hold.
//!
//! **Invariant**: a file's entry tells of the bytes that were read, and says so when they changed meanwhile.

use super::known::Claim;
use super::scan::{Batch, Item, entry_kind, link_group, time};
use super::{BackupError, Shared};
use crate::progress::{Finding, FindingKind};
use crate::source::SourceEntry;
use nightkeep_platform::files::{self, FileKind, FileMeta, Xattr};
use nightkeep_vault::catalogue::{Content, Entry, EntryKind, Extras, Piece};
use nightkeep_vault::id::BlobId;
use nightkeep_vault::pack::{BlockType, Codec, Member, PreparedBlock};
use nightkeep_vault::record::point::Totals;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// Small files are joined up to this many bytes: larger bundles compress better, smaller ones restore one file faster.
const BUNDLE_BYTES: usize = 1 << 20;
/// A file up to this size that changed while it was read is read again, so many times at most.
const RETRY_BYTES_MAX: u64 = 16 << 20;
const READS_MAX: usize = 3;
/// Extended attributes of one entry, names and values, that the catalogue takes.
const XATTR_BYTES_MAX: usize = 1 << 20;
/// A block that compression makes no smaller than this share is stored as it is.
const WORTHWHILE: f64 = 0.97;

/// Content that the vault lacks, before compression.
#[derive(Debug)]
pub(crate) struct RawBlock {
    pub(crate) block_type: BlockType,
    pub(crate) plain: Vec<u8>,
    pub(crate) members: Vec<Member>,
}

/// The entries of a batch, with their contents' ids.
#[derive(Debug)]
pub(crate) struct Processed {
    pub(crate) number: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) totals: Totals,
}

/// Contents of files with several names, so that each is read once.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<(u64, u64), Arc<LinkSlot>>>);

/// One such file; whoever reads it holds the lock, and who meets another name of it meanwhile waits.
type LinkSlot = Mutex<Option<(FileMeta, Content)>>;

/// The content stage; one for each worker.
pub(crate) struct ContentStage<'a> {
    shared: &'a Shared<'a>,
    links: &'a Links,
    bundle: RawBlock,
    buffer: Vec<u8>,
    totals: Totals,
    /// Bytes of the batch that were told of while a large file was read.
    told: u64,
}

type Emit<'e> = dyn FnMut(RawBlock) -> Result<(), BackupError> + 'e;

impl<'a> ContentStage<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, links: &'a Links) -> Self {
        Self { shared, links, bundle: empty_bundle(), buffer: Vec::new(), totals: Totals::default(), told: 0 }
    }

    /// Reads a batch; blocks to send go to `emit`.
    pub(crate) fn process(&mut self, batch: Batch, emit: &mut Emit<'_>) -> Result<Processed, BackupError> {
        (self.totals, self.told) = (Totals::default(), 0);
        let mut entries = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            self.shared.check_stop()?;
            let entry = match item {
                Item::Unchanged(entry) => {
                    self.totals.files_unchanged += u64::from(entry.kind == EntryKind::File);
                    *entry
                }
                Item::Read(source, existed) => match self.read(&source, existed, emit)? {
                    Some(entry) => entry,
                    None => continue,
                },
            };
            entries.push(entry);
        }
        let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
        let (files, bytes) = files.fold((0, 0), |(files, bytes), entry| (files + 1, bytes + entry.bytes));
        self.shared.progress.advance(files, bytes.saturating_sub(self.told));
        Ok(Processed { number: batch.number, entries, totals: self.totals })
    }

    /// Hands on the last, partly filled bundle.
    pub(crate) fn finish(&mut self, emit: &mut Emit<'_>) -> Result<(), BackupError> {
        if self.bundle.members.is_empty() {
            return Ok(());
        }
        emit(std::mem::replace(&mut self.bundle, empty_bundle()))
    }

    fn read(&mut self, source: &SourceEntry, existed: bool, emit: &mut Emit<'_>) -> Result<Option<Entry>, BackupError> {
        let mut entry = entry_of(source);
        let Some(dir) = &source.dir else { return Ok(Some(entry)) };
        match source.meta.kind {
            FileKind::Regular => {
                if !self.read_file(source, &mut entry, emit)? {
                    return Ok(None);
                }
                *(if existed { &mut self.totals.files_changed } else { &mut self.totals.files_new }) += 1;
            }
            FileKind::Symlink => match dir.read_link(&source.name) {
                Ok(target) => entry.extras.link_target = Some(target),
                Err(error) => {
                    self.shared.finding(Finding::of_read(&source.path, &error));
                    return Ok(None);
                }
            },
            FileKind::CharDevice | FileKind::BlockDevice => entry.extras.device = Some(source.meta.device_number),
            FileKind::Directory | FileKind::Fifo | FileKind::Socket => {}
        }
        match files::xattrs(dir, &source.name, source.meta.kind) {
            Ok(xattrs) if bytes_of(&xattrs) > XATTR_BYTES_MAX => {
                let text = format!("its extended attributes are left out: {} bytes are too many", bytes_of(&xattrs));
                self.shared.finding(Finding { kind: FindingKind::Attributes, path: source.path.clone(), text });
            }
            Ok(xattrs) => entry.extras.xattrs = xattrs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let text = format!("its extended attributes could not be read: {error}");
                self.shared.finding(Finding { kind: FindingKind::Attributes, path: source.path.clone(), text });
            }
        }
        Ok(Some(entry))
    }

    /// Reads a file into its entry; false when it could not be read and the finding is noted.
    fn read_file(&mut self, source: &SourceEntry, entry: &mut Entry, emit: &mut Emit<'_>) -> Result<bool, BackupError> {
        let Some(dir) = &source.dir else { return Ok(false) };
        for attempt in 1.. {
            let opened = dir.open_file(&source.name).and_then(|file| Ok((files::file_meta(&file)?, file)));
            let read = match opened {
                Ok((meta, _)) if meta.kind != FileKind::Regular => {
                    Err(io::Error::new(io::ErrorKind::NotFound, "it is no regular file any more"))
                }
                Ok((meta, file)) => self.read_stable(&file, meta, emit)?,
                Err(error) => Err(error),
            };
            let (meta, content, stable) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.shared.finding(Finding::of_read(&source.path, &error));
                    return Ok(false);
                }
            };
            if !stable && attempt < READS_MAX && meta.bytes <= RETRY_BYTES_MAX {
                continue;
            }
            set_meta(entry, &meta);
            entry.bytes = content.bytes().unwrap_or(0);
            entry.content = content;
            if !stable {
                entry.extras.inconsistent = true;
                let text = "it changed while it was read; what was there at each moment is kept".to_owned();
                self.shared.finding(Finding { kind: FindingKind::Changed, path: source.path.clone(), text });
            }
            break;
        }
        Ok(true)
    }

    /// Reads an open file and tells whether it stayed as it was. The inner error is the file's, the outer the run's.
    fn read_stable(
        &mut self,
        file: &File,
        meta: FileMeta,
        emit: &mut Emit<'_>,
    ) -> Result<io::Result<(FileMeta, Content, bool)>, BackupError> {
        let slot = link_group(&meta).map(|_| self.links.slot(&meta));
        let mut known = slot.as_ref().map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(Some((before, content))) = known.as_deref()
            && is_same(before, &meta)
        {
            return Ok(Ok((meta, content.clone(), true)));
        }
        let content = match self.read_content(file, &meta, emit)? {
            Ok(content) => content,
            Err(error) => return Ok(Err(error)),
        };
        let after = match files::file_meta(file) {
            Ok(after) => after,
            Err(error) => return Ok(Err(error)),
        };
        let stable = is_same(&after, &meta) && content.bytes() == Some(meta.bytes);
        if let Some(known) = known.as_deref_mut().filter(|_| stable) {
            *known = Some((meta, content.clone()));
        }
        Ok(Ok((meta, content, stable)))
    }

    fn read_content(
        &mut self,
        file: &File,
        meta: &FileMeta,
        emit: &mut Emit<'_>,
    ) -> Result<io::Result<Content>, BackupError> {
        let config = self.shared.session.vault().config();
        if meta.bytes == 0 {
            return Ok(Ok(Content::Empty));
        }
        if meta.bytes > u64::from(config.small_file_bytes_max) {
            return self.read_large(file, meta, emit);
        }
        self.buffer.clear();
        if let Err(error) = file.take(meta.bytes).read_to_end(&mut self.buffer) {
            return Ok(Err(error));
        }
        self.totals.bytes_read += self.buffer.len() as u64;
        if self.buffer.is_empty() {
            return Ok(Ok(Content::Empty));
        }
        if self.buffer.len() <= config.inline_bytes_max as usize {
            return Ok(Ok(Content::Inline(self.buffer.clone())));
        }
        let id = self.name(&self.buffer);
        let piece = Piece::Chunk { id, bytes: self.buffer.len() as u64 };
        if self.shared.known.claim(&id)? == Claim::Send {
            self.totals.bytes_new += self.buffer.len() as u64;
            self.bundle.plain.extend_from_slice(&self.buffer);
            self.bundle.members.push(Member { id, bytes: self.buffer.len() as u32 });
            if self.bundle.plain.len() >= BUNDLE_BYTES {
                self.finish(emit)?;
            }
        }
        Ok(Ok(Content::Pieces(vec![piece])))
    }

    fn read_large(
        &mut self,
        file: &File,
        meta: &FileMeta,
        emit: &mut Emit<'_>,
    ) -> Result<io::Result<Content>, BackupError> {
        let sparse = meta.blocks_512.saturating_mul(512) < meta.bytes;
        let extents = if sparse { files::data_extents(file, meta.bytes) } else { Ok(vec![(0, meta.bytes)]) };
        let extents = match extents {
            Ok(extents) => extents,
            Err(error) => return Ok(Err(error)),
        };
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (offset, bytes) in extents {
            if offset > at {
                pieces.push(Piece::Hole { bytes: offset - at });
            }
            match self.read_extent(file, offset, bytes, &mut pieces, emit)? {
                Ok(read) if read < bytes => return Ok(Ok(Content::Pieces(pieces))),
                Ok(read) => at = offset + read,
                Err(error) => return Ok(Err(error)),
            }
        }
        if at < meta.bytes {
            pieces.push(Piece::Hole { bytes: meta.bytes - at });
        }
        Ok(Ok(Content::Pieces(pieces)))
    }

    /// Reads a stretch of data and cuts it; answers how much there was.
    fn read_extent(
        &mut self,
        mut file: &File,
        offset: u64,
        bytes: u64,
        pieces: &mut Vec<Piece>,
        emit: &mut Emit<'_>,
    ) -> Result<io::Result<u64>, BackupError> {
        if let Err(error) = file.seek(SeekFrom::Start(offset)) {
            return Ok(Err(error));
        }
        let window = 2 * self.shared.chunker.bytes_max();
        let (mut buffer, mut start, mut left, mut done) = (Vec::with_capacity(window), 0, bytes, 0);
        loop {
            self.shared.check_stop()?;
            if buffer.len() - start < self.shared.chunker.bytes_max() && left > 0 {
                buffer.drain(..start);
                start = 0;
                let wanted = (window - buffer.len()) as u64;
                match file.take(wanted.min(left)).read_to_end(&mut buffer) {
                    Ok(0) => left = 0,
                    Ok(read) => left -= read as u64,
                    Err(error) => return Ok(Err(error)),
                }
            }
            if start == buffer.len() {
                return Ok(Ok(done));
            }
            let length = self.shared.chunker.cut(&buffer[start..]);
            let chunk = &buffer[start..start + length];
            let id = self.name(chunk);
            pieces.push(Piece::Chunk { id, bytes: length as u64 });
            self.totals.bytes_read += length as u64;
            if self.shared.known.claim(&id)? == Claim::Send {
                self.totals.bytes_new += length as u64;
                let members = vec![Member { id, bytes: length as u32 }];
                emit(RawBlock { block_type: BlockType::Chunk, plain: chunk.to_vec(), members })?;
            }
            start += length;
            done += length as u64;
            self.told += length as u64;
            self.shared.progress.advance(0, length as u64);
        }
    }

    fn name(&self, bytes: &[u8]) -> BlobId {
        let key = self.shared.session.vault().keys().id.expose();
        BlobId(*blake3::keyed_hash(key, bytes).as_bytes())
    }
}

impl Links {
    fn slot(&self, meta: &FileMeta) -> Arc<LinkSlot> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.entry((meta.device, meta.inode)).or_default().clone()
    }
}

/// Whether a file's contents are what they were, as far as a stat tells.
fn is_same(a: &FileMeta, b: &FileMeta) -> bool {
    a.bytes == b.bytes && a.modified == b.modified && a.changed == b.changed
}

fn bytes_of(xattrs: &[Xattr]) -> usize {
    xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn empty_bundle() -> RawBlock {
    RawBlock { block_type: BlockType::Bundle, plain: Vec::new(), members: Vec::new() }
}

fn entry_of(source: &SourceEntry) -> Entry {
    let mut entry = Entry {
        kind: entry_kind(source.meta.kind),
        path: source.path.clone(),
        mode: 0,
        uid: 0,
        gid: 0,
        modified: time(source.meta.modified),
        changed: time(source.meta.changed),
        inode: 0,
        bytes: 0,
        content: Content::Empty,
        extras: Extras { ancestor: source.ancestor, ..Extras::default() },
    };
    set_meta(&mut entry, &source.meta);
    entry
}

fn set_meta(entry: &mut Entry, meta: &FileMeta) {
    entry.mode = meta.mode & 0o7777;
    entry.uid = meta.uid;
    entry.gid = meta.gid;
    entry.modified = time(meta.modified);
    entry.changed = time(meta.changed);
    entry.inode = meta.inode;
    entry.extras.link_group = link_group(meta);
}

/// Compresses blocks; one for each thread, as it keeps a compression context.
pub(crate) struct SealStage {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl SealStage {
    pub(crate) fn new(level: i32) -> Result<Self, BackupError> {
        let broken = |_| BackupError::Hardware("the compression library");
        let compressor = zstd::bulk::Compressor::new(level).map_err(broken)?;
        Ok(Self { compressor, decompressor: zstd::bulk::Decompressor::new().map_err(broken)? })
    }

    /// Compresses a block where that helps, and checks that it can be undone: memory errors are found before they
    /// reach the vault.
    pub(crate) fn prepare(&mut self, block: RawBlock) -> Result<PreparedBlock, BackupError> {
        let plain_bytes = block.plain.len() as u32;
        let compressed = self.compressor.compress(&block.plain).map_err(|_| BackupError::Hardware("a block"))?;
        let (codec, payload) = if (compressed.len() as f64) < block.plain.len() as f64 * WORTHWHILE {
            let back = self.decompressor.decompress(&compressed, block.plain.len());
            if !back.is_ok_and(|back| back == block.plain) {
                return Err(BackupError::Hardware("a compressed block"));
            }
            (Codec::Zstd, compressed)
        } else {
            (Codec::Stored, block.plain)
        };
        Ok(PreparedBlock { block_type: block.block_type, codec, payload, plain_bytes, members: block.members })
    }
}
