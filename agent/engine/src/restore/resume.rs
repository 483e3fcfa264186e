//! What an interrupted restore left: pieces that are right need not be fetched again.
//!
//! **Invariant**: a piece counts as there only when its bytes were read back and hash to its id.

use super::Shared;
use super::file::FileJob;
use nightkeep_platform::files::{self, FileKind};
use nightkeep_vault::catalogue::Piece;
use nightkeep_vault::pack::BLOCK_BYTES_MAX;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Which pieces of a file, from `offset` on, the target holds; empty where there is no file to go on with.
pub(crate) fn pieces_there(shared: &Shared<'_>, job: &FileJob, pieces: &[Piece], offset: u64) -> Vec<bool> {
    if !shared.target.resumes || (offset > 0 && !job.is_taken_over()) {
        return Vec::new();
    }
    let Some(mut file) = left_file(job) else { return Vec::new() };
    let key = shared.blocks.vault().keys().id.expose();
    let (mut buffer, mut start) = (Vec::new(), offset);
    let mut there = Vec::with_capacity(pieces.len());
    for piece in pieces {
        there.push(is_there(&mut file, piece, start, key, &mut buffer).unwrap_or(false));
        start = start.saturating_add(piece.bytes());
    }
    there
}

/// The file, when it is one that may be written to: its own only name, and no link.
fn left_file(job: &FileJob) -> Option<File> {
    let name = job.entry.name();
    job.dir.stat(name).ok().flatten().filter(|meta| meta.kind == FileKind::Regular && meta.links == 1)?;
    let file = job.dir.open_file(name).ok()?;
    files::file_meta(&file).ok().filter(|meta| meta.links == 1)?;
    Some(file)
}

fn is_there(file: &mut File, piece: &Piece, start: u64, key: &[u8; 32], buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    match piece {
        Piece::Chunk { bytes, .. } if *bytes > BLOCK_BYTES_MAX as u64 => Ok(false),
        Piece::Chunk { id, bytes } => {
            buffer.clear();
            file.by_ref().take(*bytes).read_to_end(buffer)?;
            Ok(blake3::keyed_hash(key, buffer).as_bytes() == &id.0)
        }
        Piece::Hole { bytes } => {
            let zeros = std::io::copy(&mut file.by_ref().take(*bytes), &mut ZeroSink);
            if zeros.is_err() {
                // Something was written into the hole. What follows is cut off and written again.
                file.set_len(start)?;
            }
            Ok(true)
        }
    }
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
