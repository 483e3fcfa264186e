//! The recovery points as roots, and whether their listing can be the truth.
//!
//! **Invariant**: an answer means that every point of every machine was seen: the chains have no gap that a record does
//! not explain, they reach the heads of the last generation, and nothing lies behind their ends.

use super::{CollectError, parallel::parallel};
use crate::codec::Time;
use crate::id::MachineId;
use crate::record::generation::{Generation, Head};
use crate::record::point::{self, Point};
use crate::record::retention;
use crate::store::ObjectName;
use crate::vault::{Health, Judge, ListedPoint, Points, Retained, Vault, VaultError};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A partial point nobody continued for so long is dropped.
const PARTIAL_SECONDS: i64 = 30 * 24 * 3600;
/// A machine may write points while they are listed; after so many listings something else is wrong.
const LISTINGS_MAX: usize = 8;

/// What must stay, and what was seen.
#[derive(Default)]
pub(crate) struct Roots {
    /// Points without a forget record.
    pub(crate) points: Vec<ListedPoint>,
    /// Partial points that a next run may continue.
    pub(crate) partials: Vec<Point>,
    /// Points that were forgotten and still lie there.
    pub(crate) forgotten: Vec<ObjectName>,
    /// The ends of the chains.
    pub(crate) heads: Vec<Head>,
    /// How many points were ever forgotten.
    pub(crate) forgets: u64,
}

impl Roots {
    /// The names of all roots.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.points.iter().map(|listed| listed.point.name()).chain(self.partials.iter().map(Point::name))
    }
}

impl Roots {
    /// Takes points for forgotten.
    pub(crate) fn pretend(&mut self, forgotten: &HashSet<ObjectName>) {
        let (gone, stay) = self.points.drain(..).partition(|listed| forgotten.contains(listed.point.name()));
        let gone: Vec<ListedPoint> = gone;
        self.points = stay;
        self.forgets += gone.len() as u64;
        self.forgotten.extend(gone.iter().map(|listed| listed.point.name().clone()));
    }
}

/// Every machine that is known from anywhere.
pub(crate) fn machines(vault: &Vault, before: &Generation) -> Result<BTreeSet<MachineId>, CollectError> {
    let mut machines: BTreeSet<MachineId> = vault.machines()?.into_iter().map(|record| record.machine).collect();
    for prefix in ["s/", retention::PREFIX] {
        let listed = vault.store().list_all(prefix)?;
        machines
            .extend(listed.iter().filter_map(|info| info.name.as_str().split('/').nth(1)?.parse::<MachineId>().ok()));
    }
    machines.extend(before.heads.iter().map(|head| head.machine));
    Ok(machines)
}

/// Lists and reads the roots of all machines.
pub(crate) fn list(
    vault: &Vault,
    machines: &BTreeSet<MachineId>,
    before: &Generation,
    now: Time,
    workers: usize,
) -> Result<Roots, CollectError> {
    let judge = Judge::new(vault)?;
    let heads: BTreeMap<MachineId, Head> = before.heads.iter().map(|head| (head.machine, *head)).collect();
    let machines: Vec<MachineId> = machines.iter().copied().collect();
    let chains = parallel(&machines, workers, |machine| read_chain(vault, *machine, &judge))?;
    let mut roots = Roots::default();
    for (machine, chain) in machines.iter().zip(chains) {
        let chain = chain?;
        chain.reaches(heads.get(machine))?;
        roots.forgets += chain.retention.values().filter(|retained| retained.forgotten).count() as u64;
        roots.heads.extend(chain.head(*machine));
        let is_young = |partial: &Point| now.seconds - partial.header.finished.at.seconds < PARTIAL_SECONDS;
        roots.partials.extend(vault.live_partials(*machine, &chain.points)?.into_iter().filter(is_young));
        for listed in chain.points.points {
            if listed.retained.forgotten {
                roots.forgotten.push(listed.point.name().clone());
            } else {
                roots.points.push(listed);
            }
        }
    }
    Ok(roots)
}

/// The points of a machine and what was decided about them.
struct Chain {
    points: Points,
    retention: BTreeMap<u64, Retained>,
}

