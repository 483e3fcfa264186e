//! Data to measure with. The same seed gives the same bytes on every machine.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Every generator begins here.
pub(crate) const SEED: u64 = 0x6e69_6768_746b_6570;

/// Unpacks a kernel archive and answers its folder.
pub(crate) fn unpack_kernel(archive: &Path, into: &Path) -> Result<PathBuf> {
    crate::measure::shell(&format!("tar -xf '{}'", archive.display()), into)?;
    let only = fs::read_dir(into)?.next().with_context(|| format!("{} is empty", archive.display()))??;
    Ok(only.path())
}

/// Real text: sources of the kernel, joined, up to `bytes_max`.
pub(crate) fn text(archive: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let mut child = std::process::Command::new("tar")
        .args(["--wildcards", "-xOf"])
        .arg(archive)
        .args(["*/kernel/*.c", "*/Documentation/*.rst", "*/fs/*.c"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut bytes = Vec::with_capacity(bytes_max);
    let mut out = child.stdout.take().context("tar has no output")?;
    (&mut out).take(bytes_max as u64).read_to_end(&mut bytes)?;
    // The rest is read so that tar ends by itself.
    std::io::copy(&mut out, &mut std::io::sink())?;
    child.wait()?;
    if bytes.is_empty() {
        bail!("{} holds no text to make files of", archive.display());
    }
    Ok(bytes)
}

/// `count` files of 10 B to 64 KiB, log-normal around 665 B, a hundred to a folder, cut from real text.
pub(crate) fn small_files(root: &Path, text: &[u8], count: u64) -> Result<()> {
    let mut random = Random(SEED);
    for number in 0..count {
        let folder = root.join(format!("{:03}", number / 10_000)).join(format!("{:02}", number / 100 % 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder)?;
        }
        let bytes = (665.0 * (1.1 * random.normal()).exp()).clamp(10.0, 65_536.0) as usize;
        let start = random.below(text.len() as u64 - bytes as u64) as usize;
        // A name of its own in front, so that no two are equal by chance of the same piece.
        let mut file = File::create(folder.join(format!("{number:07}.txt")))?;
        file.write_all(&text[start..start + bytes])?;
    }
    Ok(())
}

/// A file of bytes that do not compress.
pub(crate) fn incompressible(path: &Path, bytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut stream =
        blake3::Hasher::new().update(&SEED.to_le_bytes()).update(path.as_os_str().as_encoded_bytes()).finalize_xof();
    std::io::copy(&mut (&mut stream).take(bytes), &mut file)?;
    Ok(())
}

const EXTENT: u64 = 1 << 20;

/// A sparse file: `allocated` bytes of it lie in extents of 1 MiB, two thirds text, one third incompressible.
pub(crate) fn sparse_image(path: &Path, text: &[u8], bytes: u64, allocated: u64) -> Result<Vec<u64>> {
    let file = File::create(path)?;
    file.set_len(bytes)?;
    let mut random = Random(SEED ^ 1);
    let slots = bytes / EXTENT;
    let mut order: Vec<u64> = (0..slots).collect();
    for n in (1..order.len()).rev() {
        order.swap(n, random.below(n as u64 + 1) as usize);
    }
    order.truncate((allocated / EXTENT) as usize);
    let mut extent = vec![0; EXTENT as usize];
    for (n, slot) in order.iter().enumerate() {
        if n % 3 == 2 {
            extent.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
        } else {
            let start = random.below(text.len() as u64 - EXTENT) as usize;
            extent.copy_from_slice(&text[start..start + EXTENT as usize]);
        }
        file.write_all_at(&extent, slot * EXTENT)?;
    }
    file.sync_all()?;
    Ok(order)
}

/// Writes 4 KiB at random to `percent` of what is allocated.
pub(crate) fn scribble(path: &Path, extents: &[u64], percent: u64) -> Result<u64> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    let mut random = Random(SEED ^ 2);
    let pages = extents.len() as u64 * (EXTENT / 4096) * percent / 100;
    let mut page = [0; 4096];
    for _ in 0..pages {
        page.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
        let extent = extents[random.below(extents.len() as u64) as usize];
        file.write_all_at(&page, extent * EXTENT + random.below(EXTENT / 4096) * 4096)?;
    }
    file.sync_all()?;
    Ok(pages * 4096)
}

/// A home folder: documents, sources, pictures that do not compress, and a few large files.
pub(crate) fn home(root: &Path, text: &[u8], bytes: u64) -> Result<()> {
    let mut random = Random(SEED ^ 3);
    let (mut written, mut number) = (0, 0_u64);
    while written < bytes {
        let folder = root.join(format!("{:04}", number / 50));
        fs::create_dir_all(&folder)?;
        let length = match number % 20 {
            0 => 4 << 20,
            1..=4 => 512 << 10,
            _ => 10 << 10,
        } + random.below(64 << 10);
        let mut contents = vec![0; length as usize];
        if number % 5 < 2 {
            contents.chunks_mut(8).for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()[..word.len()]));
        } else {
            for piece in contents.chunks_mut(16 << 10) {
                let start = random.below((text.len() - piece.len()) as u64) as usize;
                piece.copy_from_slice(&text[start..start + piece.len()]);
            }
        }
        fs::write(folder.join(format!("{number:07}")), &contents)?;
        written += length;
        number += 1;
    }
    Ok(())
}

/// xorshift64*: reproducible and fast; nothing here is secret.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }

    /// Box and Muller's normal deviate.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}
