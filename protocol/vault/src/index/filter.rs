//! Filters that say of most ids at once that a run does not hold them, and the fence keys that find a page.
//!
//! A run has one binary fuse filter for every [`PARTITION_KEYS`] of its keys, in their order, so that building takes a
//! bounded scratch memory however long the run is, and however its keys are spread. Some nine bits a key; one look-up in
//! 256 of an absent key reads a page in vain.
//!
//! File: `"NKFILT1\0"`, then the fingerprints of each partition; then of each partition its first head (u64), kind (u8:
//! 1 filter, 0 none), seed (u64), segment length, mask and count length (u32 each), bytes of fingerprints (u32) and their
//! CRC-32C (u32); then the head of the first key of each page (u64); then u32 partitions, u32 pages, u32 CRC-32C of the
//! stamp, the table and the fences, `"NKFEND1\0"`. Little-endian.
//!
//! **Invariant**: a filter read back is used only after its checksums matched and its lengths agree with each other, so
//! no look-up leaves its memory.

use super::IndexError;
use super::home::{Home, Output, Stamp};
use super::page::read_exact_at;
use std::fs::File;
use std::path::Path;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter as _, FilterRef as _};

const MAGIC: &[u8; 8] = b"NKFILT1\0";
const END: &[u8; 8] = b"NKFEND1\0";
const TAIL_BYTES: usize = 20;
const PARTITION_BYTES: usize = 37;
/// Keys of a partition at most: some six MiB of scratch memory.
const PARTITION_KEYS: usize = 1 << 18;

/// A filter as the library lays it out: seed, segment length, mask, count length; and the fingerprints.
#[derive(Debug)]
struct Fuse {
    descriptor: [u8; DESCRIPTOR_BYTES],
    fingerprints: Box<[u8]>,
}

const DESCRIPTOR_BYTES: usize = <BinaryFuse8 as DmaSerializable>::DESCRIPTOR_LEN;

impl Fuse {
    fn contains(&self, head: u64) -> bool {
        BinaryFuse8Ref::from_dma(&self.descriptor, &self.fingerprints).contains(&head)
    }
}

/// The filters and fences of a run, in memory.
#[derive(Debug)]
pub(crate) struct Filter {
    /// The first head of each partition, rising.
    firsts: Vec<u64>,
    /// None lets every key pass.
    partitions: Vec<Option<Fuse>>,
    /// The head of the first key of each page, rising.
    fences: Vec<u64>,
}

impl Filter {
    /// False when no key with this head is in the run.
    pub(crate) fn may_hold(&self, head: u64) -> bool {
        let end = self.firsts.partition_point(|first| *first <= head);
        // Keys that share a head may lie on both sides of a border.
        for at in (0..end).rev() {
            if self.partitions[at].as_ref().is_none_or(|filter| filter.contains(head)) {
                return true;
            }
            if self.firsts[at] != head {
                break;
            }
        }
        false
    }

    /// The first page that may hold a key with this head.
    pub(crate) fn first_page(&self, head: u64) -> u32 {
        self.fences.partition_point(|fence| *fence < head).saturating_sub(1) as u32
    }

    /// The head of the first key of a page.
    pub(crate) fn fence(&self, page: u32) -> Option<u64> {
        self.fences.get(page as usize).copied()
    }

    /// Reads the filters of a run of `pages` pages.
    pub(crate) fn read(path: &Path, stamp: &Stamp, pages: u32) -> Result<Self, IndexError> {
        let damaged = |what| IndexError::Damaged { path: path.to_path_buf(), what };
        let io = |source| IndexError::Io { operation: "read", path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let parsed = read_table(&file, bytes, stamp, pages).map_err(damaged)?;
        let mut filter = Self { firsts: Vec::new(), partitions: Vec::new(), fences: parsed.fences };
        let mut offset = MAGIC.len() as u64;
        for partition in parsed.table {
            let loaded = partition.load(&file, offset, parsed.fingerprints_end).map_err(damaged)?;
            offset += u64::from(partition.bytes);
            filter.firsts.push(partition.first);
            filter.partitions.push(loaded);
        }
        Ok(filter)
    }
}

struct Table {
    table: Vec<Partition>,
    fences: Vec<u64>,
    fingerprints_end: u64,
}

fn read_table(file: &File, bytes: u64, stamp: &Stamp, pages: u32) -> Result<Table, &'static str> {
    let short = "it is too short";
    let (mut magic, mut tail) = ([0; 8], [0; TAIL_BYTES]);
    let tail_at = bytes.checked_sub(TAIL_BYTES as u64).ok_or(short)?;
    read_exact_at(file, &mut magic, 0).map_err(|_| short)?;
    read_exact_at(file, &mut tail, tail_at).map_err(|_| short)?;
    let number = |at| u32_of(&tail, at);
    if &magic != MAGIC || &tail[12..] != END || number(4) != pages {
        return Err("it is no filter of this run");
    }
    let table_bytes = u64::from(number(0)) * PARTITION_BYTES as u64;
    let length = table_bytes + u64::from(pages) * 8;
    let start = tail_at.checked_sub(length).filter(|start| *start >= MAGIC.len() as u64).ok_or(short)?;
    // The length is below the file's own, so this memory is backed by it.
    let mut body = vec![0; usize::try_from(length).map_err(|_| short)?];
    read_exact_at(file, &mut body, start).map_err(|_| short)?;
    if body_checksum(stamp, &body) != number(8) {
        return Err("its checksum differs");
    }
    let (table, fences) = body.split_at(table_bytes as usize);
    let table: Vec<Partition> = table.chunks_exact(PARTITION_BYTES).map(Partition::read).collect();
    let fences: Vec<u64> = fences.chunks_exact(8).map(|bytes| u64_of(bytes, 0)).collect();
    if !fences.is_sorted() || !table.is_sorted_by_key(|partition| partition.first) {
        return Err("its keys are out of order");
    }
    Ok(Table { table, fences, fingerprints_end: start })
}

