//! Merges index segments of sessions that are over, so that neither they nor the packs that went add up over the years.
//!
//! **Invariant**: a merged segment lists what its parts listed, for the same readers, but for packs that are gone for good;
//! and it counts only by the generation that also takes its parts away. A collector that was overtaken leaves one that
//! counts for nobody, whatever went meanwhile. A dead pack is forgotten only here, with the last segment that lists it, and
//! only when no session may put that segment again: one that comes late would else offer what went long ago.

use super::parallel::parallel;
use super::plan::Plan;
use super::sessions::{self, Sessions};
use super::{CollectError, CollectOptions};
use crate::crypto::random;
use crate::id::{MachineId, PackId, SessionId};
use crate::record::generation::Generation;
use crate::record::segment::{self, CHUNKS_MAX, Segment, SegmentPack};
use crate::store::{ObjectName, StoreError};
use crate::vault::{Vault, VaultError};
use std::collections::{BTreeMap, HashMap, HashSet};

/// So many segments of like size become one. More would leave more segments; fewer would send each chunk's place to every
/// machine's cache more often.
const FAN_IN: usize = 16;

/// A segment as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: ObjectName,
    /// In which session it was written.
    pub(super) session: SessionId,
    /// Chunks and blobs of packs that are there.
    pub(super) chunks: usize,
    /// Those of packs that are gone.
    pub(super) gone: usize,
}

/// For whom segments count: of one machine, verified for all others or not.
pub(super) type Readers = (MachineId, bool);

/// Segments that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merge {
    pub(super) readers: Readers,
    pub(super) parts: Vec<(ObjectName, SessionId)>,
}

/// Which segments to merge, of those that count for the same readers. None of a session that turns out to be at work: who
/// wrote a pack is not to be told any more from a merged segment.
pub(super) fn choose(
    vault: &Vault,
    seen: BTreeMap<Readers, Vec<Seen>>,
    sessions: &Sessions,
    options: &CollectOptions,
) -> Result<Vec<Merge>, CollectError> {
    let mut merges = Vec::new();
    for (readers, seen) in seen {
        let parts = chosen(seen);
        let writers = parts.iter().map(|(_, session)| (readers.0, *session)).collect();
        if !parts.is_empty() && sessions::hidden(vault, sessions, &writers, options.workers)?.is_none() {
            merges.push(Merge { readers, parts });
        }
    }
    Ok(merges)
}

/// Those of which most is gone, and whole tiers: a full one makes one of the tier above, which may fill that.
fn chosen(seen: Vec<Seen>) -> Vec<(ObjectName, SessionId)> {
    let (mostly_gone, rest): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|seen| seen.gone > seen.chunks);
    let mut parts: Vec<_> = mostly_gone.into_iter().map(|seen| (seen.name, seen.session)).collect();
    let mut tiers: BTreeMap<u32, Vec<(Vec<_>, usize)>> = BTreeMap::new();
    // What is as long as a segment may be gains nothing.
    for seen in rest.into_iter().filter(|seen| seen.chunks < CHUNKS_MAX / 2) {
        tiers.entry(tier(seen.chunks)).or_default().push((vec![(seen.name, seen.session)], seen.chunks));
    }
    while let Some(at) = tiers.iter().find(|(_, tier)| tier.len() >= FAN_IN).map(|(at, _)| *at) {
        // Smaller ones come along for little.
        let above = tiers.split_off(&(at + 1));
        let (merged, chunks): (Vec<Vec<_>>, Vec<usize>) =
            std::mem::replace(&mut tiers, above).into_values().flatten().unzip();
        let chunks = chunks.iter().sum();
        tiers.entry(tier(chunks).max(at + 1)).or_default().push((merged.concat(), chunks));
    }
    parts.extend(tiers.into_values().flatten().map(|(merged, _)| merged).filter(|merged| merged.len() > 1).flatten());
    parts
}

/// Each tier holds segments up to sixteen times as long as those of the one below.
fn tier(chunks: usize) -> u32 {
    chunks.max(1).ilog2() / FAN_IN.ilog2()
}

/// What was merged.
#[derive(Default)]
pub(super) struct Merged {
    /// Names of the parts.
    pub(super) replaced: Vec<String>,
    segments: Vec<(String, [u8; 32])>,
    verified: Vec<(String, [u8; 32])>,
    /// How often the parts list packs that are gone.
    left_out: HashMap<PackId, usize>,
    /// Packs that no segment lists any more.
    forgotten: HashSet<PackId>,
}

impl Merged {
    /// Writes into a generation what took the place of what.
    pub(super) fn tell(&self, next: &mut Generation) {
        let replaced: HashSet<&str> = self.replaced.iter().map(String::as_str).collect();
        next.verified_segments.retain(|(name, _)| !replaced.contains(name.as_str()));
        next.merged_segments.retain(|(name, _)| !replaced.contains(name.as_str()));
        next.replaced_segments.extend(self.replaced.iter().cloned());
        next.merged_segments.extend(self.segments.iter().cloned());
        next.verified_segments.extend(self.verified.iter().cloned());
        next.dead.retain(|pack| !self.forgotten.contains(pack));
    }
}

