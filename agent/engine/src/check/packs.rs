//! Packs: what lies in the store against what the index says, and bytes against names and ids.
//!
//! **Invariant**: packs in memory hold at most [`IN_FLIGHT_BYTES`], or one pack that is longer.

use super::{Check, CheckError, Damage, cause};
use crate::progress::{Progress, Stop};
use nightkeep_vault::id::PackId;
use nightkeep_vault::index::IndexedPack;
use nightkeep_vault::pack::{Area, PackError};
use nightkeep_vault::record::quarantine::Verdict;
use nightkeep_vault::vault::VaultError;
use nightkeep_vault::verify;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Packs being read back.
const IN_FLIGHT_BYTES: u64 = 48 << 20;
/// So many packs that the storage fails to read mean that it is the storage that is damaged.
const FAILURES_MAX: usize = 8;

/// Bytes that are in memory.
#[derive(Default)]
struct Budget {
    used: Mutex<u64>,
    freed: Condvar,
}

impl Budget {
    /// Does something that takes so many bytes, when there is room for them.
    fn with<T>(&self, bytes: u64, work: impl FnOnce() -> T) -> T {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |used: &mut u64| *used > 0 && *used + bytes > IN_FLIGHT_BYTES;
        let mut used = self.freed.wait_while(used, full).unwrap_or_else(PoisonError::into_inner);
        *used += bytes;
        drop(used);
        let done = work();
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.freed.notify_all();
        done
    }
}

impl Check<'_> {
    /// Compares what lies in the store with what the index says; answers the packs that can be read back.
    pub(super) fn list_packs(&mut self) -> Result<Vec<IndexedPack>, CheckError> {
        let mut there: HashMap<PackId, u64> = HashMap::new();
        for area in [Area::Data, Area::Meta] {
            let listed = self.vault.store().list_all(&format!("{}/", area.letter())).map_err(VaultError::Store)?;
            let packs =
                listed.iter().filter_map(|info| Some((nightkeep_vault::vault::pack_of(&info.name)?.1, info.bytes)));
            there.extend(packs);
        }
        let (mut known, mut readable) = (HashSet::new(), Vec::new());
        for number in 0..self.index.pack_count() {
            let pack = self.index.pack(number).map_err(VaultError::Index)?;
            let name = pack.area.name(pack.id);
            if !known.insert(pack.id) {
                continue;
            }
            let withdrawn = self.quarantine.verdict(&name);
            if withdrawn.is_none() && self.index.is_hidden(number) {
                // A collector took it away.
                continue;
            }
            self.report.packs += 1;
            self.report.pack_bytes += pack.bytes;
            let text = match there.get(&pack.id) {
                Some(bytes) if *bytes == pack.bytes && withdrawn == Some(Verdict::Damaged) => {
                    let damage = self.damage(pack.area, pack.id);
                    self.damaged.insert(pack.id, damage);
                    continue;
                }
                Some(bytes) if *bytes == pack.bytes => {
                    readable.push(pack);
                    continue;
                }
                Some(bytes) => format!("it is {bytes} bytes long, but {} bytes were written", pack.bytes),
                None => "it is gone from the storage".to_owned(),
            };
            self.damaged.insert(pack.id, Damage::Whole);
            if withdrawn.is_none() {
                self.problem(&name, text);
            }
        }
        self.report.unlisted_packs = there.keys().filter(|id| !known.contains(*id)).count() as u64;
        Ok(readable)
    }

    /// Reads packs: bytes against the name, blocks against their ids.
    pub(super) fn read_packs(
        &mut self,
        packs: &[IndexedPack],
        workers: usize,
        progress: &dyn Progress,
        stop: &Stop,
    ) -> Result<(), CheckError> {
        let (next, read, budget) = (AtomicUsize::new(0), AtomicU64::new(0), Budget::default());
        let failures = AtomicUsize::new(0);
        let bad: Mutex<Vec<(IndexedPack, VaultError)>> = Mutex::default();
        let (vault, blocks) = (self.vault, &self.blocks);
        let work = || {
            while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(kind) = stop.requested() {
                    return Err(CheckError::Stopped(kind));
                }
                let sound = budget.with(pack.bytes, || {
                    let (bytes, _) = vault.read_pack(pack.area, pack.id)?;
                    match verify::open_blocks(blocks, pack.area, pack.id, &bytes) {
                        // Another machine's catalogue, or data where only the structure may be read.
                        Err(VaultError::Pack { source: PackError::NoKey, .. }) => Ok(()),
                        other => other,
                    }
                });
                match sound {
                    Ok(()) => {}
                    // A bad sector is damage; a storage that answers nothing any more is not.
                    Err(error) if error.is_damage() || failures.fetch_add(1, Ordering::Relaxed) < FAILURES_MAX => {
                        bad.lock().unwrap_or_else(PoisonError::into_inner).push((*pack, error));
                    }
                    Err(error) => return Err(error.into()),
                }
                read.fetch_add(pack.bytes, Ordering::Relaxed);
                progress.advance(1, pack.bytes);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(CheckError::Worker)))
        })?;
        self.report.bytes_read = read.into_inner();
        let mut bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
        bad.sort_by_key(|(pack, _)| (pack.area, pack.id));
        for (pack, error) in bad {
            let damage = self.damage(pack.area, pack.id);
            self.damaged.insert(pack.id, damage);
            self.problem(&pack.area.name(pack.id), cause(&error));
        }
        Ok(())
    }

    /// Which blocks of a damaged pack cannot be opened.
    fn damage(&self, area: Area, id: PackId) -> Damage {
        let Ok(pack) = self.blocks.open(area, id) else { return Damage::Whole };
        let blocks = 0..pack.footer.blocks.len() as u32;
        Damage::Blocks(blocks.filter(|block| self.blocks.read_block(&pack, *block).is_err()).collect())
    }
}