fn body_checksum(stamp: &Stamp, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&stamp.bytes()), body)
}

fn u32_of(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_of(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

/// A partition as the table describes it.
#[derive(Debug, Clone, Copy)]
struct Partition {
    first: u64,
    is_filter: bool,
    descriptor: [u8; DESCRIPTOR_BYTES],
    bytes: u32,
    crc: u32,
}

impl Partition {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_le_bytes());
        out.push(u8::from(self.is_filter));
        out.extend_from_slice(&self.descriptor);
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        let mut descriptor = [0; DESCRIPTOR_BYTES];
        descriptor.copy_from_slice(&bytes[9..29]);
        let (bytes_at, crc_at) = (u32_of(bytes, 29), u32_of(bytes, 33));
        Self { first: u64_of(bytes, 0), is_filter: bytes[8] == 1, descriptor, bytes: bytes_at, crc: crc_at }
    }

    /// Whether every place that a look-up computes lies within the fingerprints.
    fn is_consistent(&self) -> bool {
        let [length, mask, count] = [8, 12, 16].map(|at| u32_of(&self.descriptor, at));
        length.is_power_of_two()
            && mask == length - 1
            && count > 0
            && count.is_multiple_of(length)
            && u64::from(self.bytes) == u64::from(count) + 2 * u64::from(length)
    }

    fn load(&self, file: &File, offset: u64, end: u64) -> Result<Option<Fuse>, &'static str> {
        if !self.is_filter {
            return if self.bytes == 0 { Ok(None) } else { Err("a partition is inconsistent") };
        }
        if !self.is_consistent() || offset + u64::from(self.bytes) > end {
            return Err("a partition is inconsistent");
        }
        let mut fingerprints = vec![0; self.bytes as usize].into_boxed_slice();
        read_exact_at(file, &mut fingerprints, offset).map_err(|_| "it is too short")?;
        if crc32c::crc32c(&fingerprints) != self.crc {
            return Err("the checksum of a partition differs");
        }
        Ok(Some(Fuse { descriptor: self.descriptor, fingerprints }))
    }
}

/// Builds the filter file of a run from its keys in order; never holds more than one partition.
pub(crate) struct FilterWriter {
    out: Output,
    stamp: Stamp,
    heads: Vec<u64>,
    last: Option<u64>,
    table: Vec<u8>,
    partitions: u32,
}

impl FilterWriter {
    pub(crate) fn create(home: &Home, stamp: Stamp) -> Result<Self, IndexError> {
        let mut out = home.create(&home.path(stamp.file, "filter"))?;
        out.write(MAGIC)?;
        Ok(Self { out, stamp, heads: Vec::new(), last: None, table: Vec::new(), partitions: 0 })
    }

    /// Takes the next key's head; heads never fall.
    pub(crate) fn push(&mut self, head: u64) -> Result<(), IndexError> {
        if self.last == Some(head) {
            return Ok(());
        }
        if self.heads.len() == PARTITION_KEYS {
            self.end_partition()?;
        }
        self.last = Some(head);
        self.heads.push(head);
        Ok(())
    }

    fn end_partition(&mut self) -> Result<(), IndexError> {
        let Some(first) = self.heads.first().copied() else { return Ok(()) };
        let mut partition = Partition { first, is_filter: false, descriptor: [0; DESCRIPTOR_BYTES], bytes: 0, crc: 0 };
        // Building fails with a chance that never shows; a run of keys without a filter is read in vain, not wrongly.
        if let Ok(filter) = BinaryFuse8::try_from(&self.heads) {
            let fingerprints = filter.dma_fingerprints();
            partition.is_filter = true;
            filter.dma_copy_descriptor_to(&mut partition.descriptor);
            partition.bytes = fingerprints.len() as u32;
            partition.crc = crc32c::crc32c(fingerprints);
            self.out.write(fingerprints)?;
        }
        partition.write(&mut self.table);
        self.partitions += 1;
        self.heads.clear();
        Ok(())
    }

    /// Ends the file, given the heads of the first keys of the run's pages.
    pub(crate) fn finish(mut self, fences: &[u64]) -> Result<(), IndexError> {
        self.end_partition()?;
        let mut body = self.table;
        fences.iter().for_each(|fence| body.extend_from_slice(&fence.to_le_bytes()));
        self.out.write(&body)?;
        let mut tail = Vec::with_capacity(TAIL_BYTES);
        for number in [self.partitions, fences.len() as u32, body_checksum(&self.stamp, &body)] {
            tail.extend_from_slice(&number.to_le_bytes());
        }
        tail.extend_from_slice(END);
        self.out.write(&tail)?;
        self.out.finish()?;
        Ok(())
    }
}
