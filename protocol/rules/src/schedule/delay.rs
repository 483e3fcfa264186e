//! The spread of starts, so that a fleet does not fall upon the storage at the same second.

use chrono::Duration;
use nightkeep_wire::{MachineId, PlanId};

/// The delay of one plan on one machine: fixed, evenly spread over zero to `max_seconds`, both included.
pub fn start_delay(machine: MachineId, plan: PlanId, max_seconds: u32) -> Duration {
    let mut hasher = blake3::Hasher::new_derive_key("nightkeep start delay v1");
    hasher.update(machine.as_bytes());
    hasher.update(plan.as_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    let steps = u64::from(max_seconds) + 1;
    // The product of two 64-bit numbers fits, and its upper half is below `steps`.
    let seconds = (u128::from(u64::from_le_bytes(bytes)) * u128::from(steps)) >> 64;
    Duration::seconds(i64::try_from(seconds).unwrap_or(0))
}

/// How long a machine that has come up waits before it catches up: a part of its delay, so that an office that is switched
/// on at eight does not send at eight, and short enough for somebody who looks in for half an hour.
pub fn catch_up_delay(delay: Duration) -> Duration {
    const PART: i32 = 6;
    const LONGEST: Duration = Duration::minutes(10);
    (delay / PART).clamp(Duration::zero(), LONGEST)
}
