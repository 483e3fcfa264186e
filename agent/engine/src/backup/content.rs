//! The second stage: reads what changed, names it, and hands on what the vault does not hold.
//!
//! **Invariant**: a file's entry tells of the bytes that were read, and says so when they changed meanwhile.

use super::known::Claim;
use super::links::Links;
use super::pieces::FinishedList;
use super::scan::{Batch, Item, entry_kind, link_group, time};
use super::seal::RawBlock;
use super::{BackupError, Shared};
use crate::progress::{Finding, FindingKind};
use crate::source::SourceEntry;
use nightkeep_platform::files::{self, Dir, FileKind, FileMeta};
use nightkeep_platform::xattrs::{Xattr, Xattrs};
use nightkeep_vault::catalogue::{Content, Entry, EntryKind, Extras, Piece};
use nightkeep_vault::id::BlobId;
use nightkeep_vault::pack::{BlockType, Member};
use nightkeep_vault::record::point::Totals;
use std::fs::File;
use std::io::{self, Read};
use std::sync::PoisonError;

/// A file up to this size that changed while it was read is read again, so many times at most.
const RETRY_BYTES_MAX: u64 = 16 << 20;
const READS_MAX: usize = 3;
/// Extended attributes of one entry, names and values, that the catalogue takes.
const XATTR_BYTES_MAX: usize = 1 << 20;
/// The entries of a batch, with their contents' ids.
#[derive(Debug)]
pub(crate) struct Processed {
    pub(crate) number: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) totals: Totals,
}

/// Where the content stage hands on what it made, ahead of the batch's entries.
pub(crate) trait Outlet {
    /// Content to seal. [`BackupError::Worker`] when the stages behind have ended.
    fn block(&mut self, block: RawBlock) -> Result<(), BackupError>;
    /// A content list for the catalogue.
    fn list(&mut self, list: FinishedList) -> Result<(), BackupError>;
    /// The empty buffer of a bundle that was sealed, to be filled again; or one that takes no memory yet.
    fn spare(&mut self) -> Vec<u8>;
}

/// The content stage; one for each worker.
pub(crate) struct ContentStage<'a> {
    pub(super) shared: &'a Shared<'a>,
    links: &'a Links,
    bundle: RawBlock,
    /// A small file, or the window of a large one; its length is what was ever needed, not what was read.
    pub(super) buffer: Vec<u8>,
    pub(super) totals: Totals,
    /// Bytes of the batch that were told of while a large file was read.
    pub(super) told: u64,
}

