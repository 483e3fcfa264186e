//! The index of many chunks: built from segments on disk, opened again, asked.

use crate::memory::{anonymous_kib, measure};
use crate::{Outcome, root};
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::{BlobId, PackId, SessionId, VaultId};
use nightkeep_vault::index::{Index, Location, SessionChunks};
use nightkeep_vault::keys::MachineKeys;
use nightkeep_vault::pack::{Area, BlockInfo, BlockType, Codec, Footer, Member};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::generation::Generation;
use nightkeep_vault::record::segment::{Segment, SegmentPack};
use nightkeep_vault::store::{CountedStore, Counts, DiskStore, Store};
use nightkeep_vault::vault::{Local, Vault};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const VAULT: VaultId = VaultId([1; 16]);
/// A pack of 16 MiB with chunks of 1 MiB: as many packs as there can be for so many chunks.
const PACK_CHUNKS: u64 = 16;
/// As a session cuts its segments.
const SEGMENT_CHUNKS: u64 = 100_000;
const LOOKUPS: u64 = 1_000_000;

fn id(n: u64) -> [u8; 32] {
    *blake3::hash(&n.to_le_bytes()).as_bytes()
}

fn open_vault(dir: &Path) -> Outcome<(Vault, Arc<Counts>, MachineKeys)> {
    let (store, counts) = CountedStore::new(Arc::new(DiskStore::new(dir.join("vault"))));
    let vault = Vault::open_owner(store, VAULT, root(dir, VAULT)?)?.with_local(Local::in_dir(dir.join("cache")));
    let machine = vault.writer("machine")?;
    Ok((vault, counts, machine))
}

/// Writes the segments of so many chunks, as sessions of one machine would.
pub(crate) fn write_segments(dir: &Path, chunks: u64) -> Outcome {
    let store: Arc<dyn Store> = Arc::new(DiskStore::new(dir.join("vault")));
    Vault::create(store, root(dir, VAULT)?, VAULT, Custody::Owner, Time::default())?;
    let (vault, _, machine) = open_vault(dir)?;
    for (counter, first) in (0..chunks).step_by(SEGMENT_CHUNKS as usize).enumerate() {
        write_segment(&vault, &machine, counter as u32, first, (first + SEGMENT_CHUNKS).min(chunks))?;
    }
    Ok(())
}

fn write_segment(vault: &Vault, machine: &MachineKeys, counter: u32, first: u64, end: u64) -> Outcome {
    let packs = (first..end).step_by(PACK_CHUNKS as usize).map(|first| pack(first, end)).collect();
    let segment = Segment { machine: machine.id, session: SessionId([5; 16]), counter, packs };
    let name = segment.name(0);
    vault.store().put_create(&name, &segment.seal(VAULT, &name, vault.keys(), machine))?;
    Ok(())
}

fn pack(first: u64, end: u64) -> SegmentPack {
    let block = |n: u64| BlockInfo {
        block_type: BlockType::Chunk,
        codec: Codec::Zstd,
        group: 0,
        ordinal: (n - first) as u32,
        offset: (n - first) as u32 * 1_000_000,
        sealed_bytes: 1_000_000,
        plain_bytes: 1_048_576,
        members: vec![Member { id: BlobId(id(n)), bytes: 1_048_576 }],
    };
    let footer = Footer { blocks: (first..(first + PACK_CHUNKS).min(end)).map(block).collect() };
    SegmentPack { area: Area::Data, id: PackId(id(u64::MAX - first)), bytes: 16_000_000, footer }
}

/// Builds the cache from all segments.
pub(crate) fn build(dir: &Path) -> Outcome {
    let (vault, counts, machine) = open_vault(dir)?;
    let (index, took) = measure(|| vault.load_index(&Generation::default(), Some(machine.id)));
    let index = index?;
    println!(
        "  build     {:>8.2} s  {:>6.1} MiB anonymous, {:.1} at peak; {} chunks, {} packs; {}",
        took.seconds,
        took.after_mib,
        took.peak_mib,
        index.chunks(),
        index.pack_count(),
        counts.now()
    );
    drop(index);
    println!("  on disk   {:>8.1} MiB", folder_bytes(&dir.join("cache"))? as f64 / f64::from(1 << 20));
    Ok(())
}

