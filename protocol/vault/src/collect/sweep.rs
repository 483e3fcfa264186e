//! Deletes what a decision names, and the records nobody needs any more (C9).
//!
//! **Invariant**: deleting again, or stopping anywhere, does no harm; the order within each kind says why.

use super::plan::StoredPack;
use super::roots::Roots;
use super::run::CollectReport;
use super::sessions::{SessionKey, Sessions};
use super::{CollectError, CollectOptions, parallel::parallel};
use crate::record::generation::{DECISIONS, FENCES, PREFIX};
use crate::record::point::Point;
use crate::record::segment;
use crate::store::ObjectName;
use crate::vault::Vault;
use std::collections::{HashMap, HashSet};

/// Deletes packs.
pub(super) fn packs(
    vault: &Vault,
    packs: &[StoredPack],
    options: &CollectOptions,
    report: &mut CollectReport,
) -> Result<(), CollectError> {
    parallel(packs, options.workers, |pack| Ok(vault.store().sweep(&pack.area.name(pack.id), options.now)?))?;
    report.packs_deleted += packs.len() as u64;
    report.bytes_deleted += packs.iter().map(|pack| pack.bytes).sum::<u64>();
    Ok(())
}

/// Deletes forgotten points, dead partials, records of sessions that are over, replaced segments, and generations below
/// the horizon.
pub(super) fn records(
    vault: &Vault,
    replaced: &[String],
    horizon: u64,
    roots: &Roots,
    sessions: &Sessions,
    options: &CollectOptions,
    report: &mut CollectReport,
) -> Result<(), CollectError> {
    let store = vault.store();
    // Their retention records carry their hashes on, so the chains still hold.
    parallel(&roots.forgotten, options.workers, |name| Ok(store.sweep(name, options.now)?))?;
    report.points_deleted += roots.forgotten.len() as u64;
    let mut names = records_of_sessions(vault, roots, sessions, options)?;
    names.extend(below_horizon(vault, horizon)?);
    parallel(&names, options.workers, |name| Ok(store.delete(name)?))?;
    report.records_deleted += names.len() as u64;
    for name in replaced {
        if let Ok(name) = ObjectName::new(name.as_str()) {
            store.sweep(&name, options.now)?;
            report.records_deleted += 1;
        }
    }
    Ok(())
}

/// Partials that are no roots, and the records of sessions that are over and keep no partial, each session from its
/// first record on: without it a collector that dies in between never again takes the session for open.
fn records_of_sessions(
    vault: &Vault,
    roots: &Roots,
    sessions: &Sessions,
    options: &CollectOptions,
) -> Result<Vec<ObjectName>, CollectError> {
    let live: HashSet<&ObjectName> = roots.partials.iter().map(Point::name).collect();
    let over = || sessions.iter().filter(|(_, state)| state.is_over(options.now));
    let bases = if over().any(|(_, state)| !state.is_minded(None)) { bases_of(vault)? } else { HashMap::new() };
    let mut names = Vec::new();
    for (key, state) in over() {
        let (kept, dead): (Vec<_>, Vec<_>) = state.partials.iter().cloned().partition(|name| live.contains(name));
        names.extend(dead);
        if kept.is_empty() && state.is_minded(bases.get(key).copied()) {
            names.extend(state.records.iter().cloned());
        }
    }
    Ok(names)
}

/// The generation each session builds on, as the names of its segments tell.
fn bases_of(vault: &Vault) -> Result<HashMap<SessionKey, u64>, CollectError> {
    let base_of = |name: &ObjectName| {
        let (generation, segment) = name.as_str().strip_prefix(segment::PREFIX)?.split_once('/')?;
        let mut parts = segment.split('-');
        let key = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((key, u64::from_str_radix(generation, 16).ok()?))
    };
    let listed = vault.store().list_all(segment::PREFIX)?;
    Ok(listed.iter().filter_map(|info| base_of(&info.name)).collect())
}

fn below_horizon(vault: &Vault, horizon: u64) -> Result<Vec<ObjectName>, CollectError> {
    let mut names = Vec::new();
    for prefix in [FENCES, DECISIONS, PREFIX] {
        for info in vault.store().list_all(prefix)? {
            let number = info.name.as_str().split('/').nth(1).and_then(|number| u64::from_str_radix(number, 16).ok());
            if number.is_some_and(|number| number < horizon) {
                names.push(info.name);
            }
        }
    }
    Ok(names)
}
