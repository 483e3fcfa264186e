//! What recovery points need: blocks of data packs, by their references; metadata packs, by their headers.
//!
//! **Invariant**: with `K_index` alone, and complete or not at all: a leaf that cannot be read is an error. Each
//! metadata pack is read once for all points given; memory holds its leaves only up to [`LEAF_BYTES_KEPT`].

use super::parallel::{WORKERS, parallel};
use crate::crypto::{Cipher, SealingKeyPair, Secret};
use crate::id::{BlobId, MachineId, PackId};
use crate::pack::{Area, BlockInfo, BlockType, Footer, PackError, PackHeader, PackKeys, footer_and_trailer_bytes};
use crate::reader::references_id;
use crate::record::forward::Forwards;
use crate::record::point::{Point, PointHeader};
use crate::references::{Leaf, Root};
use crate::store::{ObjectName, StoreError};
use crate::vault::{Health, ListedPoint, Vault, VaultError};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A pack up to this length comes with one read.
const WHOLE_PACK_BYTES: u64 = 1 << 20;
/// The first read of a longer pack's end; most footers fit.
const TAIL_READ_BYTES: u64 = 64 << 10;
/// Plain bytes of leaves that are kept from the first look at the packs; the others are read a second time.
const LEAF_BYTES_KEPT: usize = 64 << 20;

/// Blocks and packs that must stay.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    blocks: HashMap<PackId, Vec<u8>>,
    /// Metadata packs, needed as a whole.
    pub meta: HashSet<PackId>,
}

impl Needs {
    /// Every pack of which something is needed.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        self.blocks.keys().copied().chain(self.meta.iter().copied())
    }

    /// Whether anything of a pack is needed.
    pub fn contains(&self, pack: PackId) -> bool {
        self.blocks.contains_key(&pack) || self.meta.contains(&pack)
    }

    /// The needed blocks of a data pack.
    pub fn blocks_of(&self, pack: PackId) -> impl Iterator<Item = u32> + '_ {
        let bitmap = self.blocks.get(&pack).map_or(&[][..], Vec::as_slice);
        (0..bitmap.len() as u32 * 8).filter(|n| bitmap[*n as usize / 8] >> (n % 8) & 1 == 1)
    }

    /// What both need.
    pub fn add(&mut self, other: &Needs) {
        self.meta.extend(&other.meta);
        other.blocks.iter().for_each(|(pack, bitmap)| self.add_blocks(*pack, bitmap));
    }

    /// One block more.
    pub(crate) fn add_block(&mut self, pack: PackId, block: u32) {
        let mut bitmap = vec![0; block as usize / 8 + 1];
        bitmap[block as usize / 8] |= 1 << (block % 8);
        self.add_blocks(pack, &bitmap);
    }

    fn add_blocks(&mut self, pack: PackId, bitmap: &[u8]) {
        let there = self.blocks.entry(pack).or_default();
        if there.len() < bitmap.len() {
            there.resize(bitmap.len(), 0);
        }
        there.iter_mut().zip(bitmap).for_each(|(there, more)| *there |= more);
    }

    fn add_leaf(&mut self, leaf: &Leaf) {
        leaf.bitmaps().for_each(|(pack, bitmap)| self.add_blocks(pack, bitmap));
    }
}

/// What these points need together.
pub fn needs_of<'p>(vault: &Vault, points: impl IntoIterator<Item = &'p PointHeader>) -> Result<Needs, VaultError> {
    let points: Vec<&PointHeader> = points.into_iter().collect();
    let mut needs = Needs::default();
    needs.meta.extend(points.iter().flat_map(|point| &point.meta_packs));
    let roots: HashSet<BlobId> = points.iter().map(|point| point.references).collect();
    let packs: Vec<PackId> = needs.meta.iter().copied().collect();
    let budget = LEAF_BYTES_KEPT / packs.len().max(1);
    let looked = parallel(&packs, WORKERS, |pack| look(vault, *pack, &roots, budget))?;
    let mut missing: HashSet<BlobId> = HashSet::new();
    let mut found = HashSet::new();
    for (id, root) in looked.iter().flat_map(|look| &look.roots) {
        found.insert(*id);
        missing.extend(&root.leaves);
    }
    if let Some(root) = roots.iter().find(|root| !found.contains(*root)) {
        return Err(VaultError::Missing { what: "references root", id: root.to_string() });
    }
    let mut again = Vec::new();
    for (pack, look) in packs.iter().zip(&looked) {
        look.leaves.iter().filter(|(id, _)| missing.remove(id)).for_each(|(_, leaf)| needs.add_leaf(leaf));
        again.extend(look.unread.then_some(*pack));
    }
    let wanted = &missing.clone();
    for leaf in parallel(&again, WORKERS, |pack| leaves_of(vault, *pack, wanted))?.into_iter().flatten() {
        missing.remove(&leaf.0);
        needs.add_leaf(&leaf.1);
    }
    match missing.iter().next() {
        None => Ok(needs),
        Some(leaf) => Err(VaultError::Missing { what: "references leaf", id: leaf.to_string() }),
    }
}

