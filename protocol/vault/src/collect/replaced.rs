//! Points that a run wrote twice: once under a session that was fenced, once under its successor.
//!
//! **Invariant**: a point is forgotten here only when it lost packs, and its own run wrote a sound one behind it.

use super::roots::Roots;
use super::sessions::{self, Sessions};
use super::{CollectError, CollectOptions};
use crate::id::{MachineId, SessionId};
use crate::record::retention::Action;
use crate::vault::{Health, Vault};
use std::collections::BTreeSet;

const REASON: &str = "a garbage collection met its backup, which then wrote it again";

/// Forgets the points that lost packs and were written again; answers how many.
pub(super) fn forget(
    vault: &Vault,
    roots: &Roots,
    sessions: &Sessions,
    options: &CollectOptions,
) -> Result<u64, CollectError> {
    let lost = roots.points.iter().filter(|listed| listed.health == Health::Lost && !listed.retained.held);
    let lost: Vec<_> = lost.collect();
    if lost.is_empty() {
        return Ok(0);
    }
    let mut again: BTreeSet<(MachineId, SessionId)> = BTreeSet::new();
    for listed in roots.points.iter().filter(|listed| listed.health == Health::Sound) {
        let mut key = (listed.point.header.machine, listed.point.header.session);
        // A run may be fenced more than once: each session names the one before.
        while let Some(state) = sessions.get(&key)
            && let Some(before) = sessions::predecessor(vault, key, state)?
            && again.insert((key.0, before))
        {
            key = (key.0, before);
        }
    }
    let written_again = |key: (MachineId, SessionId)| again.contains(&key);
    let mut forgotten = 0;
    for listed in lost {
        let header = &listed.point.header;
        if written_again((header.machine, header.session)) {
            vault.retain(listed, Action::Forget, options.now, REASON)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}
