//! Is the vault whole? Structure, and on request every byte; and which files any damage touches.
//!
//! [`packs`] holds the store against the index and reads packs back; [`points`] follows every recovery point down to its
//! chunks.
//!
//! **Invariant**: checking never writes, and a problem in one object does not hide those behind it.

mod packs;
mod points;

use crate::progress::{Phase, Progress, Stop, StopKind};
use crate::restore::chain;
use nightkeep_vault::id::PackId;
use nightkeep_vault::index::Index;
use nightkeep_vault::reader::BlockReader;
use nightkeep_vault::record::forward::Forwards;
use nightkeep_vault::record::generation::Generation;
use nightkeep_vault::store::ObjectName;
use nightkeep_vault::vault::{Quarantine, Vault, VaultError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Mixes a seed into a hash: the golden ratio, as an odd number.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
/// So often a check begins again because a collection ran beside it.
const LOOKS_MAX: usize = 2;
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

/// Which packs a check reads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// All of them.
    #[default]
    All,
    /// One of so many parts, from 1: in as many checks every pack is read once.
    OneOf {
        /// Which part.
        number: u64,
        /// How many there are.
        parts: u64,
    },
    /// About so many of a million, another choice for each seed.
    Sample {
        /// How many of a million.
        per_million: u64,
        /// Any number.
        seed: u64,
    },
}

impl Part {
    fn takes(self, id: PackId) -> bool {
        let number = |from: usize| id.0[from..from + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        match self {
            Self::All => true,
            Self::OneOf { number: wanted, parts } => number(0) % parts.max(1) + 1 == wanted,
            Self::Sample { per_million, seed } => {
                let mixed = (number(8) ^ seed).wrapping_mul(ODD) >> 32;
                mixed * 1_000_000 < per_million.min(1_000_000) << 32
            }
        }
    }
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
    /// Objects that a repair withdrew; what they held is named when it is nowhere else.
    pub quarantined: u64,
    /// Entries of recovery points whose part of the catalogue is lost: their names are not known any more.
    pub entries_lost: u64,
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
    run_part(vault, options, Part::All, progress, stop)
}

/// Checks the structure of the whole vault; of the packs it reads only a part, when it reads any.
pub fn run_part(
    vault: &Arc<Vault>,
    options: CheckOptions,
    part: Part,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<CheckReport, CheckError> {
    for _ in 0..LOOKS_MAX {
        let generation = vault.newest_generation()?;
        let report = look(vault, &generation, options, part, progress, stop)?;
        // A collection that ran meanwhile moved and deleted packs, which looks like damage.
        if report.problems.is_empty() || vault.newest_generation()?.number == generation.number {
            return Ok(report);
        }
        tracing::info!("A collection ran during the check, which begins again");
    }
    let generation = vault.newest_generation()?;
    look(vault, &generation, options, part, progress, stop)
}

fn look(
    vault: &Arc<Vault>,
    generation: &Generation,
    options: CheckOptions,
    part: Part,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<CheckReport, CheckError> {
    progress.phase(Phase::Preparing);
    let (quarantine, forwards) = (vault.quarantine()?, Forwards::of(generation));
    let index = vault.load_index(generation, None)?;
    let blocks = Arc::new(BlockReader::new(vault.clone()));
    let report = CheckReport { quarantined: quarantine.objects().count() as u64, ..CheckReport::default() };
    let (damaged, hunks) = (BTreeMap::new(), HashMap::new());
    let mut check = Check { vault, index, quarantine, forwards, blocks, report, damaged, hunks };
    for problem in vault.segment_problems(generation)? {
        check.problem(&problem.name, cause(&problem.error));
    }
    let packs = check.list_packs()?;
    if options.read_data {
        progress.phase(Phase::Transferring);
        let wanted: Vec<_> = packs.into_iter().filter(|pack| part.takes(pack.id)).collect();
        progress.estimate(wanted.len() as u64, wanted.iter().map(|pack| pack.bytes).sum());
        check.read_packs(&wanted, options.workers.max(1), progress, stop)?;
    }
    progress.phase(Phase::Finishing);
    check.points(stop)?;
    Ok(check.report)
}

/// What a look at a pack tells of its blocks.
#[derive(Debug, Clone)]
enum Damage {
    /// None can be read.
    Whole,
    /// These cannot be read.
    Blocks(BTreeSet<u32>),
}

struct Check<'a> {
    vault: &'a Arc<Vault>,
    index: Index,
    quarantine: Quarantine,
    forwards: Forwards,
    blocks: Arc<BlockReader>,
    report: CheckReport,
    damaged: BTreeMap<PackId, Damage>,
    /// Hunks that were looked at, with their damaged files.
    hunks: HashMap<[u8; 16], Arc<[Vec<u8>]>>,
}

impl Check<'_> {
    fn problem(&mut self, object: &ObjectName, text: impl Into<String>) {
        self.report.problems.push(CheckProblem { object: object.to_string(), text: text.into() });
    }
}

/// What is wrong, without the object's name, which stands beside it.
fn cause(error: &VaultError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), chain)
}
