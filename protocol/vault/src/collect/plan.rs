//! What a collection would do: read, not written.
//!
//! **Invariant**: packs are listed before sessions, sessions before segments, segments before points (C2): so the session
//! of every listed pack is seen, and so is every point of a session that is seen as closed.

use super::merge::{self, Merge, Readers, Seen};
use super::repack::{self, Sparse};
use super::roots::{self, Roots};
use super::sessions::{self, SessionKey, Sessions};
use super::{CollectError, CollectOptions, Needs, live};
use crate::id::{MachineId, PackId};
use crate::pack::Area;
use crate::record::config::Config;
use crate::record::forward::Forwards;
use crate::record::generation::Generation;
use crate::record::segment::{self, SegmentPack};
use crate::store::ObjectName;
use crate::vault::{Vault, VaultError};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// By how much the live bytes may fall though nothing was forgotten: one part in ten.
const LIVE_FALLS_MAX: u64 = 10;

/// A pack that lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPack {
    /// With data or with metadata.
    pub area: Area,
    /// The pack.
    pub id: PackId,
    /// Its length.
    pub bytes: u64,
}

/// What a collection would do, and on what it is founded.
pub struct Plan {
    /// The generation it follows.
    pub before: Generation,
    /// That generation was never decided; it is brought to its end first.
    pub unfinished: bool,
    /// Packs that nothing needs.
    pub garbage: Vec<StoredPack>,
    /// Packs that were decided to go and are still there.
    pub leftover: Vec<StoredPack>,
    /// Packs of which so little is needed that it is copied, so that they can go.
    pub sparse: Vec<Sparse>,
    pub(super) merges: Vec<Merge>,
    /// Packs that earlier decisions deleted.
    pub(super) gone: HashSet<PackId>,
    /// All packs that lie there.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Points that stay.
    pub points: u64,
    /// Forgotten points whose objects go.
    pub forgotten: u64,
    /// Sealed bytes of what points need.
    pub live_bytes: u64,
    /// Packs that are kept because the session that wrote them may still be at work.
    pub kept_for_sessions: u64,
    pub(super) machines: BTreeSet<MachineId>,
    pub(super) roots: HashSet<ObjectName>,
    pub(super) needs: Needs,
    /// Packs that points name, and those where what they named there is now.
    pub(super) met: HashSet<PackId>,
    pub(super) heads: Vec<crate::record::generation::Head>,
    pub(super) bad: Vec<(MachineId, u64)>,
    pub(super) forgets: u64,
    pub(super) unlisted: Vec<PackId>,
    pub(super) unlisted_sessions: Vec<SessionKey>,
    /// How many live segments list each pack that is gone.
    pub(super) gone_listings: HashMap<PackId, usize>,
    /// Sessions that are over and never closed.
    pub(super) never_closed: BTreeSet<SessionKey>,
    /// Names of segments that lie there.
    pub(super) segments: HashSet<String>,
}

impl Plan {
    /// Sealed bytes that would be given back, the packs included of which something is copied.
    pub fn garbage_bytes(&self) -> u64 {
        let sparse = self.sparse.iter().map(|sparse| &sparse.pack);
        self.garbage.iter().chain(&self.leftover).chain(sparse).map(|pack| pack.bytes).sum()
    }

    /// Index segments that would give way to merged ones.
    pub fn segments_to_merge(&self) -> usize {
        self.merges.iter().map(|merge| merge.parts.len()).sum()
    }

    /// Sealed bytes that would be copied.
    pub fn copied_bytes(&self) -> u64 {
        self.sparse.iter().map(|sparse| sparse.live_bytes).sum()
    }
}

/// What the segments say of a pack.
struct ListedPack {
    area: Area,
    bytes: u64,
    /// Length of each block at rest.
    sealed: Box<[u32]>,
    writers: BTreeSet<SessionKey>,
    /// A segment lists it that a generation vouches for.
    verified: bool,
}

/// Reads the vault and finds what nothing needs. Needs `K_index` alone; writes nothing.
pub fn plan(vault: &Vault, options: &CollectOptions) -> Result<Plan, CollectError> {
    plan_as_if(vault, options, &HashSet::new())
}

