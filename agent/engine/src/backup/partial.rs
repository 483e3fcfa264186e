//! Partial points: what the run has confirmed so far, so that the next one need not do it again.
//!
//! **Invariant**: a partial names hunks whose references are written, and it never confirms less than the partial that
//! this run took over: what this run has not come to yet is carried on.

use super::catalogue::CatalogueStage;
use super::parent::Parent;
use super::{BackupError, Shared};
use nightkeep_vault::catalogue::{HunkRef, compare_paths};
use nightkeep_vault::record::point::{CivilTime, PointBody, Totals};
use std::collections::BTreeSet;

/// When the next partial is due.
pub(crate) struct Due {
    bytes_new: u64,
    seconds: i64,
    /// How many entries the last one confirmed.
    entries: u64,
}

impl Due {
    pub(crate) fn new(shared: &Shared<'_>) -> Self {
        Self { bytes_new: 0, seconds: shared.started.at.seconds, entries: 0 }
    }

    /// A clock that jumps makes one partial early or late, which is harmless.
    pub(crate) fn is_now(&self, shared: &Shared<'_>, totals: &Totals) -> bool {
        let every = shared.options.partial_every;
        totals.bytes_new - self.bytes_new >= every.bytes
            || shared.clock.now().at.seconds - self.seconds >= every.seconds
    }

    fn done(&mut self, shared: &Shared<'_>, totals: &Totals, entries: u64) {
        *self = Self { bytes_new: totals.bytes_new, seconds: shared.clock.now().at.seconds, entries };
    }
}

impl CatalogueStage<'_> {
    /// Writes a partial point of what is confirmed, unless nothing was since the last one.
    pub(crate) fn write_partial(&mut self) -> Result<(), BackupError> {
        let mut hunks = self.confirmed();
        hunks.extend(self.confirm_open()?);
        let own = hunks.iter().map(|hunk| hunk.entries).sum();
        if own <= self.due.entries {
            return Ok(());
        }
        hunks.extend(self.confirm_rest()?);
        let carried = self.carried();
        let mut packs: BTreeSet<_> = carried.iter().flat_map(|hunk| self.packs_of(hunk)).collect();
        hunks.extend(carried);
        let (hunk_list, references) = self.write_heads(&hunks)?;
        self.meta.flush()?;
        packs.extend(self.meta.packs());
        let shared = self.shared;
        let mut header = shared.header(self.totals, self.oldest_start());
        (header.references, header.meta_packs) = (references, packs.into_iter().collect());
        let body = PointBody {
            hunk_list: Some(hunk_list),
            roots: shared.options.source.roots.clone(),
            ..PointBody::default()
        };
        shared.session.write_partial(header, &body)?;
        tracing::debug!(hunks = hunks.len(), bytes = self.totals.bytes, "What is confirmed was written down");
        self.due.done(shared, &self.totals, own);
        Ok(())
    }

    /// The partial whose rest is carried on; only where its blobs may be referred to.
    fn taken_over(&self) -> Option<&Parent> {
        let partial = self.parents.partial.as_deref().filter(|partial| partial.healthy)?;
        let first = partial.hunks().first()?;
        self.meta.parents.pack_of(&first.id).map(|_| partial)
    }

    /// What is behind the last path in the hunk of the taken-over partial that the path is in.
    fn confirm_rest(&mut self) -> Result<Option<HunkRef>, BackupError> {
        let Some(partial) = self.taken_over() else { return Ok(None) };
        let begun = partial.hunks().iter().rfind(|hunk| compare_paths(&hunk.first_path, &self.last_path).is_le());
        let Some(begun) = begun else { return Ok(None) };
        let mut rest = partial.read_hunk(begun)?;
        rest.retain(|entry| compare_paths(&entry.path, &self.last_path).is_gt());
        self.confirm(&rest)
    }

    /// Hunks of the taken-over partial that begin behind the last path.
    fn carried(&self) -> Vec<HunkRef> {
        let Some(partial) = self.taken_over() else { return Vec::new() };
        let behind = partial.hunks().partition_point(|hunk| compare_paths(&hunk.first_path, &self.last_path).is_le());
        partial.hunks()[behind..].to_vec()
    }

    fn packs_of<'h>(&'h self, hunk: &'h HunkRef) -> impl Iterator<Item = nightkeep_vault::id::PackId> + 'h {
        let lists = hunk.lists.iter().flat_map(|(list, leaf)| [*list, *leaf]);
        [hunk.id, hunk.leaf].into_iter().chain(lists).filter_map(|id| self.meta.parents.pack_of(&id))
    }

    /// A file that changed right behind a scan is told by that scan's start, so the oldest one counts.
    fn oldest_start(&self) -> CivilTime {
        let own = &self.shared.started;
        let carried = self.taken_over().map(Parent::started);
        carried.filter(|carried| carried.at < own.at).unwrap_or(own).clone()
    }
}
