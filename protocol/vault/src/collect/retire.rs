//! From visible to trash to forgotten: who moves recovery points out, and how fast.
//!
//! **Invariant**: a plan first, then its execution; never the newest point of a source that can be restored, never a held
//! one; nothing is forgotten before its time in the trash is over; and what a machine's clock says shortens no life.

use super::parallel::{WORKERS, parallel};
use crate::codec::Time;
use crate::id::MachineId;
use crate::record::retention::Action;
use crate::vault::{Health, Judge, ListedPoint, Vault, VaultError};
use std::collections::BTreeMap;

/// How long a point stays in the trash: 14 days.
pub const TRASH_SECONDS: i64 = 14 * 24 * 3600;

/// How points are moved out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetireOptions {
    /// The keeper's clock.
    pub now: Time,
    /// How long a point stays in the trash before it is forgotten.
    pub trash_seconds: i64,
    /// Of the visible points of one source at most one in so many goes to the trash in one run, but one always may; none
    /// for no limit.
    pub one_in: Option<u64>,
}

impl RetireOptions {
    /// Two weeks of trash, and no limit.
    pub fn new(now: Time) -> Self {
        Self { now, trash_seconds: TRASH_SECONDS, one_in: None }
    }
}

/// A visible point with the time by which it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The point.
    pub listed: &'a ListedPoint,
    /// When it began, as far as that is plausible.
    pub began: Time,
}

/// What retention would move.
#[derive(Debug, Clone, Default)]
pub struct Retirement {
    /// To the trash, each with its reason.
    pub trash: Vec<(ListedPoint, String)>,
    /// From the trash for good.
    pub forget: Vec<ListedPoint>,
    /// Expired points that wait for the next run because too many would go at once.
    pub held_back: u64,
}

/// Which plan, or without a plan which source, a point belongs to.
type Group = (MachineId, Option<[u8; 16]>, [u8; 16]);

/// Plans what goes. `expired` gets the visible points of one source, oldest first, and answers for each the reason why
/// it goes, or none.
pub fn plan_retirement(
    vault: &Vault,
    options: &RetireOptions,
    expired: &mut dyn FnMut(&[Candidate<'_>]) -> Vec<Option<String>>,
) -> Result<Retirement, VaultError> {
    let judge = Judge::new(vault)?;
    let mut retirement = Retirement::default();
    for machine in vault.machines()? {
        let points = vault.points_by(machine.machine, &judge)?.points;
        let times = plausible_times(&points, vault.config().created, options.now);
        let mut groups: BTreeMap<Group, Vec<Candidate<'_>>> = BTreeMap::new();
        for (listed, began) in points.iter().zip(times) {
            if !listed.retained.trashed && !listed.retained.forgotten {
                groups.entry(group_of(listed)).or_default().push(Candidate { listed, began });
            }
        }
        groups.values().for_each(|group| retirement.expire(group, expired(group), options));
        retirement.forget.extend(points.iter().filter(|listed| is_due(listed, options)).cloned());
    }
    Ok(retirement)
}

impl Retirement {
    fn expire(&mut self, group: &[Candidate<'_>], reasons: Vec<Option<String>>, options: &RetireOptions) {
        let newest = group.iter().rposition(|candidate| candidate.listed.health == Health::Sound);
        let limit = options.one_in.map_or(usize::MAX, |one_in| (group.len() / one_in.max(1) as usize).max(1));
        let expired = group.iter().zip(reasons).enumerate().filter_map(|(at, (candidate, reason))| {
            let may_go = Some(at) != newest && !candidate.listed.retained.held;
            Some((candidate.listed.clone(), reason.filter(|_| may_go)?))
        });
        // The oldest go first.
        let (now, later): (Vec<_>, Vec<_>) = expired.enumerate().partition(|(at, _)| *at < limit);
        self.held_back += later.len() as u64;
        self.trash.extend(now.into_iter().map(|(_, expired)| expired));
    }

    /// Whether nothing moves.
    pub fn is_empty(&self) -> bool {
        self.trash.is_empty() && self.forget.is_empty()
    }

    /// Writes the records.
    pub fn run(&self, vault: &Vault, now: Time) -> Result<(), VaultError> {
        let trash = self.trash.iter().map(|(listed, reason)| (listed, Action::Trash, reason.as_str()));
        let forget = self.forget.iter().map(|listed| (listed, Action::Forget, "its time in the trash is over"));
        retain_all(vault, &trash.chain(forget).collect::<Vec<_>>(), now)
    }
}

/// Writes a decision about each of these points, with many requests in flight.
pub fn retain_all(vault: &Vault, decided: &[(&ListedPoint, Action, &str)], now: Time) -> Result<(), VaultError> {
    parallel(decided, WORKERS, |(listed, action, reason)| vault.retain(listed, *action, now, reason))?;
    Ok(())
}

fn group_of(listed: &ListedPoint) -> Group {
    let header = &listed.point.header;
    // Points of one plan belong together also when its roots changed.
    let source = if header.plan.is_some() { [0; 16] } else { header.source };
    (header.machine, header.plan, source)
}

/// Whether a point was in the trash long enough. A record from the future waits until its time comes.
fn is_due(listed: &ListedPoint, options: &RetireOptions) -> bool {
    let retained = &listed.retained;
    let age = options.now.seconds.saturating_sub(retained.trashed_at.seconds);
    retained.trashed && !retained.forgotten && !retained.held && age >= options.trash_seconds
}

/// When points began, as far as the vault can believe it: not before the vault was made, not before a point with a lower
/// sequence, not in the future. So a clock that is behind makes no point expire early, and one that is ahead makes
/// its own points stay, and no others.
fn plausible_times(points: &[ListedPoint], created: Time, now: Time) -> Vec<Time> {
    let mut floor = created.min(now);
    let mut times = Vec::with_capacity(points.len());
    for listed in points {
        let said = listed.point.header.started.at;
        let is_future = said > now;
        let believed = if is_future { now } else { said.max(floor) };
        if !is_future {
            floor = believed;
        }
        times.push(believed);
    }
    times
}
