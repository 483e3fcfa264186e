//! Large files: data extents only, cut where their content says, or into fixed blocks where they are images of disks.
//!
//! **Invariant**: a hole is never read, and a chunk never reaches across one.

use super::BackupError;
use super::content::{ContentStage, Outlet, fill};
use super::options::MemoryProfile;
use super::pieces::Pieces;
use crate::chunker::Cutter;
use crate::source::SourceEntry;
use nightkeep_platform::files::{self, FileMeta};
use nightkeep_vault::catalogue::{Content, Piece};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

/// The length of an image's blocks, aligned to it: filesystems in it write in place, in multiples of their own blocks.
const IMAGE_BLOCK_BYTES: u64 = 256 << 10;
/// Below this an image is cut like every other file.
const IMAGE_BYTES_MIN: u64 = 64 << 20;
/// Images of disks. Not `.iso`: those are never written in place, and versions of one share files at shifted places.
const IMAGE_EXTENSIONS: [&[u8]; 10] =
    [b"img", b"raw", b"vhd", b"vhdx", b"avhdx", b"vmdk", b"qcow", b"qcow2", b"vdi", b"hdd"];
/// Before a file as large as this a worker hands on its bundle, so that small files do not wait for it.
const HAND_ON_BYTES: u64 = 32 << 20;
/// How much is read at once beyond the longest chunk, where memory is scarce.
const READ_BYTES_LOW: usize = 256 << 10;

/// Where a file is cut.
enum Cuts<'c> {
    /// Where its content says.
    Content(Cutter<'c>),
    /// At multiples of the block length; blocks of zeros become holes.
    Blocks,
}

/// A stretch of data that is being read.
struct Extent {
    offset: u64,
    /// Not read yet.
    left: u64,
}

type FileResult<T> = Result<io::Result<T>, BackupError>;

/// Whether a file is cut into fixed blocks: an image by its name, or one with holes.
fn is_image(name: &[u8], meta: &FileMeta) -> bool {
    let extension = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default().to_ascii_lowercase();
    meta.bytes >= IMAGE_BYTES_MIN && (is_sparse(meta) || IMAGE_EXTENSIONS.contains(&extension.as_slice()))
}

fn is_sparse(meta: &FileMeta) -> bool {
    meta.blocks_512.saturating_mul(512) < meta.bytes
}

