//! Trees to back up: one with everything a filesystem can hold, one with very many small files, one with bytes of a
//! given amount.

mod odd;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

pub use odd::{OddOptions, odd};

/// Files in one folder of [`many`].
const FILES_PER_FOLDER: usize = 500;

/// Writes `files` small files of 0 to 2047 bytes below `root`, each with its own contents.
pub fn many(root: &Path, files: usize) -> Result<()> {
    let mut random = Random::new(files as u64);
    for index in 0..files {
        let folder = root.join(format!("folder {:04}", index / FILES_PER_FOLDER));
        if index % FILES_PER_FOLDER == 0 {
            fs::create_dir_all(&folder)?;
        }
        let bytes = random.below(2048);
        fs::write(folder.join(format!("file {index:06}")), random.text(bytes))?;
    }
    Ok(())
}

/// Writes one file of `bytes` that no compression makes smaller, the same for the same `seed`.
pub fn noise(path: &Path, bytes: usize, seed: u64) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, Random::new(seed).bytes(bytes)).with_context(|| format!("cannot write {}", path.display()))
}

/// Bytes of all regular files below `root`.
pub fn bytes(root: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))? {
        let entry = entry?;
        // A file may be moved or removed while its folder is read.
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        total += if meta.is_dir() { bytes(&entry.path())? } else { meta.size() };
    }
    Ok(total)
}

/// All regular files below `root`, in path order.
pub fn files(root: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            found.extend(files(&path)?);
        } else if meta.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reproducible bytes (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which must not be zero.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or(0) % limit
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// Text that compresses as text does.
    pub fn text(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 12);
        while bytes.len() < count {
            bytes.extend_from_slice(format!("word{} ", self.below(4096)).as_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
