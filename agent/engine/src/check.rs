//! Is the vault whole? Structure, and on request every byte; and which files any damage touches.
//!
//! **Invariant**: checking never writes, and a problem in one object does not hide those behind it.

use crate::progress::{Phase, Progress, Stop, StopKind};
use crate::restore::chain;
use nightkeep_vault::catalogue::{Content, Entry, Piece};
use nightkeep_vault::id::{BlobId, MachineId, PackId};
use nightkeep_vault::index::Index;
use nightkeep_vault::pack::{Area, PackError};
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use nightkeep_vault::store::ObjectName;
use nightkeep_vault::vault::{Health, ListedPoint, Points, Vault, VaultError};
use nightkeep_vault::verify;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Files named for one damaged pack; the count goes on.
const FILES_NAMED_MAX: usize = 1000;

/// What to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// Read and open every byte, instead of structure only.
    pub read_data: bool,
    /// Threads that read.
    pub workers: usize,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckProblem {
    /// The object.
    pub object: String,
    /// What is wrong.
    pub text: String,
}

/// A file that a problem touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AffectedFile {
    /// The machine's name.
    pub machine: String,
    /// The recovery point.
    pub point: String,
    /// Raw path bytes.
    pub path: Vec<u8>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Recovery points checked.
    pub points: u64,
    /// Packs that are in the index.
    pub packs: u64,
    /// Bytes of them.
    pub pack_bytes: u64,
    /// Entries of all catalogues, each hunk counted once.
    pub entries: u64,
    /// Bytes read back and opened.
    pub bytes_read: u64,
    /// Packs that no segment lists, mostly of interrupted runs.
    pub unlisted_packs: u64,
    /// What is wrong.
    pub problems: Vec<CheckProblem>,
    /// Files that cannot be restored whole.
    pub affected: Vec<AffectedFile>,
    /// All such files, also those not named.
    pub affected_count: u64,
}

/// Why a check did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The vault cannot be opened or listed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Somebody asked to stop.
    #[error("stopped before everything was checked")]
    Stopped(StopKind),
    /// A worker ended without a word.
    #[error("a worker of the check failed; its last words are in the log")]
    Worker,
}

/// Checks the whole vault.
pub fn run(
    vault: &Arc<Vault>,
    options: CheckOptions,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<CheckReport, CheckError> {
    progress.phase(Phase::Preparing);
    let generation = vault.newest_generation()?;
    let index = vault.load_index(&generation, None)?;
    let blocks = Arc::new(BlockReader::new(vault.clone()));
    let mut check = Check { vault, index, blocks, report: CheckReport::default(), damaged: BTreeMap::new() };
    for problem in vault.segments(&generation, None)?.problems {
        check.problem(&problem.name, cause(&problem.error));
    }
    check.list_packs()?;
    if options.read_data {
        progress.phase(Phase::Transferring);
        progress.estimate(check.report.packs, check.report.pack_bytes);
        check.read_packs(options.workers.max(1), progress, stop)?;
    }
    progress.phase(Phase::Finishing);
    check.points(stop)?;
    Ok(check.report)
}

struct Check<'a> {
    vault: &'a Arc<Vault>,
    index: Index,
    blocks: Arc<BlockReader>,
    report: CheckReport,
    /// Damaged packs, with their damaged blocks; none means the whole pack.
    damaged: BTreeMap<PackId, Option<BTreeSet<u32>>>,
}

