//! Carries out a plan: publish, fence, list again, decide, delete (C5 to C9).
//!
//! **Invariant**: nothing is deleted before its decision is there, and every step may be the last: who comes next goes on
//! from what lies there.

use super::plan::{Plan, StoredPack, plan};
use super::roots::{self, Roots};
use super::sessions::{self, Sessions};
use super::{CollectError, CollectOptions, Needs, live, merge, repack, replaced, sweep};
use crate::crypto::random;
use crate::id::{PackId, SessionId};
use crate::record::forward::Forwards;
use crate::record::generation::{Decision, Fence, Generation};
use crate::record::segment::Segment;
use crate::store::ObjectName;
use crate::vault::{Vault, VaultError};
use std::collections::HashSet;

/// How often a plan is made anew because another collector was first.
const RACES_MAX: usize = 3;
/// So many generations are kept with their fences and decisions.
const GENERATIONS_KEPT: u64 = 16;

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// The generation that is the newest now.
    pub generation: u64,
    /// Points that stay.
    pub points: u64,
    /// Sealed bytes of what they need.
    pub live_bytes: u64,
    /// Sessions that were declared over.
    pub fenced: u64,
    /// Packs deleted, and their bytes.
    pub packs_deleted: u64,
    /// Bytes of them.
    pub bytes_deleted: u64,
    /// Packs of which little was needed, that gave way to copies of it.
    pub packs_repacked: u64,
    /// Sealed bytes of these copies.
    pub bytes_copied: u64,
    /// Index segments that gave way to merged ones.
    pub segments_merged: u64,
    /// Packs that were to go until somebody needed them again.
    pub spared: u64,
    /// Objects of forgotten points deleted.
    pub points_deleted: u64,
    /// Session records, partial points, segments, fences, decisions and generations deleted.
    pub records_deleted: u64,
}

/// Carries out a plan. A plan that another collector overtook is made anew; what it shows may differ by then.
pub fn run(vault: &Vault, mut plan_now: Plan, options: &CollectOptions) -> Result<CollectReport, CollectError> {
    for _ in 0..RACES_MAX {
        if plan_now.unfinished {
            finish(vault, &plan_now.before, options)?;
            plan_now = plan(vault, options)?;
        }
        match collect(vault, &plan_now, options) {
            Err(CollectError::Vault(VaultError::Conflict { .. })) => plan_now = plan(vault, options)?,
            other => return other,
        }
    }
    Err(CollectError::Raced)
}

/// Brings a generation that somebody published to its decision.
pub fn finish(vault: &Vault, generation: &Generation, options: &CollectOptions) -> Result<(), CollectError> {
    settle(vault, generation, None, options)?;
    Ok(())
}

fn collect(vault: &Vault, plan: &Plan, options: &CollectOptions) -> Result<CollectReport, CollectError> {
    let mut report = CollectReport {
        generation: plan.before.number,
        points: plan.points,
        live_bytes: plan.live_bytes,
        ..CollectReport::default()
    };
    // What the decision before named comes first: the next generation counts it as deleted.
    sweep::packs(vault, &plan.leftover, options, &mut report)?;
    if plan.is_idle() {
        let sessions = sessions::list(vault, &plan.machines, options.workers)?;
        let roots = roots::list(vault, &plan.machines, &plan.before, options.now, options.workers)?;
        sweep::records(vault, &[], plan.before.horizon, &roots, &sessions, options, &mut report)?;
        return Ok(report);
    }
    let mut next = plan.next(vault)?;
    let moved = repack::run(vault, plan, options)?;
    moved.tell(&mut next);
    (report.packs_repacked, report.bytes_copied) = (moved.packs.len() as u64, moved.bytes);
    let merged = merge::run(vault, plan, options)?;
    merged.tell(&mut next);
    report.segments_merged = merged.replaced.len() as u64;
    vault.publish(&next)?;
    report.generation = next.number;
    let needs = plan.needs.clone().followed(&Forwards::of(&next));
    let settled = settle(vault, &next, Some((&needs, &plan.roots)), options)?;
    report.fenced = settled.fenced;
    replaced::forget(vault, &settled.roots, &settled.sessions, options)?;
    let decided: HashSet<PackId> = settled.decision.packs.iter().copied().collect();
    report.spared = (next.tombstones.len() as u64).saturating_sub(decided.len() as u64);
    let going = plan.garbage.iter().chain(&moved.packs);
    let packs: Vec<StoredPack> = going.filter(|pack| decided.contains(&pack.id)).copied().collect();
    sweep::packs(vault, &packs, options, &mut report)?;
    // Who reads by the generation before finds what that generation still counted on.
    let mut replaced = plan.overtaken(&next);
    replaced.extend(plan.before.replaced_segments.iter().cloned());
    sweep::records(vault, &replaced, next.horizon, &settled.roots, &settled.sessions, options, &mut report)?;
    Ok(report)
}

