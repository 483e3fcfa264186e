//! Brings a cached index up to date: opens it, takes in the segments it lacks, publishes it again.
//!
//! **Invariant**: what is published names only segments that were checked, and only files that are durable. A crash at
//! any write leaves the manifest before or the manifest after.

use super::home::{Effects, Home};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest, Taken, TakenAs};
use super::numbers::Numbers;
use super::run::{Filters, Run};
use super::{Ground, Index, IndexError, PackTable};
use crate::id::{MachineId, VaultId};
use crate::record::segment::Segment;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// A cache of fewer packs is not worth building anew for those that are buried.
const BURIED_PACKS_MIN: usize = 1000;

/// A segment as it is taken in.
pub(crate) struct TakenSegment<'a> {
    pub(crate) name: &'a str,
    /// The hash of the object.
    pub(crate) hash: [u8; 32],
    pub(crate) taken_as: TakenAs,
    pub(crate) segment: &'a Segment,
}

/// An index that is being brought up to date.
pub(crate) struct IndexBuilder {
    index: Index,
    vault: VaultId,
    reader: Option<MachineId>,
    taken: BTreeMap<String, Taken>,
    /// Packs of segments that were let go and that no other segment lists: known for good, offered to nobody.
    buried: BTreeSet<u32>,
    /// Whether something was taken in or dropped since the manifest was read.
    is_changed: bool,
}

impl IndexBuilder {
    /// Opens the cache in `dir`, or begins an empty index where there is none, or none that can be used.
    pub(crate) fn open(dir: Option<&Path>, vault: VaultId, reader: Option<MachineId>) -> Self {
        Self::open_with(dir, vault, reader, Effects::default())
    }

    pub(super) fn open_with(dir: Option<&Path>, vault: VaultId, reader: Option<MachineId>, effects: Effects) -> Self {
        let home = dir.and_then(|dir| Home::cache(dir, effects.clone()));
        let mut builder = Self {
            index: Index::on(Ground::new(home, effects)),
            vault,
            reader,
            taken: BTreeMap::new(),
            buried: BTreeSet::new(),
            is_changed: true,
        };
        if let Err(why) = builder.load() {
            tracing::info!(%why, "The index is built anew from the vault");
            builder.begin_anew();
        }
        builder
    }

    /// Takes over what the manifest names.
    fn load(&mut self) -> Result<(), IndexError> {
        let Some(home) = self.index.ground.cache_mut() else { return Ok(()) };
        let dir = home.path(0, "manifest");
        let refused = |what| IndexError::Damaged { path: dir.clone(), what };
        let bytes = home.read_manifest(MANIFEST_BYTES_MAX).ok_or(refused("there is no manifest"))?;
        let manifest = Manifest::decode(&bytes).map_err(|_| refused("the manifest is damaged"))?;
        if (manifest.vault, manifest.reader) != (self.vault, self.reader) {
            return Err(refused("it is of another vault or machine"));
        }
        home.adopt(manifest.cache, manifest.next);
        home.sweep(&manifest.files());
        let packs = PackTable::open(home, manifest.packs)?;
        let runs =
            manifest.runs.map(|runs| runs.into_iter().map(|run| Run::open(home, run)).collect::<Result<Vec<_>, _>>());
        let [data, meta, by_id] = runs;
        self.index.packs = packs;
        for (levels, runs) in
            [(&mut self.index.data, data?), (&mut self.index.meta, meta?), (&mut self.index.by_id, by_id?)]
        {
            runs.into_iter().for_each(|run| levels.add_run(run));
        }
        (self.taken, self.buried, self.is_changed) = (manifest.taken, manifest.buried, false);
        // What comes now is little beside what is there.
        self.index.filters = Filters::Now;
        Ok(())
    }

    /// Drops everything that was taken in.
    pub(crate) fn begin_anew(&mut self) {
        let mut ground = std::mem::take(&mut self.index.ground);
        if let Some(home) = ground.cache_mut() {
            home.begin_anew();
        }
        self.index = Index::on(ground);
        self.taken.clear();
        self.buried.clear();
        self.is_changed = true;
    }

    /// Lets go of segments that others replaced: what they list is offered only as far as another segment lists it, too.
    pub(crate) fn let_go(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        self.is_changed = true;
        let gone: Vec<Taken> = names.iter().filter_map(|name| self.taken.remove(name)).collect();
        let listed: HashSet<u32> = self.taken.values().flat_map(|taken| taken.packs.iter()).collect();
        self.buried.extend(gone.iter().flat_map(|taken| taken.packs.iter()).filter(|pack| !listed.contains(pack)));
    }

    /// Whether most of what is here is offered to nobody: building it anew costs less than keeping it.
    pub(crate) fn is_mostly_buried(&self) -> bool {
        let packs = self.index.pack_count() as usize;
        packs >= BURIED_PACKS_MIN && self.buried.len() * 2 > packs
    }

    /// How a segment was taken in, if it was.
    pub(crate) fn taken(&self, name: &str) -> Option<(&[u8; 32], TakenAs)> {
        self.taken.get(name).map(|taken| (&taken.hash, taken.taken_as))
    }

    /// The names of all segments taken in.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.taken.keys().map(String::as_str)
    }

    /// Takes in a segment that was checked.
    pub(crate) fn take_in(&mut self, taken: &TakenSegment<'_>) -> Result<(), IndexError> {
        self.is_changed = true;
        let packs = taken.segment.packs.iter().map(|pack| self.index.add_pack(pack));
        let packs = packs.collect::<Result<Numbers, _>>()?;
        if !self.buried.is_empty() {
            packs.iter().for_each(|pack| _ = self.buried.remove(&pack));
        }
        self.taken.insert(taken.name.to_owned(), Taken { hash: taken.hash, taken_as: taken.taken_as, packs });
        Ok(())
    }

    /// Publishes the cache, where there is one, and gives the index. A cache that cannot be written costs the next run
    /// time, not this one.
    pub(crate) fn finish(mut self) -> Result<Index, IndexError> {
        if self.is_changed
            && let Err(error) = self.publish()
        {
            match error {
                IndexError::Io { .. } => tracing::warn!(%error, "The index cache is not brought up to date"),
                IndexError::Damaged { .. } | IndexError::NoRoom { .. } | IndexError::NoPack { .. } => {
                    return Err(error);
                }
            }
        }
        self.index.settle()?;
        self.buried.iter().for_each(|pack| self.index.bury(*pack));
        Ok(self.index)
    }

    fn publish(&mut self) -> Result<(), IndexError> {
        let index = &mut self.index;
        if index.ground.publishable().is_none() {
            return Ok(());
        }
        for levels in [&mut index.data, &mut index.meta, &mut index.by_id] {
            levels.spill(&mut index.ground, Filters::Later)?;
        }
        index.settle()?;
        let Some(home) = index.ground.publishable() else { return Ok(()) };
        let mut runs = [const { Vec::new() }; 3];
        for (runs, levels) in runs.iter_mut().zip([&mut index.data, &mut index.meta, &mut index.by_id]) {
            levels.sync(home)?;
            runs.extend(levels.runs().iter().map(Run::info));
        }
        index.packs.sync(home)?;
        let manifest = Manifest {
            vault: self.vault,
            reader: self.reader,
            cache: home.id,
            next: home.next,
            packs: index.packs.info(),
            runs,
            taken: std::mem::take(&mut self.taken),
            buried: self.buried.clone(),
        };
        home.publish(&manifest.encode())?;
        home.sweep(&manifest.files());
        Ok(())
    }
}