/// What the first look at a metadata pack gave.
struct Look {
    roots: Vec<(BlobId, Root)>,
    leaves: Vec<(BlobId, Leaf)>,
    /// It has more leaves than were kept.
    unread: bool,
}

fn look(vault: &Vault, id: PackId, roots: &HashSet<BlobId>, budget: usize) -> Result<Look, VaultError> {
    let pack = MetaPack::open(vault, id)?;
    let mut look = Look { roots: Vec::new(), leaves: Vec::new(), unread: false };
    let mut kept = 0;
    for info in &pack.footer.blocks {
        let Some(member) = info.members.first() else { continue };
        match info.block_type {
            BlockType::ReferencesRoot if roots.contains(&member.id) => {
                let plain = pack.block(vault, info)?;
                look.roots.push((member.id, Root::decode(&plain).map_err(|source| pack.damaged(source.into()))?));
            }
            BlockType::ReferencesLeaf if kept + member.bytes as usize <= budget => {
                kept += member.bytes as usize;
                look.leaves.push((member.id, pack.leaf(vault, info)?));
            }
            BlockType::ReferencesLeaf => look.unread = true,
            BlockType::ReferencesRoot
            | BlockType::Chunk
            | BlockType::Bundle
            | BlockType::Hunk
            | BlockType::HunkList
            | BlockType::ContentList => {}
        }
    }
    Ok(look)
}

fn leaves_of(vault: &Vault, id: PackId, wanted: &HashSet<BlobId>) -> Result<Vec<(BlobId, Leaf)>, VaultError> {
    let pack = MetaPack::open(vault, id)?;
    let is_leaf = |info: &&BlockInfo| info.block_type == BlockType::ReferencesLeaf;
    let leaves = pack.footer.blocks.iter().filter(is_leaf).filter_map(|info| Some((info.members.first()?.id, info)));
    leaves.filter(|(id, _)| wanted.contains(id)).map(|(id, info)| Ok((id, pack.leaf(vault, info)?))).collect()
}

/// A metadata pack, opened with `K_index` alone.
struct MetaPack {
    name: ObjectName,
    header: PackHeader,
    ciphers: Vec<Option<Cipher>>,
    footer: Footer,
    /// All bytes, when it is short.
    bytes: Option<Vec<u8>>,
}

/// References need no other key than `K_index`.
struct IndexOnly;

impl PackKeys for IndexOnly {
    fn vault_key(&self, _: u32) -> Option<SealingKeyPair> {
        None
    }

    fn meta_key(&self, _: MachineId, _: u32) -> Option<Secret> {
        None
    }
}

impl MetaPack {
    fn open(vault: &Vault, id: PackId) -> Result<Self, VaultError> {
        let name = Area::Meta.name(id);
        let store = vault.store();
        let damaged = |source| VaultError::Pack { name: name.clone(), source };
        let start = store.get_range(&name, 0..WHOLE_PACK_BYTES + 1)?;
        let header_bytes = start.get(8..12).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let header = start.get(..header_bytes).ok_or(PackError::Frame("no pack begins here"));
        let header = header.and_then(PackHeader::decode).map_err(damaged)?;
        let whole = start.len() as u64 <= WHOLE_PACK_BYTES;
        let tail = if whole { None } else { Some(read_tail(vault, &name)?) };
        let footer = header.open_footer(vault.id(), &vault.keys().index, tail.as_deref().unwrap_or(&start));
        let footer = footer.map_err(damaged)?;
        let ciphers = header.ciphers(vault.id(), &vault.keys().index, &IndexOnly).map_err(damaged)?;
        Ok(Self { header, ciphers, footer, bytes: whole.then_some(start), name })
    }