impl Plan {
    /// The generation to publish.
    fn next(&self, vault: &Vault) -> Result<Generation, VaultError> {
        let mut next = vault.succeed(self.before.clone())?;
        next.tombstones = self.garbage.iter().map(|pack| pack.id).collect();
        next.tombstones.sort_unstable();
        next.forwards.retain(|forward| self.met.contains(&forward.old));
        next.never_closed = self.never_closed.iter().copied().collect();
        next.replaced_segments.retain(|name| self.segments.contains(name));
        next.verified_segments.retain(|(name, _)| self.segments.contains(name));
        next.merged_segments.retain(|(name, _)| self.segments.contains(name));
        next.heads.clone_from(&self.heads);
        next.bad.clone_from(&self.bad);
        next.figures = (self.live_bytes, self.forgets);
        next.unlisted.clone_from(&self.unlisted);
        next.unlisted_sessions.clone_from(&self.unlisted_sessions);
        next.horizon = next.horizon.max(next.number.saturating_sub(GENERATIONS_KEPT));
        Ok(next)
    }

    /// Merged segments that no generation lists, nor will: whoever wrote them was overtaken by `published`, or died.
    fn overtaken(&self, published: &Generation) -> Vec<String> {
        let live: HashSet<&String> =
            published.merged_segments.iter().map(|(name, _)| name).chain(&published.replaced_segments).collect();
        let merged = self.segments.iter().filter(|name| Segment::is_merged(name));
        merged.filter(|name| !live.contains(name)).cloned().collect()
    }
}

/// A generation with its decision.
struct Settled {
    decision: Decision,
    roots: Roots,
    sessions: Sessions,
    fenced: u64,
}

/// Fences, lists again and decides (C6 to C8). `seen` are the roots whose needs are known already.
fn settle(
    vault: &Vault,
    generation: &Generation,
    seen: Option<(&Needs, &HashSet<ObjectName>)>,
    options: &CollectOptions,
) -> Result<Settled, CollectError> {
    let mut machines = roots::machines(vault, generation)?;
    let sessions = sessions::list(vault, &machines, options.workers)?;
    let open = sessions::unclosed(&sessions);
    let fenced = open.len() as u64;
    if !generation.tombstones.is_empty() && !open.is_empty() {
        let fence = Fence { generation: generation.number, sessions: open, at: options.now };
        vault.fence(&fence, SessionId(random()))?;
    }
    // Asked again: a machine that enrolled meanwhile may have points by now.
    machines.extend(roots::machines(vault, generation)?);
    let roots = roots::list(vault, &machines, generation, options.now, options.workers)?;
    let mut needs = seen.map(|(needs, _)| needs.clone()).unwrap_or_default();
    let is_new = |name: &ObjectName| seen.is_none_or(|(_, seen)| !seen.contains(name));
    let points = roots.points.iter().filter(|listed| is_new(listed.point.name()));
    let mut named = live::needs_of_points(vault, points)?;
    let partials: Vec<_> = roots.partials.iter().filter(|partial| is_new(partial.name())).cloned().collect();
    named.add(&live::needs_of_partials(vault, &partials)?);
    needs.add(&named.followed(&Forwards::of(generation)));
    let packs = generation.tombstones.iter().filter(|pack| !needs.contains(**pack)).copied().collect();
    let decision = vault.decide(&Decision { generation: generation.number, packs })?;
    Ok(Settled { decision, roots, sessions, fenced })
}
