//! Mending an index, and withdrawing what cannot be mended: first a plan, then its execution.
//!
//! A lost or damaged segment is written again from the footers of the packs that points reference; packs and segments
//! that are missing or damaged go into quarantine, so that the next backup sends what they held.
//!
//! **Invariant**: nothing is deleted or overwritten, and each put leaves the vault no worse than before: a plan that was
//! executed in part is followed by a smaller one.

use crate::codec::Time;
use crate::crypto::random;
use crate::id::{BlobId, MachineId, PackId, SessionId};
use crate::index::Index;
use crate::pack::{Area, BlockType};
use crate::reader::{BlockReader, references_id};
use crate::record::forward::Forwards;
use crate::record::point::Point;
use crate::record::quarantine::Verdict;
use crate::record::segment::{CHUNKS_MAX, Segment, SegmentPack};
use crate::references::{Leaf, Root};
use crate::store::ObjectName;
use crate::vault::{Problem, Quarantine, Vault, VaultError};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A recovery point that lost a part of its catalogue or references.
#[derive(Debug)]
pub struct LostPoint {
    /// Its object.
    pub name: ObjectName,
    /// Its id.
    pub id: crate::id::PointId,
    /// The machine's name.
    pub machine: String,
    /// The metadata packs it cannot read, and why.
    pub packs: Vec<Problem>,
}

/// What a repair would do.
#[derive(Debug, Default)]
pub struct RepairPlan {
    /// Packs that points of a machine reference and that no segment lists.
    pub rebuild: BTreeMap<MachineId, BTreeSet<(Area, PackId)>>,
    /// Objects to withdraw, or to use again.
    pub verdicts: Vec<(ObjectName, Verdict)>,
    /// Points that cannot be given back whole, whatever a repair does.
    pub lost: Vec<LostPoint>,
    generation: u64,
}

impl RepairPlan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.rebuild.is_empty() && self.verdicts.is_empty()
    }

    /// Packs that will be listed again.
    pub fn packs(&self) -> usize {
        self.rebuild.values().map(BTreeSet::len).sum()
    }
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Segments written.
    pub segments: usize,
    /// Packs they list.
    pub packs: usize,
    /// Objects withdrawn, or put to use again.
    pub verdicts: usize,
    /// A collection ran meanwhile: plan again.
    pub again: bool,
}

/// Plans a repair. `scrubbed` is what a scrub of all objects found; without one only what a listing shows is known.
pub fn plan(vault: &Arc<Vault>, scrubbed: Option<&[(ObjectName, Verdict)]>) -> Result<RepairPlan, VaultError> {
    let (generation, quarantine) = (vault.newest_generation()?, vault.quarantine()?);
    let there = list(vault)?;
    let index = vault.load_index(&generation, None)?;
    let mut plan = RepairPlan { generation: generation.number, ..RepairPlan::default() };
    let mut verdicts: BTreeMap<ObjectName, Verdict> = scrubbed.unwrap_or_default().iter().cloned().collect();
    let segments = vault.segment_problems(&generation)?;
    verdicts.extend(segments.into_iter().map(|problem| (problem.name, Verdict::Damaged)));
    let mut indexed = HashSet::new();
    for number in (0..index.pack_count()).filter(|number| index.is_listed(*number)) {
        let pack = index.pack(number)?;
        indexed.insert(pack.id);
        let name = pack.area.name(pack.id);
        match there.get(&(pack.area, pack.id)) {
            Some(bytes) if *bytes == pack.bytes => {
                // Put back from elsewhere; whether it is sound, only a scrub can tell.
                if scrubbed.is_some() && quarantine.holds(&name) && !verdicts.contains_key(&name) {
                    verdicts.insert(name, Verdict::Sound);
                }
            }
            // What a collection took away is hidden, and so is what is in quarantine.
            _ if index.is_hidden(number) => {}
            Some(_) => {
                verdicts.insert(name, Verdict::Damaged);
            }
            None => {
                verdicts.insert(name, Verdict::Missing);
            }
        }
    }
    let unlisted: HashSet<(Area, PackId)> = there.keys().filter(|(_, id)| !indexed.contains(id)).copied().collect();
    let (blocks, forwards) = (BlockReader::new(vault.clone()), Forwards::of(&generation));
    let mut needs = Needs { vault, index: &index, blocks, forwards, leaves: HashMap::new() };
    for machine in vault.machines()? {
        for listed in vault.points(machine.machine)?.points.iter().filter(|listed| !listed.retained.forgotten) {
            let (packs, problems) = needs.of(&listed.point, !unlisted.is_empty())?;
            let lost = packs.intersection(&unlisted).copied();
            let wanted: BTreeSet<_> = lost.collect();
            if !wanted.is_empty() {
                plan.rebuild.entry(machine.machine).or_default().extend(wanted);
            }
            if !problems.is_empty() {
                let (name, id) = (listed.point.name().clone(), listed.point.id);
                plan.lost.push(LostPoint { name, id, machine: machine.name.clone(), packs: problems });
            }
        }
    }
    plan.verdicts = verdicts.into_iter().filter(|verdict| is_new(&quarantine, verdict)).collect();
    Ok(plan)
}

