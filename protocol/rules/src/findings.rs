//! Which findings colour a run, and when a backup has shrunk suspiciously (product.md A-DEC "Findings").

use nightkeep_wire::report::{Finding, FindingKind, JobStats};

/// Runs that are compared.
const RUNS_COMPARED: usize = 5;
/// Less than so many percent of the median is suspicious.
const SHARE_MIN_PERCENT: u128 = 70;
/// A file unread in so many runs in a row is a warning even where its kind is harmless.
pub const UNREAD_RUNS_MAX: u32 = 3;

/// Whether a finding makes the run a warning. `unread_runs` is in how many runs in a row, this one included, the same
/// file could not be read.
pub fn colours(finding: &Finding, unread_runs: u32) -> bool {
    match finding.kind {
        FindingKind::Unreadable
        | FindingKind::Shrunken
        | FindingKind::SnapshotFailed
        | FindingKind::CommandFailed
        | FindingKind::Unknown => true,
        // Once a file is locked or half-written is everyday; for the third time it is missing from the backup.
        FindingKind::Locked | FindingKind::Changing => unread_runs >= UNREAD_RUNS_MAX,
        FindingKind::MetadataLost | FindingKind::Unsupported => false,
        FindingKind::Vanished
        | FindingKind::CloudPlaceholder
        | FindingKind::Skipped
        | FindingKind::SnapshotUnavailable => false,
    }
}

/// Words for a backup that is 30 % below the median of the five runs before it, in files or in bytes; none otherwise.
pub fn shrunken(before: &[JobStats], now: &JobStats) -> Option<String> {
    let recent = &before[before.len().saturating_sub(RUNS_COMPARED)..];
    if recent.len() < RUNS_COMPARED {
        return None;
    }
    let below = |value: u64, of: fn(&JobStats) -> u64| {
        let mut values: Vec<u64> = recent.iter().map(of).collect();
        values.sort_unstable();
        let median = values[RUNS_COMPARED / 2];
        (u128::from(value) * 100 < u128::from(median) * SHARE_MIN_PERCENT).then_some(median)
    };
    if let Some(median) = below(now.files, |stats| stats.files) {
        return Some(format!("{} files where the last five runs had about {median}", now.files));
    }
    let median = below(now.bytes, |stats| stats.bytes)?;
    Some(format!(
        "{} where the last five runs had about {}",
        crate::words::bytes(now.bytes),
        crate::words::bytes(median)
    ))
}