/// Opens the cache, asks it, and takes in one more segment.
pub(crate) fn open(dir: &Path, chunks: u64) -> Outcome {
    let (vault, counts, machine) = open_vault(dir)?;
    let before = counts.now();
    let (index, took) = measure(|| vault.load_index(&Generation::default(), Some(machine.id)));
    let index = index?;
    let asked = counts.now().since(&before);
    println!("  open      {:>8.3} s  {:>6.1} MiB anonymous; {asked}", took.seconds, took.after_mib);
    let (result, took) = measure(|| lookups(&index, chunks));
    result?;
    println!(
        "  look-ups done with {:.1} MiB anonymous, {:.1} at peak ({:.1} when they began)",
        took.after_mib,
        took.peak_mib,
        anonymous_kib() as f64 / 1024.0
    );
    drop(index);
    write_segment(&vault, &machine, u32::MAX, chunks, chunks + 1000)?;
    let (index, took) = measure(|| vault.load_index(&Generation::default(), Some(machine.id)));
    println!("  one more segment of 1,000 chunks {:.3} s, {:.1} MiB at peak", took.seconds, took.peak_mib);
    assert!(index?.chunk(&BlobId(id(chunks + 999)))?.is_some(), "the new chunk is known");
    Ok(())
}

fn lookups(index: &Index, chunks: u64) -> Outcome {
    let absent =
        time(LOOKUPS, |n| index.chunk(&BlobId(id(chunks + (1 << 40) + n))).map(|found| u64::from(found.is_some())))?;
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % chunks;
    let present = time(LOOKUPS / 4, |n| index.chunk(&BlobId(id(spread(n)))).map(|found| u64::from(found.is_some())))?;
    let began = Instant::now();
    for n in 0..LOOKUPS / 4 {
        black_box(index.pack((spread(n) / PACK_CHUNKS) as u32)?);
    }
    let packs = began.elapsed().as_nanos() as f64 / (LOOKUPS / 4) as f64;
    println!("  absent    {absent:>8.0} ns  a look-up");
    println!("  present   {present:>8.0} ns  a look-up, spread over all; {packs:.0} ns its pack");
    Ok(())
}

/// Nanoseconds for each, without what the id itself takes.
fn time<E: std::error::Error + 'static>(count: u64, work: impl Fn(u64) -> Result<u64, E>) -> Outcome<f64> {
    let began = Instant::now();
    (0..count).for_each(|n| _ = black_box(id(n)));
    let ids = began.elapsed();
    let began = Instant::now();
    for n in 0..count {
        black_box(work(n)?);
    }
    Ok(began.elapsed().saturating_sub(ids).as_nanos() as f64 / count as f64)
}

/// What a first backup of so many chunks keeps while it runs.
pub(crate) fn session(chunks: u64) -> Outcome {
    let (result, took) = measure(|| -> Outcome {
        let mut session = SessionChunks::new();
        for first in (0..chunks).step_by(PACK_CHUNKS as usize) {
            let pack = session.begin_pack();
            for n in first..(first + PACK_CHUNKS).min(chunks) {
                let place = Location { pack, block: (n - first) as u32, member: 0 };
                if session.chunk(&BlobId(id(n)))?.is_none() {
                    session.place(&BlobId(id(n)), place)?;
                }
            }
            session.name_pack(pack, PackId(id(first)));
        }
        Ok(())
    });
    result?;
    println!("  sending as many new ones {:.1} s, {:.1} MiB at peak", took.seconds, took.peak_mib);
    Ok(())
}

pub(crate) fn folder_bytes(dir: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        bytes += if path.is_dir() { folder_bytes(&path)? } else { path.metadata()?.len() };
    }
    Ok(bytes)
}