/// The same as if these points were forgotten already: to show what that would give back. Not to be carried out.
pub fn plan_as_if(
    vault: &Vault,
    options: &CollectOptions,
    forgotten: &HashSet<ObjectName>,
) -> Result<Plan, CollectError> {
    let config = Config::name();
    if !vault.store().list_all("cfg/")?.iter().any(|info| info.name == config) {
        return Err(CollectError::Shrunken { what: config.to_string() });
    }
    let before = vault.newest_generation()?;
    let decision = vault.decision(before.number)?;
    let unfinished = before.number > 0 && decision.is_none();
    let gone: HashSet<PackId> = before.dead.iter().copied().chain(decision.unwrap_or_default().packs).collect();
    let stored = list_packs(vault)?;
    let machines = roots::machines(vault, &before)?;
    let sessions = sessions::list(vault, &machines, options.workers)?;
    let given_up = sessions.iter().filter(|(_, state)| !state.closed && state.is_over(options.now));
    let never_closed: BTreeSet<SessionKey> =
        before.never_closed.iter().copied().chain(given_up.map(|(key, _)| *key)).collect();
    let has_ended = |key: &SessionKey| !sessions.contains_key(key) && !never_closed.contains(key);
    let Listed { packs: listed, seen, gone_listings } = list_segments(vault, &before, &gone, &has_ended)?;
    let segments: HashSet<String> =
        vault.store().list_all(segment::PREFIX)?.into_iter().map(|info| info.name.to_string()).collect();
    let mut roots = roots::list(vault, &machines, &before, options.now, options.workers)?;
    roots.pretend(forgotten);
    refuse_older_generation(vault, &before, &segments, &roots)?;
    if !stored.is_empty() && roots.heads.is_empty() && roots.partials.is_empty() && sessions.is_empty() {
        return Err(CollectError::NoPoints { packs: stored.len() });
    }
    let forwards = Forwards::of(&before);
    let mut named = live::needs_of_points(vault, roots.points.iter())?;
    let live_bytes = live_bytes(&named.clone().followed(&forwards), &listed, &gone);
    let (live_before, forgets_before) = before.figures;
    if roots.forgets == forgets_before && live_bytes < live_before - live_before / LIVE_FALLS_MAX {
        return Err(CollectError::LiveFell { before: live_before, now: live_bytes });
    }
    named.add(&live::needs_of_partials(vault, &roots.partials)?);
    let mut plan = Plan {
        unfinished,
        garbage: Vec::new(),
        leftover: stored.iter().filter(|pack| gone.contains(&pack.id)).copied().collect(),
        sparse: Vec::new(),
        merges: merge::choose(vault, seen, &sessions, options)?,
        packs: stored.len() as u64,
        pack_bytes: stored.iter().map(|pack| pack.bytes).sum(),
        points: roots.points.len() as u64,
        forgotten: roots.forgotten.len() as u64,
        live_bytes,
        kept_for_sessions: 0,
        machines,
        roots: roots.names().cloned().collect(),
        met: forwards.met_from(named.packs()),
        needs: named.followed(&forwards),
        bad: roots::bad(&roots),
        forgets: roots.forgets,
        heads: roots.heads,
        unlisted: Vec::new(),
        unlisted_sessions: Vec::new(),
        gone_listings,
        never_closed,
        segments,
        gone,
        before,
    };
    plan.find_garbage(vault, &stored, &listed, &sessions, options)?;
    Ok(plan)
}

