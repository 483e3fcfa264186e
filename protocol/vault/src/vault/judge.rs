//! The reader's rule: which recovery points lost packs because they came too late (FORMAT.md, "Collection").
//!
//! **Invariant**: a point that a collection spared is never called lost, and one it did not spare is never called sound.

use super::{Health, Vault, VaultError};
use crate::collect::needs_of;
use crate::id::{MachineId, PackId, SessionId};
use crate::record::forward::Forwards;
use crate::record::generation::Generation;
use crate::record::point::{Point, PointHeader};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::OnceLock;

/// Generations may follow each other while they are read; after this many the vault is too busy to judge.
const READS_MAX: usize = 8;

/// What the newest generation and the fences say, read once for many points.
pub struct Judge<'a> {
    vault: &'a Vault,
    generation: Generation,
    /// The newest generation that fenced a session.
    fenced: BTreeMap<(MachineId, SessionId), u64>,
    heads: BTreeMap<MachineId, u64>,
    live: OnceLock<HashSet<PackId>>,
}

impl<'a> Judge<'a> {
    /// Reads the newest generation, and the fences where there is one.
    pub fn new(vault: &'a Vault) -> Result<Self, VaultError> {
        let mut generation = vault.newest_generation()?;
        let mut fenced = BTreeMap::new();
        for _ in 0..READS_MAX {
            if generation.number == 0 {
                break;
            }
            fenced = fences_of(vault)?;
            // Fences of a generation that left the horizon meanwhile may be missing here.
            let newest = vault.newest_generation()?;
            if newest.number == generation.number {
                break;
            }
            generation = newest;
        }
        let heads = generation.heads.iter().map(|head| (head.machine, head.sequence)).collect();
        Ok(Self { vault, generation, fenced, heads, live: OnceLock::new() })
    }

    /// The newest generation.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Whether a point kept all its packs.
    pub fn health(&self, point: &Point) -> Result<Health, VaultError> {
        let header = &point.header;
        if self.generation.bad.contains(&(header.machine, header.sequence)) {
            return Ok(Health::Lost);
        }
        if !self.is_suspect(header) {
            return Ok(Health::Sound);
        }
        let needs = match needs_of(self.vault, [header]) {
            Ok(needs) => needs,
            Err(VaultError::Store(error @ crate::store::StoreError::Failed { .. })) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(point = %point.id, %error, "A late recovery point's references cannot be read");
                return Ok(Health::Lost);
            }
        };
        let live = self.live()?;
        let lost = needs.followed(&Forwards::of(&self.generation)).packs().any(|pack| !live.contains(&pack));
        Ok(if lost { Health::Lost } else { Health::Sound })
    }

    /// Whether a collection may have missed the point.
    fn is_suspect(&self, header: &PointHeader) -> bool {
        let fenced = self.fenced.get(&(header.machine, header.session)).is_some_and(|by| *by > header.base);
        let beyond_horizon = header.base + 1 < self.generation.horizon;
        fenced || beyond_horizon && header.sequence > self.heads.get(&header.machine).copied().unwrap_or(0)
    }

    fn live(&self) -> Result<&HashSet<PackId>, VaultError> {
        if let Some(live) = self.live.get() {
            return Ok(live);
        }
        let live = self.vault.live_packs(&self.generation, None)?;
        Ok(self.live.get_or_init(|| live))
    }

    /// W4, asked after the commit: which packs that the session's point references count as lost.
    pub(crate) fn lost_packs(&self, header: &PointHeader) -> Result<BTreeSet<PackId>, VaultError> {
        let (base, newest) = (header.base, self.generation.number);
        let fenced = self.fenced.get(&(header.machine, header.session)).is_some_and(|by| *by > base);
        if !fenced && self.generation.horizon <= base + 1 {
            return Ok(BTreeSet::new());
        }
        let mut tombstoned = HashSet::new();
        for number in (base + 1).max(self.generation.horizon)..=newest {
            if let Some(generation) = self.vault.generation(number)? {
                tombstoned.extend(generation.tombstones);
            }
        }
        let live = self.vault.live_packs(&self.generation, Some(header.machine))?;
        let is_lost = |pack: &PackId| tombstoned.contains(pack) || !live.contains(pack);
        // Without its metadata packs, what it references cannot even be read.
        let meta: BTreeSet<PackId> = header.meta_packs.iter().copied().filter(is_lost).collect();
        if !meta.is_empty() {
            return Ok(meta);
        }
        Ok(needs_of(self.vault, [header])?.packs().filter(is_lost).collect())
    }
}

/// The newest generation that fenced each session.
fn fences_of(vault: &Vault) -> Result<BTreeMap<(MachineId, SessionId), u64>, VaultError> {
    let mut fenced: BTreeMap<(MachineId, SessionId), u64> = BTreeMap::new();
    for fence in vault.fences()? {
        for session in fence.sessions {
            let newest = fenced.entry(session).or_default();
            *newest = fence.generation.max(*newest);
        }
    }
    Ok(fenced)
}
