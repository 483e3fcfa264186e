//! Moves what is still needed out of packs of which little is, so that they can go (C4).
//!
//! **Invariant**: blocks are copied out of bytes that were held against their pack's name, sealed as they are; the new
//! packs and the segments that list them are durable before a generation says where the blocks went.

use super::plan::{Plan, StoredPack};
use super::{CollectOptions, RepackOptions, parallel::parallel};
use crate::crypto::random;
use crate::id::{MachineId, PackId, SessionId};
use crate::pack::{Area, BlockInfo, PackCopy, PackHeader};
use crate::record::forward::Forward;
use crate::record::generation::Generation;
use crate::record::segment::{self, Segment, SegmentPack};
use crate::references::Leaf;
use crate::store::StoreError;
use crate::vault::{Vault, VaultError};
use std::collections::BTreeMap;

/// A new pack is about as long as those that machines write.
const PACK_BYTES: usize = 16 << 20;
/// Each worker holds an old pack and a new one.
const WORKERS_MAX: usize = 4;

/// A pack of which little is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sparse {
    /// The pack.
    pub pack: StoredPack,
    /// The needed blocks, in their order.
    pub blocks: Vec<u32>,
    /// Their sealed bytes.
    pub live_bytes: u64,
    /// Whose segment lists it.
    pub(super) machine: MachineId,
    /// Other machines may rely on it, too.
    pub(super) verified: bool,
}

/// Name and hash of a segment, as a generation lists it when it is verified.
type Named = (String, [u8; 32]);

/// What was moved.
#[derive(Default)]
pub(super) struct Moved {
    /// Packs that nothing needs any more.
    pub(super) packs: Vec<StoredPack>,
    /// Sealed bytes that were copied.
    pub(super) bytes: u64,
    forwards: Vec<Forward>,
    verified: Vec<Named>,
}

impl Moved {
    /// Writes into a generation what went where, and that the old packs may go.
    pub(super) fn tell(&self, next: &mut Generation) {
        next.tombstones.extend(self.packs.iter().map(|pack| pack.id));
        next.tombstones.sort_unstable();
        next.forwards.extend(self.forwards.iter().cloned());
        next.verified_segments.extend(self.verified.iter().cloned());
    }
}

/// Keeps the emptiest packs, as many as may be copied at once.
pub(super) fn choose(sparse: &mut Vec<Sparse>, options: &RepackOptions) {
    sparse.sort_by_key(|sparse| (sparse.live_bytes * 1000 / sparse.pack.bytes.max(1), sparse.pack.id));
    let mut bytes = 0;
    sparse.retain(|sparse| {
        bytes += sparse.live_bytes;
        bytes <= options.bytes_max
    });
}

/// Copies what is needed of the plan's sparse packs, machine by machine. Storage that has no room for that is no reason to
/// keep what nobody needs: copies that did not fit as a whole are taken back, and the collection goes on without them.
pub(super) fn run(vault: &Vault, plan: &Plan, options: &CollectOptions) -> Result<Moved, VaultError> {
    let mut groups: BTreeMap<(MachineId, bool), Vec<&Sparse>> = BTreeMap::new();
    for sparse in &plan.sparse {
        groups.entry((sparse.machine, sparse.verified)).or_default().push(sparse);
    }
    let mut moved = Moved::default();
    for ((machine, verified), mut sparse) in groups {
        sparse.sort_by_key(|sparse| sparse.pack.id);
        let copied = parallel(&batches(&sparse), options.workers.min(WORKERS_MAX), |batch| copy_batch(vault, batch))?;
        let copied = copied.into_iter().fold(Copied::default(), Copied::and);
        let listed = match copied.is_cut {
            true => take_back(vault, &copied.packs).map(|()| None),
            false => list(vault, machine, copied.packs, plan.before.number),
        };
        let Some(segments) = listed? else {
            tracing::warn!("The storage has no room for copies; packs of which little is needed stay for now");
            break;
        };
        moved.bytes += copied.bytes;
        moved.forwards.extend(copied.forwards);
        moved.packs.extend(copied.emptied);
        moved.verified.extend(segments.into_iter().filter(|_| verified));
    }
    Ok(moved)
}

/// Packs whose needed blocks fill one new pack.
fn batches<'s>(sparse: &[&'s Sparse]) -> Vec<Vec<&'s Sparse>> {
    let (mut batches, mut bytes) = (vec![Vec::new()], 0);
    for sparse in sparse {
        if bytes + sparse.live_bytes > PACK_BYTES as u64 {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += sparse.live_bytes;
        batches.last_mut().expect("it begins with one").push(*sparse);
    }
    batches
}