impl Plan {
    fn find_garbage(
        &mut self,
        vault: &Vault,
        stored: &[StoredPack],
        listed: &HashMap<PackId, ListedPack>,
        sessions: &Sessions,
        options: &CollectOptions,
    ) -> Result<(), CollectError> {
        let is_over = |key: &SessionKey| sessions.get(key).is_none_or(|state| state.is_over(options.now));
        let undecided: HashSet<PackId> =
            if self.unfinished { self.before.tombstones.iter().copied().collect() } else { HashSet::new() };
        let cohort: HashSet<PackId> = self.before.unlisted.iter().copied().collect();
        let cohort_over = self.before.unlisted_sessions.iter().all(is_over);
        let (mut unlisted, mut writers) = (Vec::new(), HashSet::new());
        let quarantine = vault.quarantine()?;
        for pack in stored {
            if self.gone.contains(&pack.id) || undecided.contains(&pack.id) {
                continue;
            }
            if self.needs.contains(pack.id) {
                let known = listed.get(&pack.id).filter(|known| known.writers.iter().all(is_over));
                let sparse = known.and_then(|known| known.sparse(*pack, &self.needs, options));
                if let Some(sparse) = sparse.filter(|_| !quarantine.holds(&pack.area.name(pack.id))) {
                    writers.extend(listed.get(&pack.id).into_iter().flat_map(|known| known.writers.iter().copied()));
                    self.sparse.push(sparse);
                }
                continue;
            }
            match listed.get(&pack.id) {
                Some(known) if known.writers.iter().all(is_over) => {
                    writers.extend(known.writers.iter().copied());
                    self.garbage.push(*pack);
                }
                Some(_) => self.kept_for_sessions += 1,
                None if cohort_over && cohort.contains(&pack.id) => self.garbage.push(*pack),
                None => unlisted.push(pack.id),
            }
        }
        repack::choose(&mut self.sparse, &options.repack);
        if let Some((machine, session)) = sessions::hidden(vault, sessions, &writers, options.workers)? {
            return Err(CollectError::Shrunken { what: format!("w/{machine}/{session}/") });
        }
        if cohort_over {
            self.unlisted = unlisted;
            let open = sessions.iter().filter(|(_, state)| !state.is_over(options.now));
            self.unlisted_sessions = open.map(|(key, _)| *key).collect();
        } else {
            self.unlisted.clone_from(&self.before.unlisted);
            self.unlisted_sessions.clone_from(&self.before.unlisted_sessions);
        }
        Ok(())
    }

    /// Whether a new generation would say anything new.
    pub fn is_idle(&self) -> bool {
        !self.unfinished
            && self.garbage.is_empty()
            && self.sparse.is_empty()
            && self.merges.is_empty()
            && self.heads == self.before.heads
            && self.bad == self.before.bad
            && self.never_closed.iter().eq(&self.before.never_closed)
            && self.unlisted == self.before.unlisted
            && self.unlisted_sessions == self.before.unlisted_sessions
    }
}

impl ListedPack {
    /// The pack as one to be repacked, when so little of it is needed.
    fn sparse(&self, pack: StoredPack, needs: &Needs, options: &CollectOptions) -> Option<Sparse> {
        let bytes_of = |block: u32| self.sealed.get(block as usize).map(|bytes| u64::from(*bytes));
        let blocks: Vec<u32> = needs.blocks_of(pack.id).collect();
        // A point that names a block which no segment knows would lose it.
        let live_bytes = blocks.iter().map(|block| bytes_of(*block)).sum::<Option<u64>>()?;
        let all: u64 = self.sealed.iter().map(|bytes| u64::from(*bytes)).sum();
        let little = pack.area == Area::Data && live_bytes * 100 < all * u64::from(options.repack.below_percent);
        let (machine, _) = *self.writers.first()?;
        // What several claim, and nobody verified, would count for one of them alone afterwards.
        let is_one = self.verified || self.writers.iter().all(|(writer, _)| *writer == machine);
        (little && is_one).then_some(Sparse { pack, blocks, live_bytes, machine, verified: self.verified })
    }
}

/// A generation that somebody built on is there: a listing that does not show it would let us fence by a number that no
/// session looks at.
fn refuse_older_generation(
    vault: &Vault,
    before: &Generation,
    segments: &HashSet<String>,
    roots: &Roots,
) -> Result<(), CollectError> {
    let of_segment = |name: &String| u64::from_str_radix(name.split('/').nth(1)?, 16).ok();
    let bases =
        segments.iter().filter_map(of_segment).chain(roots.points.iter().map(|listed| listed.point.header.base));
    let newest = bases.max().unwrap_or(0).max(before.number);
    if newest == before.number && vault.store().head(&Generation::name_of(newest + 1))?.is_none() {
        return Ok(());
    }
    if vault.newest_generation()?.number > before.number {
        return Err(CollectError::Raced);
    }
    Err(CollectError::Shrunken { what: Generation::name_of(newest).to_string() })
}

