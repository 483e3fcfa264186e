//! The catalogue: entries in path order, cut into hunks by a keyed hash of the path.
//!
//! **Invariant**: the same entries give the same hunks, whatever ran before, so an unchanged hunk is never written twice.

use crate::codec::{DecodeError, Reader, Time, Writer};
use crate::crypto::Secret;
use crate::id::{BlobId, MachineId};
use std::cmp::Ordering;

const HUNK_ENTRIES_MAX: usize = 2048;
const HUNK_BYTES_MAX: usize = 1 << 20;
const HUNK_CUT: u64 = 512;
/// Pieces of a content list at most.
pub const CONTENT_LIST_PIECES_MAX: usize = 4096;
const PATH_BYTES_MAX: usize = 64 << 10;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A regular file.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A socket; only its name and rights are kept.
    Socket = 5,
    /// A character device.
    CharDevice = 6,
    /// A block device.
    BlockDevice = 7,
}

impl EntryKind {
    fn from_u8(byte: u8) -> Option<Self> {
        use EntryKind::{BlockDevice, CharDevice, Directory, Fifo, File, Socket, Symlink};
        [File, Directory, Symlink, Fifo, Socket, CharDevice, BlockDevice].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Bytes with this id.
    Chunk {
        /// The chunk.
        id: BlobId,
        /// Its length in bytes.
        bytes: u64,
    },
    /// A hole: zero bytes that take no space.
    Hole {
        /// Its length in bytes.
        bytes: u64,
    },
}

impl Piece {
    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Piece::Chunk { bytes, .. } | Piece::Hole { bytes } => *bytes,
        }
    }
}

/// A content list block of a large file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentListRef {
    /// The list's blob.
    pub id: BlobId,
    /// Bytes of the file it covers.
    pub bytes: u64,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// Nothing.
    #[default]
    Empty,
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// Pieces in order.
    Pieces(Vec<Piece>),
    /// Lists of pieces, in order.
    Lists(Vec<ContentListRef>),
}

/// One file, directory or other object of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Raw path bytes from the machine's root, no leading slash; empty for the root.
    pub path: Vec<u8>,
    /// Permission bits, 07777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the contents.
    pub modified: Time,
    /// Last change of contents or metadata (ctime).
    pub changed: Time,
    /// Inode number, for recognising an unchanged file.
    pub inode: u64,
    /// Size of a file in bytes.
    pub bytes: u64,
    /// Contents of a file.
    pub content: Content,
    /// What few entries have.
    pub extras: Extras,
}

/// What few entries have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// Entries of one recovery point with the same group are one file.
    pub link_group: Option<u64>,
    /// Extended attributes, ACLs and capabilities among them, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where a symbolic link points.
    pub link_target: Option<Vec<u8>>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Changed while it was read, more often than was tried again.
    pub inconsistent: bool,
    /// Listed only as a parent of a root.
    pub ancestor: bool,
}

/// The catalogue's order: bytes, with `/` before every other byte.
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter().map(key).cmp(b.iter().map(key))
}

impl Entry {
    /// The last component of the path.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    fn encode(&self, previous: &[u8], out: &mut Writer) {
        let shared = self.path.iter().zip(previous).take_while(|(a, b)| a == b).count();
        out.u8(self.kind as u8).varint(shared as u64).bytes(&self.path[shared..]);
        out.varint(u64::from(self.mode)).varint(u64::from(self.uid)).varint(u64::from(self.gid));
        self.modified.write(out);
        self.changed.write(out);
        out.varint(self.inode);
        if self.kind == EntryKind::File {
            out.varint(self.bytes);
            self.content.encode(out);
        }
        out.bytes(&self.extras.encode());
    }

    fn decode(reader: &mut Reader<'_>, previous: &[u8]) -> Result<Self, DecodeError> {
        let kind = EntryKind::from_u8(reader.u8()?).ok_or(reader.out_of_bounds())?;
        let shared = reader.varint_max(previous.len() as u64)? as usize;
        let path = [&previous[..shared], reader.bytes()?].concat();
        if path.len() > PATH_BYTES_MAX || !is_safe_path(&path) {
            return Err(reader.out_of_bounds());
        }
        let mode = reader.varint_max(0o7777)? as u32;
        let (uid, gid) = (reader.varint_max(u32::MAX.into())? as u32, reader.varint_max(u32::MAX.into())? as u32);
        let (modified, changed) = (Time::read(reader)?, Time::read(reader)?);
        let inode = reader.varint()?;
        let (bytes, content) = match kind {
            EntryKind::File => (reader.varint_max(i64::MAX as u64)?, Content::decode(reader)?),
            EntryKind::Directory
            | EntryKind::Symlink
            | EntryKind::Fifo
            | EntryKind::Socket
            | EntryKind::CharDevice
            | EntryKind::BlockDevice => (0, Content::Empty),
        };
        let extras = Extras::decode(reader.bytes()?)?;
        let entry = Self { kind, path, mode, uid, gid, modified, changed, inode, bytes, content, extras };
        if entry.content.bytes() != Some(bytes) {
            return Err(reader.out_of_bounds());
        }
        Ok(entry)
    }
}