/// New packs, and where their blocks came from.
#[derive(Default)]
struct Copied {
    packs: Vec<SegmentPack>,
    forwards: Vec<Forward>,
    emptied: Vec<StoredPack>,
    bytes: u64,
    /// The storage had no room for more.
    is_cut: bool,
}

impl Copied {
    fn and(mut self, other: Self) -> Self {
        self.packs.extend(other.packs);
        self.forwards.extend(other.forwards);
        self.emptied.extend(other.emptied);
        Self { bytes: self.bytes + other.bytes, is_cut: self.is_cut || other.is_cut, ..self }
    }
}

/// Where blocks came from, until their new pack has its name.
struct Source {
    old: PackId,
    first: u32,
    moved: Vec<u8>,
}

fn copy_batch(vault: &Vault, batch: &[&Sparse]) -> Result<Copied, VaultError> {
    let (mut copied, mut copy, mut sources) = (Copied::default(), PackCopy::default(), Vec::new());
    for sparse in batch {
        let id = sparse.pack.id;
        let (bytes, described) = match vault.read_pack(Area::Data, id) {
            Ok(read) => read,
            // It stays as it is: a check names what it damages, a repair sets it aside.
            Err(error) if error.is_damage() => {
                tracing::warn!(pack = %id, %error, "A damaged pack is not repacked");
                continue;
            }
            Err(error) => return Err(error),
        };
        let damaged = |source| VaultError::Pack { name: Area::Data.name(id), source };
        let header = PackHeader::decode_start(&bytes).map_err(damaged)?;
        let blocks: Option<Vec<&BlockInfo>> =
            sparse.blocks.iter().map(|block| described.footer.blocks.get(*block as usize)).collect();
        let Some(blocks) = blocks else { continue };
        if !copy.fits(&header, &blocks, PACK_BYTES) {
            put(vault, std::mem::take(&mut copy), std::mem::take(&mut sources), &mut copied)?;
        }
        if copied.is_cut {
            return Ok(copied);
        }
        let first = copy.take(&header, &blocks, &bytes).map_err(damaged)?;
        sources.push(Source { old: id, first, moved: bitmap(id, &sparse.blocks) });
        copied.emptied.push(sparse.pack);
        copied.bytes += sparse.live_bytes;
    }
    put(vault, copy, sources, &mut copied)?;
    Ok(copied)
}

fn bitmap(pack: PackId, blocks: &[u32]) -> Vec<u8> {
    let mut leaf = Leaf::default();
    blocks.iter().for_each(|block| leaf.insert(pack, *block));
    leaf.bitmaps().next().map_or_else(Vec::new, |(_, bitmap)| bitmap.to_vec())
}

fn put(vault: &Vault, copy: PackCopy, sources: Vec<Source>, copied: &mut Copied) -> Result<(), VaultError> {
    if copy.is_empty() {
        return Ok(());
    }
    let pack = copy.finish(vault.id(), &vault.keys().index);
    match vault.store().put_same(&Area::Data.name(pack.id), &pack.bytes).map_err(VaultError::from) {
        Ok(_) => {}
        Err(VaultError::Store(StoreError::Full { .. })) => {
            copied.is_cut = true;
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    copied.packs.push(SegmentPack::of(Area::Data, &pack));
    let forward = |source: Source| Forward { old: source.old, new: pack.id, first: source.first, moved: source.moved };
    copied.forwards.extend(sources.into_iter().map(forward));
    Ok(())
}

/// Deletes copies that no segment lists, so that nobody can count on them.
fn take_back(vault: &Vault, packs: &[SegmentPack]) -> Result<(), VaultError> {
    packs.iter().try_for_each(|pack| Ok(vault.store().delete(&Area::Data.name(pack.id))?))
}

/// Lists new packs in the name of the machine that wrote their blocks, so that they count for whom its own segments do.
/// None when the storage had no room for that: then what no segment lists is taken back, and what one lists already is
/// garbage for a later collection.
fn list(
    vault: &Vault,
    machine: MachineId,
    packs: Vec<SegmentPack>,
    generation: u64,
) -> Result<Option<Vec<Named>>, VaultError> {
    let (session, mut written) = (SessionId(random()), Vec::new());
    let mut groups = segment::cut(packs).into_iter();
    while let Some(packs) = groups.next() {
        let segment = Segment { machine, session, counter: written.len() as u32, packs };
        match vault.write_rebuilt(&segment, generation) {
            Ok((name, hash)) => written.push((name.to_string(), hash)),
            Err(VaultError::Store(StoreError::Full { .. })) => {
                take_back(vault, &segment.packs)?;
                groups.try_for_each(|packs| take_back(vault, &packs))?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(written))
}