fn list_packs(vault: &Vault) -> Result<Vec<StoredPack>, CollectError> {
    let mut packs = Vec::new();
    for area in [Area::Data, Area::Meta] {
        for info in vault.store().list_all(&format!("{}/", area.letter()))? {
            let id = info.name.as_str().rsplit('/').next().and_then(|id| id.parse().ok());
            // What is not named like a pack is not ours to delete.
            if let Some(id) = id.filter(|id| area.name(*id) == info.name) {
                packs.push(StoredPack { area, id, bytes: info.bytes });
            }
        }
    }
    Ok(packs)
}

/// What the segments list.
struct Listed {
    packs: HashMap<PackId, ListedPack>,
    /// Segments that may be merged.
    seen: BTreeMap<Readers, Vec<Seen>>,
    gone_listings: HashMap<PackId, usize>,
}

fn list_segments(
    vault: &Vault,
    generation: &Generation,
    gone: &HashSet<PackId>,
    has_ended: &dyn Fn(&SessionKey) -> bool,
) -> Result<Listed, VaultError> {
    let mut listed = Listed { packs: HashMap::new(), seen: BTreeMap::new(), gone_listings: HashMap::new() };
    let found = vault.segments(generation, None)?;
    let verified: HashSet<&str> =
        generation.verified_segments.iter().map(|(name, _)| segment::own_part(name)).collect();
    for problem in &found.problems {
        tracing::warn!(name = %problem.name, error = %problem.error, "An index segment cannot be read; its packs count as unlisted");
    }
    for (segment, name) in found.segments.into_iter().zip(found.names) {
        let writer = (segment.machine, segment.session);
        let is_verified = verified.contains(segment::own_part(name.as_str()));
        for pack in segment.packs.iter().filter(|pack| gone.contains(&pack.id)) {
            *listed.gone_listings.entry(pack.id).or_default() += 1;
        }
        // Its name tells what a session builds on while that has records; one that never closed may put its segment again;
        // and what nobody read back yet would, merged, be doubted as a whole for one part.
        if has_ended(&writer) && (is_verified || vault.is_of_owner(segment.machine)?) {
            let chunks = |of_gone| {
                let packs = segment.packs.iter().filter(|pack| gone.contains(&pack.id) == of_gone);
                packs.map(SegmentPack::chunks).sum()
            };
            let seen = Seen { name, session: segment.session, chunks: chunks(false), gone: chunks(true) };
            listed.seen.entry((segment.machine, is_verified)).or_default().push(seen);
        }
        for pack in segment.packs {
            let known = listed.packs.entry(pack.id).or_insert_with(|| ListedPack {
                area: pack.area,
                bytes: pack.bytes,
                sealed: pack.footer.blocks.iter().map(|block| block.sealed_bytes).collect(),
                writers: BTreeSet::new(),
                verified: false,
            });
            known.writers.insert(writer);
            known.verified |= is_verified;
        }
    }
    Ok(listed)
}

/// Sealed bytes of what is needed and there: what a point lost does not count, whether a segment still lists it or not.
fn live_bytes(needs: &Needs, listed: &HashMap<PackId, ListedPack>, gone: &HashSet<PackId>) -> u64 {
    let bytes_of = |id: PackId| {
        let Some(pack) = listed.get(&id) else { return 0 };
        match pack.area {
            Area::Meta => pack.bytes,
            Area::Data => {
                let blocks = needs.blocks_of(id).filter_map(|block| pack.sealed.get(block as usize));
                blocks.map(|bytes| u64::from(*bytes)).sum()
            }
        }
    };
    needs.packs().filter(|id| !gone.contains(id)).map(bytes_of).sum()
}