impl Check<'_> {
    fn problem(&mut self, object: &ObjectName, text: impl Into<String>) {
        self.report.problems.push(CheckProblem { object: object.to_string(), text: text.into() });
    }

    /// Compares what lies in the store with what the index says.
    fn list_packs(&mut self) -> Result<(), CheckError> {
        let mut there: HashMap<ObjectName, u64> = HashMap::new();
        for area in [Area::Data, Area::Meta] {
            let listed = self.vault.store().list_all(&format!("{}/", area.letter())).map_err(VaultError::Store)?;
            there.extend(listed.into_iter().map(|info| (info.name, info.bytes)));
        }
        let mut known = HashSet::new();
        for number in 0..self.index.pack_count() {
            let pack = self.index.pack(number).map_err(VaultError::Index)?;
            let name = pack.area.name(pack.id);
            if !known.insert(name.clone()) {
                continue;
            }
            self.report.packs += 1;
            self.report.pack_bytes += pack.bytes;
            let text = match there.get(&name) {
                Some(bytes) if *bytes == pack.bytes => continue,
                Some(bytes) => format!("it is {bytes} bytes long, but {} bytes were written", pack.bytes),
                None => "it is gone from the storage".to_owned(),
            };
            self.damaged.insert(pack.id, None);
            self.problem(&name, text);
        }
        self.report.unlisted_packs = there.keys().filter(|name| !known.contains(*name)).count() as u64;
        Ok(())
    }

    /// Reads every pack: bytes against the name, blocks against their ids.
    fn read_packs(&mut self, workers: usize, progress: &dyn Progress, stop: &Stop) -> Result<(), CheckError> {
        let packs: Vec<_> = self.index.packs().collect::<Result<_, _>>().map_err(VaultError::Index)?;
        let packs: Vec<_> = packs.iter().filter(|pack| self.damaged.get(&pack.id) != Some(&None)).collect();
        let (next, read) = (AtomicUsize::new(0), AtomicU64::new(0));
        let bad: Mutex<Vec<(ObjectName, PackId, VaultError)>> = Mutex::default();
        let vault = self.vault;
        let blocks = &self.blocks;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    scope.spawn(|| {
                        while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                            if let Some(kind) = stop.requested() {
                                return Err(CheckError::Stopped(kind));
                            }
                            if let Err(error) = read_pack(vault, blocks, pack.area, pack.id) {
                                let name = pack.area.name(pack.id);
                                bad.lock().unwrap_or_else(PoisonError::into_inner).push((name, pack.id, error));
                            }
                            read.fetch_add(pack.bytes, Ordering::Relaxed);
                            progress.advance(1, pack.bytes);
                        }
                        Ok(())
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(CheckError::Worker)))
        })?;
        self.report.bytes_read = read.into_inner();
        for (name, id, error) in bad.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let blocks = self.damaged_blocks(&name, id);
            self.damaged.insert(id, blocks);
            self.problem(&name, cause(&error));
        }
        Ok(())
    }

    /// Which blocks of a damaged data pack cannot be opened; none when the pack cannot even tell its blocks.
    fn damaged_blocks(&self, name: &ObjectName, id: PackId) -> Option<BTreeSet<u32>> {
        if !name.as_str().starts_with(Area::Data.letter()) {
            return None;
        }
        let pack = self.blocks.open(Area::Data, id).ok()?;
        let damaged =
            (0..pack.footer.blocks.len() as u32).filter(|block| self.blocks.read_block(&pack, *block).is_err());
        Some(damaged.collect())
    }

    fn points(&mut self, stop: &Stop) -> Result<(), CheckError> {
        let mut checked: HashMap<BlobId, HashSet<(PackId, u32)>> = HashMap::new();
        for machine in self.machines()? {
            let points = self.vault.points(machine)?;
            for problem in &points.problems {
                self.problem(&problem.name, cause(&problem.error));
            }
            self.chain(&points);
            for listed in points.visible() {
                if let Some(kind) = stop.requested() {
                    return Err(CheckError::Stopped(kind));
                }
                self.report.points += 1;
                if listed.health == Health::Lost {
                    let text = "it came after its session was declared over, and a garbage collection took packs it needs; \
                                what is left of it can be restored, the next backup is whole";
                    self.problem(listed.point.name(), text);
                }
                if let Err(error) = self.point(listed, &mut checked) {
                    self.problem(listed.point.name(), cause(&error));
                }
            }
        }
        Ok(())
    }

    /// Every machine that has a record or points.
    fn machines(&self) -> Result<BTreeSet<MachineId>, CheckError> {
        let mut machines: BTreeSet<MachineId> =
            self.vault.machines()?.into_iter().map(|record| record.machine).collect();
        let listed = self.vault.store().list_all("s/").map_err(VaultError::Store)?;
        machines
            .extend(listed.iter().filter_map(|info| info.name.as_str().split('/').nth(1)?.parse::<MachineId>().ok()));
        Ok(machines)
    }

    /// Each point names the hash of the one before.
    fn chain(&mut self, points: &Points) {
        for pair in points.points.windows(2) {
            let (before, after) = (&pair[0].point, &pair[1].point);
            let neighbours = after.header.sequence == before.header.sequence + 1;
            if neighbours && after.header.previous != before.hash {
                self.problem(after.name(), "it does not follow the point before it: one of them was exchanged");
            }
        }
    }

    fn point(
        &mut self,
        listed: &ListedPoint,
        checked: &mut HashMap<BlobId, HashSet<(PackId, u32)>>,
    ) -> Result<(), VaultError> {
        let reader = CatalogueReader::open(self.blocks.clone(), listed.point.clone())?;
        let root = reader.references()?;
        for hunk in &reader.hunks {
            let entries = reader.hunk(hunk)?;
            let new = !checked.contains_key(&hunk.id);
            if new {
                self.report.entries += entries.len() as u64;
                let mut referenced = HashSet::new();
                for leaf in std::iter::once(&hunk.leaf).chain(hunk.lists.iter().map(|(_, leaf)| leaf)) {
                    if !root.leaves.contains(leaf) {
                        self.problem(listed.point.name(), "its references do not name every part of its catalogue");
                    }
                    referenced.extend(reader.leaf(leaf)?.iter());
                }
                checked.insert(hunk.id, referenced);
            }
            for entry in &entries {
                self.entry(listed, &reader, entry, checked.get(&hunk.id).filter(|_| new))?;
            }
        }
        Ok(())
    }

    /// Whether one of these blocks holds the chunk: two machines may have sent it at once, and each names its own copy.
    fn is_named(&self, blocks: &HashSet<(PackId, u32)>, id: &BlobId) -> Result<bool, VaultError> {
        for place in self.index.places(id)? {
            if blocks.contains(&(self.index.pack(place.pack)?.id, place.block)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn entry(
        &mut self,
        listed: &ListedPoint,
        reader: &CatalogueReader,
        entry: &Entry,
        referenced: Option<&HashSet<(PackId, u32)>>,
    ) -> Result<(), VaultError> {
        let pieces = match &entry.content {
            Content::Empty | Content::Inline(_) => return Ok(()),
            Content::Pieces(pieces) => pieces.clone(),
            Content::Lists(lists) => {
                let lists: Result<Vec<_>, _> = lists.iter().map(|list| reader.content_list(&list.id)).collect();
                lists?.into_iter().flatten().collect()
            }
        };
        let mut whole = true;
        for piece in &pieces {
            let Piece::Chunk { id, .. } = piece else { continue };
            let Some(location) = self.index.chunk(id)? else {
                whole = false;
                continue;
            };
            let pack = self.index.pack(location.pack)?.id;
            whole &= match self.damaged.get(&pack) {
                None => true,
                Some(None) => false,
                Some(Some(blocks)) => !blocks.contains(&location.block),
            };
            if let Some(referenced) = referenced
                && !self.is_named(referenced, id)?
            {
                let text = format!("chunk {id} is not among its references; a collection would lose it");
                self.problem(listed.point.name(), text);
            }
        }
        if !whole {
            self.report.affected_count += 1;
            if self.report.affected.len() < FILES_NAMED_MAX {
                self.report.affected.push(AffectedFile {
                    machine: listed.point.header.machine_name.clone(),
                    point: listed.point.id.to_string(),
                    path: entry.path.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Reads a pack whole and opens what the keys at hand open.
fn read_pack(vault: &Vault, blocks: &BlockReader, area: Area, id: PackId) -> Result<(), VaultError> {
    let (bytes, _) = vault.read_pack(area, id)?;
    match verify::open_blocks(blocks, area, id, &bytes) {
        // Another machine's catalogue, or data where only the structure may be read.
        Err(VaultError::Pack { source: PackError::NoKey, .. }) => Ok(()),
        other => other,
    }
}

/// What is wrong, without the object's name, which stands beside it.
fn cause(error: &VaultError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), chain)
}