/// Whether every component of a path is a plain name, so that nothing can lead out of a restore's target.
fn is_safe_path(path: &[u8]) -> bool {
    let plain = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
    path.is_empty() || path.split(|byte| *byte == b'/').all(plain)
}

impl Content {
    /// How many bytes of the file this covers; none when the sum overflows.
    pub fn bytes(&self) -> Option<u64> {
        let sum = |mut lengths: Box<dyn Iterator<Item = u64> + '_>| lengths.try_fold(0u64, u64::checked_add);
        match self {
            Content::Empty => Some(0),
            Content::Inline(bytes) => Some(bytes.len() as u64),
            Content::Pieces(pieces) => sum(Box::new(pieces.iter().map(Piece::bytes))),
            Content::Lists(lists) => sum(Box::new(lists.iter().map(|list| list.bytes))),
        }
    }

    fn encode(&self, out: &mut Writer) {
        match self {
            Content::Empty => out.u8(0),
            Content::Inline(bytes) => out.u8(1).bytes(bytes),
            Content::Pieces(pieces) => out.u8(2).list(pieces, encode_piece),
            Content::Lists(lists) => out.u8(3).list(lists, |out, list| {
                out.raw(list.id.as_bytes()).varint(list.bytes);
            }),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            0 => Content::Empty,
            1 => Content::Inline(reader.bytes()?.to_vec()),
            2 => Content::Pieces(reader.list(decode_piece)?),
            3 => Content::Lists(reader.list(|reader| {
                let id = BlobId(reader.array()?);
                Ok(ContentListRef { id, bytes: reader.varint_max(i64::MAX as u64)? })
            })?),
            other => return Err(DecodeError::UnknownMandatory { what: "content", tag: other.into() }),
        })
    }
}

fn encode_piece(out: &mut Writer, piece: &Piece) {
    match piece {
        Piece::Chunk { id, bytes } => out.varint(*bytes).u8(1).raw(id.as_bytes()),
        Piece::Hole { bytes } => out.varint(*bytes).u8(2),
    };
}

fn decode_piece(reader: &mut Reader<'_>) -> Result<Piece, DecodeError> {
    let bytes = reader.varint_max(i64::MAX as u64)?;
    match reader.u8()? {
        1 => Ok(Piece::Chunk { id: BlobId(reader.array()?), bytes }),
        2 => Ok(Piece::Hole { bytes }),
        other => Err(DecodeError::UnknownMandatory { what: "piece", tag: other.into() }),
    }
}

/// A content list block's plaintext.
pub fn encode_content_list(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Writer::new();
    out.list(pieces, encode_piece);
    out.finish()
}

/// Reads a content list block.
pub fn decode_content_list(bytes: &[u8]) -> Result<Vec<Piece>, DecodeError> {
    let mut reader = Reader::new(bytes, "content list");
    let pieces = reader.list(decode_piece)?;
    reader.end()?;
    if pieces.len() > CONTENT_LIST_PIECES_MAX { Err(reader.out_of_bounds()) } else { Ok(pieces) }
}

/// Whether a content list ends behind this piece, by its content alone.
pub fn ends_content_list(piece: &Piece) -> bool {
    match piece {
        Piece::Chunk { id, .. } => u16::from_le_bytes([id.0[0], id.0[1]]) % 1024 == 0,
        Piece::Hole { .. } => false,
    }
}