/// Writes the plan's merged segments. What cannot be read stays as it is, and so does all for which the storage has no room.
pub(super) fn run(vault: &Vault, plan: &Plan, options: &CollectOptions) -> Result<Merged, VaultError> {
    let mut merged = Merged::default();
    if plan.merges.is_empty() {
        return Ok(merged);
    }
    let live = vault.live_segments(&plan.before)?;
    for merge in &plan.merges {
        let read = parallel(&merge.parts, options.workers, |(name, _)| live.read(vault, name))?;
        let Some(parts) = read.into_iter().collect::<Option<Vec<Segment>>>() else { continue };
        let (machine, is_verified) = merge.readers;
        let gone = parts.iter().flat_map(|part| &part.packs).filter(|pack| plan.gone.contains(&pack.id));
        let gone: Vec<PackId> = gone.map(|pack| pack.id).collect();
        match write(vault, machine, join(parts, &plan.gone), plan.before.number) {
            Ok(segments) => {
                merged.replaced.extend(merge.parts.iter().map(|(name, _)| name.to_string()));
                merged.verified.extend(segments.iter().filter(|_| is_verified).cloned());
                merged.segments.extend(segments);
                gone.into_iter().for_each(|pack| *merged.left_out.entry(pack).or_default() += 1);
            }
            Err(VaultError::Store(StoreError::Full { .. })) => {
                tracing::warn!("The storage has no room for merged index segments; they stay as they are for now");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let is_last = |(pack, parts): &(&PackId, &usize)| plan.gone_listings.get(*pack) == Some(*parts);
    merged.forgotten = merged.left_out.iter().filter(is_last).map(|(pack, _)| *pack).collect();
    Ok(merged)
}

/// Every pack that is not gone, once.
fn join(parts: Vec<Segment>, gone: &HashSet<PackId>) -> Vec<SegmentPack> {
    let mut packs: Vec<SegmentPack> = Vec::new();
    let mut known: HashMap<PackId, Vec<usize>> = HashMap::new();
    for pack in parts.into_iter().flat_map(|part| part.packs).filter(|pack| !gone.contains(&pack.id)) {
        let same = known.entry(pack.id).or_default();
        // Should two disagree about a pack, a reader gets to know both, as before.
        if !same.iter().any(|at| packs[*at] == pack) {
            same.push(packs.len());
            packs.push(pack);
        }
    }
    packs
}

fn write(
    vault: &Vault,
    machine: MachineId,
    packs: Vec<SegmentPack>,
    generation: u64,
) -> Result<Vec<(String, [u8; 32])>, VaultError> {
    let session = SessionId(random());
    let segments = segment::cut(packs).into_iter().zip(0..);
    segments
        .map(|(packs, counter)| vault.write_merged(&Segment { machine, session, counter, packs }, generation))
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot name a segment has failed")]
    use super::*;

    fn seen(sizes: &[(usize, usize)]) -> Vec<Seen> {
        let name = |n| ObjectName::new(format!("i/0/{n}")).unwrap();
        sizes
            .iter()
            .enumerate()
            .map(|(n, (chunks, gone))| Seen {
                name: name(n),
                session: SessionId([0; 16]),
                chunks: *chunks,
                gone: *gone,
            })
            .collect()
    }

    #[test]
    fn full_tiers_are_merged_with_what_is_smaller_and_others_stay() {
        let count = |sizes: &[(usize, usize)]| chosen(seen(sizes)).len();
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[(10, 0); 15]), 0, "too few");
        assert_eq!(count(&[(10, 0); 16]), 16);
        assert_eq!(count(&[[(300, 0); 16].as_slice(), &[(2, 0); 3]].concat()), 19, "small ones come along");
        assert_eq!(
            count(&[[(10, 0); 16].as_slice(), &[(300, 0); 15]].concat()),
            16,
            "they do not fill the tier above yet"
        );
        assert_eq!(count(&[[(17, 0); 16].as_slice(), &[(300, 0); 15]].concat()), 31, "they fill it");
        assert_eq!(count(&[(CHUNKS_MAX, 0); 40]), 0, "as long as one may be");
        assert_eq!(count(&[(100, 101), (100, 100), (0, 5)]), 2, "most of it is gone");
    }

    #[test]
    fn the_number_of_segments_grows_with_the_logarithm_and_each_chunk_is_written_few_times() {
        let (mut sizes, mut written): (Vec<(usize, usize)>, usize) = (Vec::new(), 0);
        for day in 0..3650 {
            sizes.push((20 + day % 7 * 40, 0));
            let names: HashSet<String> = chosen(seen(&sizes)).iter().map(|(name, _)| name.to_string()).collect();
            let (merged, mut rest): (Vec<_>, Vec<_>) =
                sizes.iter().enumerate().partition(|(n, _)| names.contains(&format!("i/0/{n}")));
            let chunks: usize = merged.iter().map(|(_, (chunks, _))| chunks).sum();
            let mut next: Vec<(usize, usize)> = rest.drain(..).map(|(_, size)| *size).collect();
            if chunks > 0 {
                next.push((chunks, 0));
                written += chunks;
            }
            sizes = next;
        }
        assert!(sizes.len() <= 50, "{} segments after ten years", sizes.len());
        let all: usize = sizes.iter().map(|(chunks, _)| chunks).sum();
        assert!(written <= 4 * all, "each is written {} times", written / all);
    }
}