fn is_new(quarantine: &Quarantine, (name, verdict): &(ObjectName, Verdict)) -> bool {
    quarantine.verdict(name) != Some(*verdict).filter(|verdict| *verdict != Verdict::Sound)
}

fn list(vault: &Vault) -> Result<HashMap<(Area, PackId), u64>, VaultError> {
    let mut there = HashMap::new();
    for area in [Area::Data, Area::Meta] {
        for info in vault.store().list_all(&format!("{}/", area.letter()))? {
            if let Some(pack) = crate::vault::pack_of(&info.name) {
                there.insert(pack, info.bytes);
            }
        }
    }
    Ok(there)
}

type Packs = HashSet<(Area, PackId)>;

/// The packs that points need, read with `K_index` from their metadata packs.
struct Needs<'a> {
    vault: &'a Arc<Vault>,
    index: &'a Index,
    blocks: BlockReader,
    forwards: Forwards,
    /// The packs of each leaf that is not wholly in the index.
    leaves: HashMap<BlobId, Vec<PackId>>,
}

impl Needs<'_> {
    /// The packs of a point that the index does not hold, and its metadata packs that cannot be read.
    fn of(&mut self, point: &Point, with_data: bool) -> Result<(Packs, Vec<Problem>), VaultError> {
        let (mut packs, mut problems) = (HashSet::new(), Vec::new());
        let (mut roots, mut leaves) = (Vec::new(), HashMap::new());
        let asked: Vec<_> = point.header.meta_packs.iter().map(|id| (*id, None)).collect();
        for ((id, _), opened) in asked.iter().zip(self.blocks.open_all(Area::Meta, &asked)) {
            match opened {
                Err(error) if error.is_damage() => problems.push(Problem { name: Area::Meta.name(*id), error }),
                Err(error) => return Err(error),
                Ok(pack) => {
                    if !self.index.holds(Area::Meta, id)? {
                        packs.insert((Area::Meta, *id));
                    }
                    for (number, info) in pack.footer.blocks.iter().enumerate().filter(|_| with_data) {
                        match (info.block_type, info.members.first()) {
                            (BlockType::ReferencesRoot, Some(member)) if member.id == point.header.references => {
                                roots.push((*id, number as u32));
                            }
                            (BlockType::ReferencesLeaf, Some(member)) => {
                                leaves.insert(member.id, (*id, number as u32));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        for leaf in self.root(&roots)?.map(|root| root.leaves).unwrap_or_default() {
            packs.extend(self.leaf(leaf, leaves.get(&leaf).copied())?.iter().map(|id| (Area::Data, *id)));
        }
        Ok((packs, problems))
    }

    fn root(&self, places: &[(PackId, u32)]) -> Result<Option<Root>, VaultError> {
        for place in places {
            if let Some(plain) = self.block(*place)? {
                return Ok(Root::decode(&plain).ok());
            }
        }
        Ok(None)
    }

    /// The packs of a leaf that the index does not hold; a leaf that cannot be read tells none.
    fn leaf(&mut self, id: BlobId, place: Option<(PackId, u32)>) -> Result<Vec<PackId>, VaultError> {
        if let Some(known) = self.leaves.get(&id) {
            return Ok(known.clone());
        }
        let mut unknown = Vec::new();
        let plain = place.map(|place| self.block(place)).transpose()?.flatten();
        let genuine = plain.filter(|plain| references_id(&self.vault.keys().index, plain) == id);
        if let Some(leaf) = genuine.and_then(|plain| Leaf::decode(&plain).ok()) {
            let packs: BTreeSet<PackId> =
                leaf.iter().map(|(pack, block)| self.forwards.follow(pack, block).0).collect();
            for pack in packs {
                if !self.index.holds(Area::Data, &pack)? {
                    unknown.push(pack);
                }
            }
        }
        self.leaves.insert(id, unknown.clone());
        Ok(unknown)
    }

    fn block(&self, (pack, block): (PackId, u32)) -> Result<Option<Vec<u8>>, VaultError> {
        let read = self.blocks.open(Area::Meta, pack).and_then(|pack| self.blocks.read_block(&pack, block));
        match read {
            Ok(plain) => Ok(Some(plain)),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Executes a plan: segments first, then what is withdrawn.
pub fn execute(vault: &Arc<Vault>, plan: &RepairPlan, now: Time) -> Result<Repaired, VaultError> {
    let mut done = Repaired::default();
    let blocks = BlockReader::new(vault.clone());
    let mut verdicts = plan.verdicts.clone();
    for (machine, packs) in &plan.rebuild {
        let session = SessionId(random());
        let (mut listed, mut chunks) = (Vec::new(), 0);
        for (area, id) in packs {
            match describe(vault, &blocks, *area, *id) {
                Ok(pack) => {
                    chunks += pack.footer.blocks.iter().map(|block| block.members.len()).sum::<usize>();
                    listed.push(pack);
                }
                Err(error) if error.is_damage() => verdicts.push((area.name(*id), Verdict::Damaged)),
                Err(error) => return Err(error),
            }
            if chunks >= CHUNKS_MAX {
                write_segment(vault, plan, *machine, session, std::mem::take(&mut listed), &mut done)?;
                chunks = 0;
            }
        }
        write_segment(vault, plan, *machine, session, listed, &mut done)?;
    }
    if !verdicts.is_empty() {
        vault.put_in_quarantine(&verdicts, now)?;
    }
    done.verdicts = verdicts.len();
    done.again = vault.newest_generation()?.number != plan.generation;
    Ok(done)
}

fn describe(vault: &Vault, blocks: &BlockReader, area: Area, id: PackId) -> Result<SegmentPack, VaultError> {
    let pack = blocks.open(area, id)?;
    let name = area.name(id);
    let bytes = vault.store().head(&name)?.ok_or(crate::store::StoreError::NotFound { name })?;
    Ok(SegmentPack { area, id, bytes, footer: pack.footer.clone() })
}

fn write_segment(
    vault: &Vault,
    plan: &RepairPlan,
    machine: MachineId,
    session: SessionId,
    packs: Vec<SegmentPack>,
    done: &mut Repaired,
) -> Result<(), VaultError> {
    if packs.is_empty() {
        return Ok(());
    }
    done.packs += packs.len();
    let segment = Segment { machine, session, counter: done.segments as u32, packs };
    vault.write_rebuilt(&segment, plan.generation)?;
    done.segments += 1;
    Ok(())
}
