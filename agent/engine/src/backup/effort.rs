//! How hard to compress: the level goes up while the store is what a run waits for, and comes down with it.
//!
//! **Invariant**: a level changes what a run costs, never what a reader gets; every block tells its own codec.

use super::options::Levels;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Steps between the base level and the highest.
const STEPS: [i32; 4] = [3, 5, 6, 9];
/// The store is the bottleneck when packs waited for it this share of the time, in percent.
const WAITED_PERCENT_UP: u128 = 60;
/// And it is not when they waited less than this.
const WAITED_PERCENT_DOWN: u128 = 20;

/// What one codec at one level did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LevelCount {
    /// Level of zstd; none for blocks stored as they are.
    pub level: Option<i32>,
    /// Data blocks.
    pub blocks: u64,
    /// Their bytes before compression.
    pub plain_bytes: u64,
    /// And behind it.
    pub stored_bytes: u64,
}

/// The level in force, and what was done at each.
#[derive(Debug)]
pub(crate) struct Effort {
    levels: Levels,
    level: AtomicI32,
    counts: Mutex<BTreeMap<Option<i32>, LevelCount>>,
}

impl Effort {
    pub(crate) fn new(levels: Levels) -> Self {
        Self { levels, level: AtomicI32::new(levels.base), counts: Mutex::default() }
    }

    pub(crate) fn level(&self) -> i32 {
        self.level.load(Ordering::Relaxed)
    }

    /// Tells how long a full pack waited for an upload, of the time since the pack before.
    pub(crate) fn pack_waited(&self, waited: Duration, elapsed: Duration) {
        let next = next_level(self.level(), self.levels, waited, elapsed);
        if next != self.level() {
            tracing::debug!(level = next, "The compression level changes with what the run waits for");
            self.level.store(next, Ordering::Relaxed);
        }
    }

    /// Counts a data block.
    pub(crate) fn count(&self, level: Option<i32>, plain_bytes: u64, stored_bytes: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(level).or_insert(LevelCount { level, ..LevelCount::default() });
        count.blocks += 1;
        count.plain_bytes += plain_bytes;
        count.stored_bytes += stored_bytes;
    }

    /// Blocks and bytes by level, stored ones first.
    pub(crate) fn histogram(&self) -> Vec<LevelCount> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }
}

fn next_level(level: i32, levels: Levels, waited: Duration, elapsed: Duration) -> i32 {
    let percent = waited.as_micros() * 100 / elapsed.as_micros().max(1);
    let up = STEPS.into_iter().find(|step| *step > level && *step <= levels.max);
    let down = STEPS.into_iter().rev().find(|step| *step < level && *step > levels.base).unwrap_or(levels.base);
    if percent >= WAITED_PERCENT_UP {
        up.unwrap_or(level)
    } else if percent < WAITED_PERCENT_DOWN {
        down.min(level)
    } else {
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_what_the_run_waits_for() {
        let levels = Levels { base: 3, max: 6 };
        let after = |level, levels, waited| {
            next_level(level, levels, Duration::from_millis(waited), Duration::from_millis(100))
        };
        assert_eq!(after(3, levels, 90), 5, "the store is slow");
        assert_eq!(after(5, levels, 90), 6);
        assert_eq!(after(6, levels, 90), 6, "no further than asked");
        assert_eq!(after(6, levels, 40), 6, "in between it stays");
        assert_eq!(after(6, levels, 5), 5, "the processor is slow");
        assert_eq!(after(3, levels, 0), 3);
        for waited in [0, 50, 100] {
            assert_eq!(after(1, Levels::fixed(1), waited), 1);
            assert_eq!(after(12, Levels::fixed(12), waited), 12);
        }
        assert_eq!(next_level(3, levels, Duration::ZERO, Duration::ZERO), 3);
    }
}