impl<'a> ContentStage<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, links: &'a Links) -> Self {
        Self { shared, links, bundle: empty_bundle(), buffer: Vec::new(), totals: Totals::default(), told: 0 }
    }

    /// Reads a batch; blocks and content lists go to `out`.
    pub(crate) fn process(&mut self, batch: Batch, out: &mut dyn Outlet) -> Result<Processed, BackupError> {
        (self.totals, self.told) = (Totals::default(), 0);
        let mut entries = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            self.shared.check_stop()?;
            let entry = match item {
                Item::Unchanged(entry) => {
                    self.totals.files_unchanged += u64::from(entry.kind == EntryKind::File);
                    *entry
                }
                Item::Read(source, existed) => match self.read(&source, existed, out)? {
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
    pub(crate) fn finish(&mut self, out: &mut dyn Outlet) -> Result<(), BackupError> {
        if self.bundle.members.is_empty() {
            return Ok(());
        }
        out.block(std::mem::replace(&mut self.bundle, empty_bundle()))
    }

    fn read(
        &mut self,
        source: &SourceEntry,
        existed: bool,
        out: &mut dyn Outlet,
    ) -> Result<Option<Entry>, BackupError> {
        let mut entry = entry_of(source);
        let Some(dir) = &source.dir else { return Ok(Some(entry)) };
        let xattrs = match source.meta.kind {
            FileKind::Regular => {
                let Some(xattrs) = self.read_file(source, dir, &mut entry, out)? else { return Ok(None) };
                *(if existed { &mut self.totals.files_changed } else { &mut self.totals.files_new }) += 1;
                xattrs
            }
            FileKind::Symlink => match dir.read_link(&source.name) {
                Ok(target) => {
                    entry.extras.link_target = Some(target);
                    files::xattrs(dir, &source.name, source.meta.kind)
                }
                Err(error) => {
                    self.shared.finding(Finding::of_read(&source.path, &error));
                    return Ok(None);
                }
            },
            FileKind::CharDevice | FileKind::BlockDevice => {
                entry.extras.device = Some(source.meta.device_number);
                files::xattrs(dir, &source.name, source.meta.kind)
            }
            FileKind::Directory | FileKind::Fifo | FileKind::Socket => {
                files::xattrs(dir, &source.name, source.meta.kind)
            }
        };
        entry.extras.xattrs = self.keep_xattrs(source, xattrs);
        Ok(Some(entry))
    }

    /// The attributes the catalogue takes; for others there is a finding.
    fn keep_xattrs(&self, source: &SourceEntry, xattrs: io::Result<Xattrs>) -> Vec<Xattr> {
        let (kept, text) = match xattrs.map(fit) {
            Ok(Xattrs { kept, left_out }) if left_out.is_empty() => return kept,
            Ok(Xattrs { kept, left_out }) => (kept, too_long(&left_out)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => (Vec::new(), format!("its extended attributes could not be read: {error}")),
        };
        self.shared.finding(Finding { kind: FindingKind::Attributes, path: source.path.clone(), text });
        kept
    }

    /// Reads a file into its entry and answers its attributes; none when it could not be read and the finding is noted.
    fn read_file(
        &mut self,
        source: &SourceEntry,
        dir: &Dir,
        entry: &mut Entry,
        out: &mut dyn Outlet,
    ) -> Result<Option<io::Result<Xattrs>>, BackupError> {
        let small_bytes_max = u64::from(self.shared.session.vault().config().small_file_bytes_max);
        let mut attempt = 1;
        loop {
            // A small file is first read on what the walk saw of it: a call less, and soon read again when that is old.
            let as_seen = attempt == 1 && source.meta.bytes <= small_bytes_max;
            let meta_of = |file: &File| if as_seen { Ok(source.meta) } else { meta_now(source, file) };
            let opened = dir.open_file(&source.name).and_then(|file| Ok((meta_of(&file)?, file)));
            let read = match opened {
                Ok((meta, _)) if meta.kind != FileKind::Regular => Err(not_regular()),
                Ok((meta, file)) => {
                    let read = self.read_stable(source, &file, meta, out)?;
                    read.map(|read| (read, files::xattrs_of_file(&file)))
                }
                Err(error) => Err(error),
            };
            let (read, xattrs) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.shared.finding(Finding::of_read(&source.path, &error));
                    return Ok(None);
                }
            };
            if !read.stable && attempt < READS_MAX && read.meta.bytes <= RETRY_BYTES_MAX {
                attempt += 1;
                continue;
            }
            set_meta(entry, &read.meta);
            entry.bytes = read.content.bytes().unwrap_or(0);
            entry.content = read.content;
            if !read.stable {
                entry.extras.inconsistent = true;
                let text = "it changed while it was read; what was there at each moment is kept".to_owned();
                self.shared.finding(Finding { kind: FindingKind::Changed, path: source.path.clone(), text });
            }
            return Ok(Some(xattrs));
        }
    }

    /// Reads an open file and tells whether it stayed as it was. The inner error is the file's, the outer the run's.
    fn read_stable(
        &mut self,
        source: &SourceEntry,
        file: &File,
        meta: FileMeta,
        out: &mut dyn Outlet,
    ) -> Result<io::Result<ReadFile>, BackupError> {
        let slot = self.links.slot(&meta);
        let mut known = slot.as_ref().map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(Some((before, content))) = known.as_deref()
            && is_same(before, &meta)
        {
            return Ok(Ok(ReadFile { meta, content: content.clone(), stable: true }));
        }
        let content = match self.read_content(source, file, &meta, out)? {
            Ok(content) => content,
            Err(error) => return Ok(Err(error)),
        };
        let after = match meta_now(source, file) {
            Ok(after) if after.kind == FileKind::Regular => after,
            Ok(_) => return Ok(Err(not_regular())),
            Err(error) => return Ok(Err(error)),
        };
        let stable = is_same(&after, &meta) && content.bytes() == Some(meta.bytes);
        if let Some(known) = known.as_deref_mut().filter(|_| stable && self.links.may_keep(&meta, &content)) {
            *known = Some((meta, content.clone()));
        }
        Ok(Ok(ReadFile { meta, content, stable }))
    }

    fn read_content(
        &mut self,
        source: &SourceEntry,
        file: &File,
        meta: &FileMeta,
        out: &mut dyn Outlet,
    ) -> Result<io::Result<Content>, BackupError> {
        let config = self.shared.session.vault().config();
        if meta.bytes == 0 {
            return Ok(Ok(Content::Empty));
        }
        if meta.bytes > u64::from(config.small_file_bytes_max) {
            return self.read_large(source, file, meta, out);
        }
        // Taken and given back, so that it is allocated once.
        let mut buffer = std::mem::take(&mut self.buffer);
        let wanted = meta.bytes as usize;
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let read = self.fault(source, 0).and_then(|()| fill(file, &mut buffer[..wanted]));
        let content = match read {
            Ok(read) => {
                self.totals.bytes_read += read as u64;
                Ok(match &buffer[..read] {
                    [] => Content::Empty,
                    short if short.len() <= config.inline_bytes_max as usize => Content::Inline(short.to_vec()),
                    whole => Content::Pieces(vec![self.chunk(whole, out)?]),
                })
            }
            Err(error) => Err(error),
        };
        self.buffer = buffer;
        Ok(content)
    }

    /// Names a chunk and hands it on when the vault lacks it: alone, or in a bundle when it is short.
    pub(super) fn chunk(&mut self, bytes: &[u8], out: &mut dyn Outlet) -> Result<Piece, BackupError> {
        let vault = self.shared.session.vault();
        let id = BlobId(*blake3::keyed_hash(vault.keys().id.expose(), bytes).as_bytes());
        let piece = Piece::Chunk { id, bytes: bytes.len() as u64 };
        if self.shared.known.claim(&id)? == Claim::Known {
            return Ok(piece);
        }
        self.totals.bytes_new += bytes.len() as u64;
        let member = Member { id, bytes: bytes.len() as u32 };
        if bytes.len() > vault.config().small_file_bytes_max as usize {
            out.block(RawBlock { block_type: BlockType::Chunk, plain: bytes.to_vec(), members: vec![member] })?;
            return Ok(piece);
        }
        let bundle_bytes = self.shared.options.memory.bundle_bytes();
        if self.bundle.members.is_empty() {
            self.bundle.plain = out.spare();
            self.bundle.plain.reserve_exact(bundle_bytes + vault.config().small_file_bytes_max as usize);
        }
        self.bundle.plain.extend_from_slice(bytes);
        self.bundle.members.push(member);
        if self.bundle.plain.len() >= bundle_bytes {
            self.finish(out)?;
        }
        Ok(piece)
    }

    pub(super) fn fault(&self, source: &SourceEntry, offset: u64) -> io::Result<()> {
        self.shared.options.faults.as_ref().map_or(Ok(()), |faults| faults.read(&source.path, offset))
    }
}

/// Reads until `buffer` is full or the file ends: one call to the system for a small file.
pub(super) fn fill(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What reading a file gave.
struct ReadFile {
    meta: FileMeta,
    content: Content,
    /// Whether it stayed as it was meanwhile.
    stable: bool,
}

fn meta_now(source: &SourceEntry, file: &File) -> io::Result<FileMeta> {
    files::file_meta(file).map(|meta| source.renumber.apply(meta))
}

/// Whether it is the same file, and its contents are what they were, as far as a stat tells.
fn is_same(a: &FileMeta, b: &FileMeta) -> bool {
    let same_file = a.inode == b.inode && a.device == b.device;
    same_file && a.bytes == b.bytes && a.modified == b.modified && a.changed == b.changed
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it is no regular file any more")
}

/// Leaves the longest attributes out until the others fit into the catalogue together.
fn fit(mut xattrs: Xattrs) -> Xattrs {
    let bytes_of = |(name, value): &Xattr| name.len() + value.len();
    while xattrs.kept.iter().map(bytes_of).sum::<usize>() > XATTR_BYTES_MAX {
        let longest = (0..xattrs.kept.len()).max_by_key(|at| bytes_of(&xattrs.kept[*at])).unwrap_or_default();
        let (name, value) = xattrs.kept.remove(longest);
        xattrs.left_out.push((name, value.len() as u64));
    }
    xattrs
}

fn too_long(left_out: &[(Vec<u8>, u64)]) -> String {
    let named = left_out.iter().map(|(name, bytes)| format!("{} ({bytes} bytes)", String::from_utf8_lossy(name)));
    let named = named.collect::<Vec<_>>().join(", ");
    format!("left out, as the attributes of one file may hold {XATTR_BYTES_MAX} bytes together: {named}")
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

#[cfg(test)]
mod tests {
    use super::{XATTR_BYTES_MAX, Xattrs, fit, too_long};

    #[test]
    fn an_attribute_that_is_too_long_costs_the_others_nothing() {
        let xattr = |name: &str, bytes| (name.as_bytes().to_vec(), vec![7; bytes]);
        let all = vec![xattr("acl", 500), xattr("long", XATTR_BYTES_MAX), xattr("user", 10)];
        let Xattrs { kept, left_out } = fit(Xattrs::from(all));
        assert_eq!(kept, [xattr("acl", 500), xattr("user", 10)]);
        assert_eq!(left_out, [(b"long".to_vec(), XATTR_BYTES_MAX as u64)]);
        assert!(too_long(&left_out).contains("long (1048576 bytes)"));
        let fits = vec![xattr("long", XATTR_BYTES_MAX - 4)];
        assert_eq!(fit(Xattrs::from(fits.clone())), Xattrs::from(fits));
    }
}