impl<'a> ContentStage<'a> {
    /// Reads a file beyond the small ones. The inner error is the file's.
    pub(super) fn read_large(
        &mut self,
        source: &SourceEntry,
        file: &File,
        meta: &FileMeta,
        out: &mut dyn Outlet,
    ) -> FileResult<Content> {
        if meta.bytes >= HAND_ON_BYTES {
            self.finish(out)?;
        }
        let shared = self.shared;
        let mut cuts = if is_image(&source.name, meta) { Cuts::Blocks } else { Cuts::Content(shared.chunker.cutter()) };
        let (mut pieces, mut at) = (Pieces::new(shared), 0);
        while at < meta.bytes {
            let data = if is_sparse(meta) { files::next_data(file, at, meta.bytes) } else { Ok(Some((0, meta.bytes))) };
            let (start, end) = match data {
                Ok(Some(data)) => data,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            pieces.push(Piece::Hole { bytes: start - at }, &mut |list| out.list(list))?;
            let extent = Extent { offset: start, left: end - start };
            at = match self.read_extent(source, file, extent, &mut cuts, &mut pieces, out)? {
                Ok(read_to) if read_to < end => return Ok(Ok(pieces.finish(&mut |list| out.list(list))?)),
                Ok(read_to) => read_to,
                Err(error) => return Ok(Err(error)),
            };
        }
        pieces.push(Piece::Hole { bytes: meta.bytes.saturating_sub(at) }, &mut |list| out.list(list))?;
        Ok(Ok(pieces.finish(&mut |list| out.list(list))?))
    }

    /// Reads a stretch of data and cuts it; answers where it ended, which is early when the file became shorter.
    fn read_extent(
        &mut self,
        source: &SourceEntry,
        mut file: &File,
        mut extent: Extent,
        cuts: &mut Cuts<'_>,
        pieces: &mut Pieces<'a>,
        out: &mut dyn Outlet,
    ) -> FileResult<u64> {
        if let Err(error) = file.seek(SeekFrom::Start(extent.offset)) {
            return Ok(Err(error));
        }
        // Taken from the worker and given back, so that it is allocated once.
        let mut window = std::mem::take(&mut self.buffer);
        if window.len() < self.window_bytes() {
            window.resize(self.window_bytes(), 0);
        }
        // What was read and not cut yet is `window[start..end]`.
        let (mut start, mut end) = (0, 0);
        let ended = loop {
            self.shared.check_stop()?;
            if end - start < self.shared.chunker.bytes_max() && extent.left > 0 {
                window.copy_within(start..end, 0);
                (start, end) = (0, end - start);
                let wanted = ((window.len() - end) as u64).min(extent.left) as usize;
                let allowed = self.fault(source, extent.offset);
                match allowed.and_then(|()| fill(file, &mut window[end..end + wanted])) {
                    Ok(read) => {
                        end += read;
                        extent.left = if read < wanted { 0 } else { extent.left - read as u64 };
                    }
                    Err(error) => break Err(error),
                }
            }
            if start == end {
                break Ok(extent.offset);
            }
            let length = cuts.next(&window[start..end], extent.offset);
            let piece = self.piece(&window[start..start + length], matches!(cuts, Cuts::Blocks), out)?;
            pieces.push(piece, &mut |list| out.list(list))?;
            start += length;
            extent.offset += length as u64;
            self.told += length as u64;
            self.shared.progress.advance(0, length as u64);
        };
        self.buffer = window;
        Ok(ended)
    }

    fn window_bytes(&self) -> usize {
        let longest = self.shared.chunker.bytes_max();
        match self.shared.options.memory {
            MemoryProfile::Usual => 2 * longest,
            MemoryProfile::Low => longest + READ_BYTES_LOW,
        }
    }

    fn piece(&mut self, bytes: &[u8], zeros_are_holes: bool, out: &mut dyn Outlet) -> Result<Piece, BackupError> {
        self.totals.bytes_read += bytes.len() as u64;
        if zeros_are_holes && is_zero(bytes) {
            return Ok(Piece::Hole { bytes: bytes.len() as u64 });
        }
        self.chunk(bytes, out)
    }
}

impl Cuts<'_> {
    /// The length of the next chunk, at `offset` in its file. `bytes` holds the longest chunk, or all that is left.
    fn next(&mut self, bytes: &[u8], offset: u64) -> usize {
        match self {
            Cuts::Content(cutter) => cutter.cut(bytes),
            Cuts::Blocks => bytes.len().min((IMAGE_BLOCK_BYTES - offset % IMAGE_BLOCK_BYTES) as usize),
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|part| *part == ZEROS[..part.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightkeep_platform::files::{FileKind, Timestamp};

    #[test]
    fn images_are_told_by_their_name_or_their_holes() {
        let meta = |bytes, blocks_512| FileMeta {
            kind: FileKind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            bytes,
            modified: Timestamp::default(),
            changed: Timestamp::default(),
            inode: 1,
            device: 1,
            links: 1,
            device_number: (0, 0),
            blocks_512,
        };
        let (full, sparse) = (meta(1 << 30, 2 << 20), meta(1 << 30, 1 << 20));
        assert!(is_image(b"disk.QCOW2", &full));
        assert!(is_image(b"database", &sparse));
        assert!(!is_image(b"database", &full));
        assert!(!is_image(b"debian.iso", &full));
        assert!(!is_image(b"photo.raw", &meta(30 << 20, 60 << 10)), "a camera's file");
    }

    #[test]
    fn zeros_are_told_from_almost_zeros() {
        let mut bytes = vec![0; 10_000];
        assert!(is_zero(&bytes));
        bytes[9_999] = 1;
        assert!(!is_zero(&bytes));
    }
}