    fn damaged(&self, source: PackError) -> VaultError {
        VaultError::Pack { name: self.name.clone(), source }
    }

    fn leaf(&self, vault: &Vault, info: &BlockInfo) -> Result<Leaf, VaultError> {
        Leaf::decode(&self.block(vault, info)?).map_err(|source| self.damaged(source.into()))
    }

    /// Opens a references block and checks its id.
    fn block(&self, vault: &Vault, info: &BlockInfo) -> Result<Vec<u8>, VaultError> {
        let (from, to) = (u64::from(info.offset), u64::from(info.offset) + u64::from(info.sealed_bytes));
        let mut sealed = match &self.bytes {
            Some(bytes) => bytes.get(from as usize..to as usize).map(<[u8]>::to_vec).unwrap_or_default(),
            None => vault.store().get_range(&self.name, from..to)?,
        };
        let index = &vault.keys().index;
        let plain = self.header.open_block(vault.id(), &self.ciphers, info, &mut sealed);
        let plain = plain.map_err(|source| self.damaged(source))?;
        match info.members.first() {
            Some(member) if references_id(index, &plain) == member.id => Ok(plain),
            Some(_) | None => Err(self.damaged(PackError::Content)),
        }
    }
}

fn read_tail(vault: &Vault, name: &ObjectName) -> Result<Vec<u8>, VaultError> {
    let store = vault.store();
    let bytes = store.head(name)?.ok_or_else(|| StoreError::NotFound { name: name.clone() })?;
    let tail = store.get_range(name, bytes.saturating_sub(TAIL_READ_BYTES)..bytes)?;
    let wanted = footer_and_trailer_bytes(&tail);
    let wanted = wanted.map_err(|source| VaultError::Pack { name: name.clone(), source })?;
    if wanted <= tail.len() as u64 {
        return Ok(tail);
    }
    Ok(store.get_range(name, bytes.saturating_sub(wanted)..bytes)?)
}

/// What points need, in the packs they name. Of a point that lost packs, what can still be read counts.
pub(super) fn needs_of_points<'p>(
    vault: &Vault,
    points: impl IntoIterator<Item = &'p ListedPoint>,
) -> Result<Needs, VaultError> {
    let mut by_machine: BTreeMap<MachineId, Vec<&PointHeader>> = BTreeMap::new();
    let mut needs = Needs::default();
    for listed in points {
        let header = &listed.point.header;
        match listed.health {
            Health::Sound => by_machine.entry(header.machine).or_default().push(header),
            Health::Lost => match needs_of(vault, [header]) {
                Ok(rest) => needs.add(&rest),
                Err(error @ VaultError::Store(StoreError::Failed { .. })) => return Err(error),
                Err(_) => needs.meta.extend(&header.meta_packs),
            },
        }
    }
    // Machine by machine: leaves of one machine are shared by its points, and memory holds one machine's at a time.
    for headers in by_machine.into_values() {
        needs.add(&needs_of(vault, headers)?);
    }
    Ok(needs)
}

/// The same of partial points. One that cannot be read is no root: whoever continues it checks every block.
pub(super) fn needs_of_partials(vault: &Vault, partials: &[Point]) -> Result<Needs, VaultError> {
    let mut needs = Needs::default();
    for partial in partials {
        match needs_of(vault, [&partial.header]) {
            Ok(more) => needs.add(&more),
            Err(error @ VaultError::Store(StoreError::Failed { .. })) => return Err(error),
            Err(error) => {
                tracing::warn!(name = %partial.name(), %error, "A partial point cannot be read and is no root")
            }
        }
    }
    Ok(needs)
}

impl Needs {
    /// The same with moved blocks where they are now.
    pub(crate) fn followed(mut self, forwards: &Forwards) -> Self {
        let moved: Vec<PackId> = self.blocks.keys().copied().filter(|pack| forwards.leave(*pack)).collect();
        for old in moved {
            let blocks: Vec<u32> = self.blocks_of(old).collect();
            self.blocks.remove(&old);
            for block in blocks {
                let (pack, block) = forwards.follow(old, block);
                self.add_block(pack, block);
            }
        }
        self
    }
}