/// The inner error is the chain's, the outer the store's.
fn read_chain(vault: &Vault, machine: MachineId, judge: &Judge<'_>) -> Result<Result<Chain, CollectError>, VaultError> {
    let mut last_listed = None;
    for _ in 0..LISTINGS_MAX {
        let chain = Chain { points: vault.points_by(machine, judge)?, retention: vault.retention(machine)? };
        let last = chain.last();
        let behind = point::name_of(machine, last + 1);
        if vault.store().head(&behind)?.is_none() {
            return Ok(chain.check().map(|()| chain));
        }
        // Written since the listing, or left out of it: a new listing tells.
        if last_listed == Some(last) {
            return Ok(Err(CollectError::Shrunken { what: behind.to_string() }));
        }
        last_listed = Some(last);
    }
    Ok(Err(CollectError::Shrunken { what: format!("s/{machine}/") }))
}

impl Chain {
    /// The last sequence of which anything is known.
    fn last(&self) -> u64 {
        let point = self.points.points.last().map_or(0, |listed| listed.point.header.sequence);
        let problem = self.points.problems.iter().filter_map(|problem| crate::record::number_of(&problem.name)).max();
        let record = self.retention.last_key_value().map_or(0, |(sequence, _)| *sequence);
        point.max(record).max(problem.unwrap_or(0))
    }

    /// The hash of a point, by itself or by the record that stands in for it.
    fn hash_of(&self, sequence: u64) -> Option<[u8; 32]> {
        let at = self.points.points.binary_search_by_key(&sequence, |listed| listed.point.header.sequence);
        if let Ok(at) = at {
            return Some(self.points.points[at].point.hash);
        }
        self.retention.get(&sequence).filter(|retained| retained.forgotten).map(|retained| retained.hash)
    }

    /// Every sequence is a point or explained, and each point names the hash of the one before.
    fn check(&self) -> Result<(), CollectError> {
        for problem in &self.points.problems {
            let sequence = crate::record::number_of(&problem.name);
            let forgotten = sequence.and_then(|sequence| self.retention.get(&sequence)).is_some_and(|r| r.forgotten);
            if !forgotten {
                return Err(CollectError::Unreadable { name: problem.name.clone(), text: problem.error.to_string() });
            }
        }
        let mut before = [0; 32];
        for sequence in 1..=self.last() {
            let damaged =
                self.points.problems.iter().any(|problem| crate::record::number_of(&problem.name) == Some(sequence));
            let hash = match self.hash_of(sequence) {
                Some(hash) => hash,
                None if damaged => self.retention.get(&sequence).map_or([0; 32], |retained| retained.hash),
                None => return Err(CollectError::Gap { sequence, machine: self.machine() }),
            };
            let at = self.points.points.binary_search_by_key(&sequence, |listed| listed.point.header.sequence);
            if let Ok(at) = at
                && self.points.points[at].point.header.previous != before
            {
                return Err(CollectError::Exchanged { name: self.points.points[at].point.name().clone() });
            }
            before = hash;
        }
        Ok(())
    }

    fn machine(&self) -> String {
        self.points.points.first().map_or_else(String::new, |listed| listed.point.header.machine.to_string())
    }

    /// What the last generation saw must still be there: else the storage went back in time.
    fn reaches(&self, head: Option<&Head>) -> Result<(), CollectError> {
        let Some(head) = head else { return Ok(()) };
        if self.hash_of(head.sequence) == Some(head.hash) {
            return Ok(());
        }
        Err(CollectError::RolledBack { machine: head.machine, sequence: head.sequence })
    }

    fn head(&self, machine: MachineId) -> Option<Head> {
        let sequence = self.last();
        let points = self.points.points.len() as u64;
        Some(Head { machine, sequence, hash: self.hash_of(sequence)?, points })
    }
}

/// Points that lost packs, as the generation lists them.
pub(crate) fn bad(roots: &Roots) -> Vec<(MachineId, u64)> {
    let lost = roots.points.iter().filter(|listed| listed.health == Health::Lost);
    lost.map(|listed| (listed.point.header.machine, listed.point.header.sequence)).collect()
}
