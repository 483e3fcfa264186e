//! A tree to measure with: half of it compresses as text does, half does not at all; small files and large ones.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

const SMALL_BYTES: u64 = 8 << 10;
const LARGE_BYTES: u64 = 16 << 20;
const FILES_PER_FOLDER: u64 = 200;

/// Writes about `bytes` below `root`, the same every time.
pub(super) fn generate(root: &Path, bytes: u64) -> Result<PathBuf> {
    let mut random = Random(0x6e69_6768_746b_6570);
    let (mut written, mut index) = (0, 0);
    while written < bytes {
        let length = if written < bytes / 2 { LARGE_BYTES } else { SMALL_BYTES };
        let folder = root.join(format!("{:04}", index / FILES_PER_FOLDER));
        fs::create_dir_all(&folder)?;
        let mut file = fs::File::create(folder.join(format!("{index:07}")))?;
        file.write_all(&contents(&mut random, length, index % 2 == 0))?;
        written += length;
        index += 1;
    }
    Ok(root.to_owned())
}

/// Bytes of all regular files below `root`.
pub(super) fn bytes(root: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        total += if meta.is_dir() { bytes(&entry.path())? } else { meta.len() };
    }
    Ok(total)
}

fn contents(random: &mut Random, length: u64, text: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let word = random.next();
        if text {
            // A few thousand words in random order: about as compressible as prose.
            bytes.extend_from_slice(format!("word{} ", word % 4096).as_bytes());
        } else {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    bytes
}

/// xorshift64*: reproducible and fast; nothing here is secret.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
