//! What a collector published, as writers and readers ask for it: decisions, fences, packs that are gone or may go.
//!
//! **Invariant**: a pack that may go is offered to no writer, one that is gone to nobody (FORMAT.md, "Collection").

use super::{Vault, VaultError};
use crate::id::{MachineId, PackId, SessionId};
use crate::object::OBJECT_BYTES_MAX;
use crate::record::generation::{self, Decision, Fence, Generation, Keeper};
use crate::store::{ObjectName, Put, StoreError};
use std::collections::HashSet;

impl Vault {
    fn keeper(&self) -> Keeper<'_> {
        Keeper { vault: self.id(), keys: &self.keys }
    }

    /// The decision of a generation, when there is one that the maintenance key signed.
    pub fn decision(&self, generation: u64) -> Result<Option<Decision>, VaultError> {
        let name = Decision::name_of(generation);
        let bytes = match self.store.get(&name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        match Decision::open(self.keeper(), &name, &bytes, self.config.maintenance_public) {
            Ok(decision) => Ok(Some(decision)),
            Err(source) => Err(VaultError::Object { name, source }),
        }
    }

    /// Writes the decision of a generation; answers the one that counts, which is the first.
    pub(crate) fn decide(&self, decision: &Decision) -> Result<Decision, VaultError> {
        let maintenance = self.maintenance("deciding a collection")?;
        let name = Decision::name_of(decision.generation);
        match self.store.put_create(&name, &decision.seal(self.keeper(), &maintenance))? {
            Put::Created => Ok(decision.clone()),
            Put::Exists => match self.decision(decision.generation)? {
                Some(first) => Ok(first),
                None => Err(VaultError::Conflict { name }),
            },
        }
    }

    /// Every fence that is kept, of any generation.
    pub fn fences(&self) -> Result<Vec<Fence>, VaultError> {
        let mut fences = Vec::new();
        for info in self.store.list_all(generation::FENCES)? {
            let bytes = match self.store.get(&info.name, OBJECT_BYTES_MAX) {
                // Collected since it was listed: who must not miss it looks at the generation again.
                Err(StoreError::NotFound { .. }) => continue,
                other => other?,
            };
            match Fence::open(self.keeper(), &info.name, &bytes, self.config.maintenance_public) {
                Ok(fence) if Fence::generation_of(&info.name) == Some(fence.generation) => fences.push(fence),
                Ok(_) | Err(_) => tracing::warn!(name = %info.name, "A fence that the owner did not sign is ignored"),
            }
        }
        Ok(fences)
    }

    /// Declares sessions over.
    pub(crate) fn fence(&self, fence: &Fence, collector: SessionId) -> Result<ObjectName, VaultError> {
        let maintenance = self.maintenance("fencing sessions")?;
        let name = Fence::name_of(fence.generation, collector);
        self.store.put_same(&name, &fence.seal(self.keeper(), &name, &maintenance))?;
        Ok(name)
    }

    /// Packs that `reader` must not be offered. Whoever only reads is offered what is not deleted yet; a writer nothing
    /// that is tombstoned, until the decision is there and spares it (W2).
    pub(crate) fn unusable(
        &self,
        generation: &Generation,
        reader: Option<MachineId>,
    ) -> Result<HashSet<PackId>, VaultError> {
        let mut unusable: HashSet<PackId> = generation.dead.iter().copied().collect();
        if !generation.tombstones.is_empty() {
            match (self.decision(generation.number)?, reader) {
                (Some(decision), _) => unusable.extend(decision.packs),
                (None, Some(_)) => unusable.extend(&generation.tombstones),
                (None, None) => {}
            }
        }
        Ok(unusable)
    }

    /// Every pack that a live segment lists and that is neither dead nor decided to go.
    pub fn live_packs(
        &self,
        generation: &Generation,
        reader: Option<MachineId>,
    ) -> Result<HashSet<PackId>, VaultError> {
        let mut gone: HashSet<PackId> = generation.dead.iter().copied().collect();
        gone.extend(self.decision(generation.number)?.unwrap_or_default().packs);
        let segments = self.segments(generation, reader)?.segments;
        let listed = segments.iter().flat_map(|segment| &segment.packs).map(|pack| pack.id);
        Ok(listed.filter(|pack| !gone.contains(pack)).collect())
    }

    /// The generation behind `before`, with nothing tombstoned. Needs the decision of `before`: without it, a collector
    /// is at work, or died, and must come to its end first.
    pub(crate) fn succeed(&self, before: Generation) -> Result<Generation, VaultError> {
        let decided = match self.decision(before.number)? {
            Some(decision) => decision.packs,
            None if before.number == 0 => Vec::new(),
            // An empty generation can only be decided in one way, so whoever meets it undecided does it.
            None if before.tombstones.is_empty() => {
                self.decide(&Decision { generation: before.number, packs: Vec::new() })?.packs
            }
            None => return Err(VaultError::Conflict { name: Decision::name_of(before.number) }),
        };
        let mut next = Generation { number: before.number + 1, previous: before.number, ..before };
        next.tombstones.clear();
        next.dead.extend(decided);
        next.dead.sort_unstable();
        next.dead.dedup();
        Ok(next)
    }
}