impl Extras {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let flag = |out: &mut Writer, tag, set: bool| {
            if set {
                out.field(tag, |w| {
                    w.varint(1);
                });
            }
        };
        if let Some(group) = self.link_group {
            out.field(1, |w| {
                w.varint(group);
            });
        }
        if !self.xattrs.is_empty() {
            out.field(3, |w| {
                w.list(&self.xattrs, |w, (name, value)| {
                    w.bytes(name).bytes(value);
                });
            });
        }
        if let Some(target) = &self.link_target {
            out.field(4, |w| {
                w.raw(target);
            });
        }
        if let Some((major, minor)) = self.device {
            out.field(6, |w| {
                w.varint(u64::from(major)).varint(u64::from(minor));
            });
        }
        flag(&mut out, 7, self.inconsistent);
        flag(&mut out, 9, self.ancestor);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut extras = Extras::default();
        Reader::new(bytes, "entry extras").fields(|tag, value| {
            match tag {
                1 => extras.link_group = Some(value.varint()?),
                3 => extras.xattrs = value.list(|r| Ok((r.bytes()?.to_vec(), r.bytes()?.to_vec())))?,
                4 => extras.link_target = Some(value.take(value.rest().len())?.to_vec()),
                6 => {
                    let max = u64::from(u32::MAX);
                    extras.device = Some((value.varint_max(max)? as u32, value.varint_max(max)? as u32));
                }
                7 => extras.inconsistent = value.varint_max(1)? == 1,
                9 => extras.ancestor = value.varint_max(1)? == 1,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(extras)
    }
}

/// A hunk that was cut: its plaintext and its place in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutHunk {
    /// The plaintext of the block.
    pub bytes: Vec<u8>,
    /// The path of its first entry.
    pub first_path: Vec<u8>,
    /// How many entries it holds.
    pub entries: u64,
}

/// Gathers entries in path order and cuts hunks.
pub struct HunkWriter {
    cut_key: Secret,
    buffer: Writer,
    entries: usize,
    first_path: Vec<u8>,
    previous: Vec<u8>,
}

impl HunkWriter {
    /// A writer for the catalogues of one machine.
    pub fn new(meta: &Secret, machine: MachineId) -> Self {
        let cut_key = meta.sub("hunk cut", machine.as_bytes());
        Self { cut_key, buffer: Writer::new(), entries: 0, first_path: Vec::new(), previous: Vec::new() }
    }

    /// Adds the next entry; answers a hunk when one ends with it.
    pub fn push(&mut self, entry: &Entry) -> Option<CutHunk> {
        if self.entries == 0 {
            self.first_path.clone_from(&entry.path);
            self.previous.clear();
        }
        entry.encode(&self.previous, &mut self.buffer);
        self.previous.clone_from(&entry.path);
        self.entries += 1;
        let full = self.entries >= HUNK_ENTRIES_MAX || self.buffer.len() >= HUNK_BYTES_MAX;
        if full || self.cuts_behind(&entry.path) { self.cut() } else { None }
    }

    /// The rest, when entries are left.
    pub fn finish(mut self) -> Option<CutHunk> {
        self.cut()
    }

    fn cuts_behind(&self, path: &[u8]) -> bool {
        let hash = blake3::keyed_hash(self.cut_key.expose(), path);
        let mut start = [0; 8];
        start.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(start) % HUNK_CUT == 0
    }

    fn cut(&mut self) -> Option<CutHunk> {
        if self.entries == 0 {
            return None;
        }
        let mut out = Writer::new();
        out.varint(self.entries as u64).raw(self.buffer.as_slice());
        let hunk = CutHunk {
            bytes: out.finish(),
            first_path: std::mem::take(&mut self.first_path),
            entries: self.entries as u64,
        };
        self.buffer.clear();
        self.entries = 0;
        Some(hunk)
    }
}

/// Reads the entries of a hunk.
pub fn decode_hunk(bytes: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    let mut reader = Reader::new(bytes, "hunk");
    let mut previous: Vec<u8> = Vec::new();
    let mut first = true;
    let entries = reader.list(|reader| {
        let entry = Entry::decode(reader, if first { &[] } else { &previous })?;
        if !first && compare_paths(&previous, &entry.path) != Ordering::Less {
            return Err(reader.out_of_bounds());
        }
        first = false;
        previous.clone_from(&entry.path);
        Ok(entry)
    })?;
    reader.end()?;
    if entries.len() > HUNK_ENTRIES_MAX { Err(reader.out_of_bounds()) } else { Ok(entries) }
}

/// A hunk in the list of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HunkRef {
    /// The path of its first entry.
    pub first_path: Vec<u8>,
    /// The hunk's blob.
    pub id: BlobId,
    /// Its references leaf.
    pub leaf: BlobId,
    /// How many entries it holds.
    pub entries: u64,
    /// The content lists of its entries, each with its references leaf.
    pub lists: Vec<(BlobId, BlobId)>,
}

