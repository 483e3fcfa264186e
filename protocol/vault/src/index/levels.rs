//! One sorted set of entries: a table in memory, runs on disk, merged in tiers.
//!
//! **Invariant**: memory is bounded by the table, the runs' filters and fences, and the buffers of one merge, whatever is
//! inserted. Trouble with the disk leaves every entry where it was.

use super::IndexError;
use super::entry::{Entry, Key, Location};
use super::ground::Ground;
use super::page::PageCache;
use super::run::{self, Filters, Run, RunWriter};
use super::table::Table;
use std::collections::BTreeMap;

/// So many runs of like size are merged into one.
const TIER_RUNS: usize = 4;
/// Runs that are merged at once at most: each takes a buffer of 32 KiB.
const RUNS_MAX: usize = 64;
/// Entries in memory at most when no folder takes a file: some 80 MiB.
const MEMORY_ENTRIES_MAX: usize = 2 << 20;

/// A sorted set of entries.
#[derive(Debug)]
pub(crate) struct Levels {
    table: Table,
    table_max: usize,
    runs: Vec<Run>,
}

impl Levels {
    /// An empty set that keeps at most `table_max` entries in memory.
    pub(crate) fn new(table_max: usize) -> Self {
        Self { table: Table::default(), table_max, runs: Vec::new() }
    }

    pub(crate) fn add_run(&mut self, run: Run) {
        self.runs.push(run);
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Entries, those that are in several runs counted as often.
    pub(crate) fn len(&self) -> u64 {
        self.table.len() as u64 + self.runs.iter().map(Run::entries).sum::<u64>()
    }

    /// Inserts an entry; writes the table to a run when it is full.
    pub(crate) fn insert(&mut self, entry: Entry, ground: &mut Ground, filters: Filters) -> Result<(), IndexError> {
        if self.table.len() >= self.table_max {
            self.make_room(ground, filters)?;
        }
        self.table.insert(entry);
        Ok(())
    }

    fn make_room(&mut self, ground: &mut Ground, filters: Filters) -> Result<(), IndexError> {
        let spilled = if ground.is_there() { self.spill(ground, filters) } else { Ok(()) };
        match spilled {
            Ok(()) if self.table.len() < MEMORY_ENTRIES_MAX => {}
            Err(IndexError::Io { .. }) if self.table.len() < MEMORY_ENTRIES_MAX => {}
            Ok(()) | Err(IndexError::Io { .. }) => return Err(IndexError::NoRoom { entries: self.len() }),
            Err(error) => return Err(error),
        }
        if filters == Filters::Now || self.runs.len() >= RUNS_MAX { self.settle(ground, filters) } else { Ok(()) }
    }

    /// Writes the table to a run.
    pub(crate) fn spill(&mut self, ground: &mut Ground, filters: Filters) -> Result<(), IndexError> {
        if self.table.len() == 0 {
            return Ok(());
        }
        let entries = self.table.sorted();
        let run = ground.write(|home| {
            let mut writer = RunWriter::create(home, filters)?;
            entries.iter().try_for_each(|entry| writer.push(entry))?;
            writer.finish(home)
        })?;
        self.runs.push(run);
        self.table = Table::default();
        Ok(())
    }

    /// Merges runs until no tier is full. A disk that has no room for that leaves them as they are.
    pub(crate) fn settle(&mut self, ground: &mut Ground, filters: Filters) -> Result<(), IndexError> {
        while let Some(group) = merges(&self.runs.iter().map(Run::entries).collect::<Vec<_>>()) {
            let chosen: Vec<Run> = take(&mut self.runs, &group);
            match ground.write(|home| run::merge(home, &chosen, filters)) {
                Ok(merged) => {
                    self.runs.push(merged);
                    chosen.into_iter().for_each(|run| ground.discard(run));
                }
                Err(error) => {
                    self.runs.extend(chosen);
                    return if matches!(error, IndexError::Io { .. }) { Ok(()) } else { Err(error) };
                }
            }
        }
        Ok(())
    }

    /// Gives every run its filter; one that finds no room on the disk is asked without.
    pub(crate) fn add_filters(&mut self, ground: &Ground) -> Result<(), IndexError> {
        for run in &mut self.runs {
            let Some(home) = ground.home_of(run.stamp()) else { continue };
            match run.add_filter(home) {
                Err(error @ IndexError::Io { .. }) => tracing::warn!(%error, "A run of the index stays without filter"),
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes every run of this folder durable.
    pub(crate) fn sync(&mut self, home: &super::home::Home) -> Result<(), IndexError> {
        self.runs.iter_mut().try_for_each(|run| run.sync(home))
    }

    /// Shows `visit` every place of a key until it says true; answers whether it did.
    pub(crate) fn visit(
        &self,
        pages: &PageCache,
        key: &Key,
        visit: &mut dyn FnMut(Location) -> bool,
    ) -> Result<bool, IndexError> {
        if self.table.visit(key, visit) {
            return Ok(true);
        }
        for run in self.runs.iter().rev() {
            if run.visit(pages, key, visit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Takes the runs with these numbers out, the highest number first.
fn take(runs: &mut Vec<Run>, numbers: &[usize]) -> Vec<Run> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.into_iter().map(|number| runs.remove(number)).collect()
}

/// Which runs to merge, given their lengths: one merge for all that a cascade of full tiers would merge in steps.
fn merges(lengths: &[u64]) -> Option<Vec<usize>> {
    let mut tiers: BTreeMap<u32, Vec<(Vec<usize>, u64)>> = BTreeMap::new();
    for (number, entries) in lengths.iter().enumerate() {
        tiers.entry(tier(*entries)).or_default().push((vec![number], *entries));
    }
    while let Some(at) = tiers.iter().find(|(_, groups)| groups.len() >= TIER_RUNS).map(|(at, _)| *at) {
        let groups = tiers.remove(&at).unwrap_or_default();
        let (numbers, entries): (Vec<Vec<usize>>, Vec<u64>) = groups.into_iter().unzip();
        let (numbers, entries) = (numbers.concat(), entries.iter().sum());
        tiers.entry(tier(entries).max(at + 1)).or_default().push((numbers, entries));
    }
    tiers.into_values().flatten().map(|(numbers, _)| numbers).find(|numbers| numbers.len() > 1)
}

/// Each tier holds runs four times as long as those of the one below.
fn tier(entries: u64) -> u32 {
    (entries / 4096).max(1).ilog2() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_tiers_are_merged_at_once_and_others_stay() {
        assert_eq!(merges(&[]), None);
        assert_eq!(merges(&[10, 20, 30]), None);
        assert_eq!(merges(&[10, 20, 30, 40]), Some(vec![0, 1, 2, 3]));
        assert_eq!(merges(&[5_000_000, 10, 20, 30, 40]), Some(vec![1, 2, 3, 4]));
        // A cascade: the four small ones fill the tier above.
        assert_eq!(merges(&[20_000, 20_000, 20_000, 5000, 5000, 5000, 5000]).map(|runs| runs.len()), Some(7));
    }

    #[test]
    fn the_number_of_runs_grows_with_the_logarithm() {
        let mut runs: Vec<u64> = Vec::new();
        for added in 0..10_000 {
            runs.push(1000 + added % 2);
            while let Some(group) = merges(&runs) {
                let merged = group.iter().map(|number| runs[*number]).sum();
                let mut number = 0;
                runs.retain(|_| {
                    number += 1;
                    !group.contains(&(number - 1))
                });
                runs.push(merged);
            }
        }
        assert!(runs.len() <= 24, "{} runs", runs.len());
    }
}