/// A hunk list's plaintext.
pub fn encode_hunk_list(hunks: &[HunkRef]) -> Vec<u8> {
    let mut out = Writer::new();
    out.list(hunks, |out, hunk| {
        out.bytes(&hunk.first_path).raw(hunk.id.as_bytes()).raw(hunk.leaf.as_bytes()).varint(hunk.entries);
        out.list(&hunk.lists, |out, (list, leaf)| {
            out.raw(list.as_bytes()).raw(leaf.as_bytes());
        });
    });
    out.finish()
}

/// Reads a hunk list.
pub fn decode_hunk_list(bytes: &[u8]) -> Result<Vec<HunkRef>, DecodeError> {
    let mut reader = Reader::new(bytes, "hunk list");
    let hunks = reader.list(|reader| {
        let first_path = reader.bytes()?.to_vec();
        let (id, leaf) = (BlobId(reader.array()?), BlobId(reader.array()?));
        let entries = reader.varint_max(HUNK_ENTRIES_MAX as u64)?;
        let lists = reader.list(|reader| Ok((BlobId(reader.array()?), BlobId(reader.array()?))))?;
        Ok(HunkRef { first_path, id, leaf, entries, lists })
    })?;
    reader.end()?;
    Ok(hunks)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use proptest::prelude::*;

    fn file(path: &str) -> Entry {
        Entry {
            kind: EntryKind::File,
            path: path.as_bytes().to_vec(),
            mode: 0o644,
            uid: 1000,
            gid: 1000,
            modified: Time { seconds: 1_700_000_000, nanoseconds: 5 },
            changed: Time { seconds: -3, nanoseconds: 999_999_999 },
            inode: 77,
            bytes: 10,
            content: Content::Pieces(vec![Piece::Chunk { id: BlobId([1; 32]), bytes: 4 }, Piece::Hole { bytes: 6 }]),
            extras: Extras { xattrs: vec![(b"user.a".to_vec(), vec![0, 255])], ..Extras::default() },
        }
    }

    fn hunks(paths: &[String]) -> Vec<CutHunk> {
        let mut writer = HunkWriter::new(&Secret::new([1; 32]), MachineId([2; 16]));
        let mut cut: Vec<CutHunk> = paths.iter().filter_map(|path| writer.push(&file(path))).collect();
        cut.extend(writer.finish());
        cut
    }

    #[test]
    fn a_directory_comes_before_its_contents_and_they_before_its_sibling() {
        let mut paths = vec!["a.b", "a/z", "a", "", "a/b/c", "a/b"];
        paths.sort_by(|a, b| compare_paths(a.as_bytes(), b.as_bytes()));
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a/z", "a.b"]);
    }

    #[test]
    fn entries_come_back_and_a_change_touches_one_hunk() {
        let mut paths: Vec<String> = (0..5000).map(|n| format!("dir/file-{n:05}")).collect();
        let before = hunks(&paths);
        let read: Vec<Entry> = before.iter().flat_map(|hunk| decode_hunk(&hunk.bytes).unwrap()).collect();
        assert_eq!(read, paths.iter().map(|path| file(path)).collect::<Vec<_>>());
        assert!(before.len() > 3, "5,000 entries are several hunks");
        paths.insert(2500, "dir/file-02499x".into());
        let after = hunks(&paths);
        let changed = after.iter().filter(|hunk| !before.contains(hunk)).count();
        assert!(changed <= 2, "one new entry changes its hunk, or splits it: {changed}");
    }

    #[test]
    fn a_path_that_leads_out_of_a_target_is_refused() {
        for path in ["../x", "a/../b", "/a", "a//b", "a/.", "a\0b"] {
            let mut out = Writer::new();
            out.varint(1);
            file(path).encode(&[], &mut out);
            assert!(decode_hunk(&out.finish()).is_err(), "{path}");
        }
    }

    #[test]
    fn a_size_that_its_pieces_do_not_give_is_refused() {
        let mut out = Writer::new();
        out.varint(1);
        Entry { bytes: 11, ..file("a") }.encode(&[], &mut out);
        assert!(decode_hunk(&out.finish()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode_hunk(&bytes);
            let _ = decode_hunk_list(&bytes);
            let _ = decode_content_list(&bytes);
        }
    }
}
