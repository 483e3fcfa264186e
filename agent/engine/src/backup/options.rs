//! What a run is asked to do, and how much of the machine it may take.
//!
//! **Invariant**: no option decides whether a vault is right, only what is in it and what it costs.

use super::{CpuLimit, Executor};
use crate::changed::ChangedDirs;
use crate::source::SourceOptions;
use nightkeep_platform::process::Priority;
use nightkeep_vault::record::point::{BackupSet, CivilTime};
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// With less memory than this at hand, in bytes, a run is to be a small one.
pub const LOW_MEMORY_BYTES: u64 = 512 << 20;
/// Wished size of a data pack in bytes.
const PACK_BYTES: usize = 16 << 20;
const PACK_BYTES_LOW: usize = 8 << 20;
/// Contents on the way from reading to packing, in bytes before compression.
const BLOCKS_BYTES: u64 = 8 << 20;
const BLOCKS_BYTES_LOW: u64 = 3 << 20;
/// Small files are joined up to this many bytes: larger bundles compress better, smaller ones take less memory.
const BUNDLE_BYTES: usize = 3 << 19;
const BUNDLE_BYTES_LOW: usize = 1 << 20;
/// How far the scan may be ahead of the catalogue, in batches.
const BATCHES_AHEAD: usize = 32;
const BATCHES_AHEAD_LOW: usize = 4;
/// The highest level the run chooses by itself: above it a compressor takes more memory than three may.
const ADAPTIVE_LEVEL_MAX: i32 = 6;
const LEVEL: i32 = 3;
const PARTIAL_BYTES: u64 = 1 << 30;
const PARTIAL_SECONDS: i64 = 300;

/// The plan a run belongs to.
#[derive(Debug, Clone)]
pub struct PlanRef {
    /// Its id.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
}

/// How much memory a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryProfile {
    /// About 100 MiB: 94 to 101 for a kernel's sources, up to 127 where large files do not compress and the store is waited for.
    #[default]
    Usual,
    /// Below 48 MiB, and slower.
    Low,
}

impl MemoryProfile {
    /// The profile for so many bytes at hand; not knowing counts as enough.
    pub fn for_available(bytes: Option<u64>) -> Self {
        if bytes.is_some_and(|bytes| bytes < LOW_MEMORY_BYTES) { MemoryProfile::Low } else { MemoryProfile::Usual }
    }

    pub(crate) fn blocks_bytes(self) -> u64 {
        match self {
            MemoryProfile::Usual => BLOCKS_BYTES,
            MemoryProfile::Low => BLOCKS_BYTES_LOW,
        }
    }

    pub(crate) fn bundle_bytes(self) -> usize {
        match self {
            MemoryProfile::Usual => BUNDLE_BYTES,
            MemoryProfile::Low => BUNDLE_BYTES_LOW,
        }
    }

    pub(crate) fn batches_ahead(self) -> usize {
        match self {
            MemoryProfile::Usual => BATCHES_AHEAD,
            MemoryProfile::Low => BATCHES_AHEAD_LOW,
        }
    }
}

/// Levels of zstd, 1 to 19.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// Where the processor is what a run waits for.
    pub base: i32,
    /// As far as it goes up while the store is what a run waits for; `base` for a fixed level.
    pub max: i32,
}

impl Levels {
    /// One level for everything.
    pub fn fixed(level: i32) -> Self {
        Self { base: level, max: level }
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self { base: LEVEL, max: ADAPTIVE_LEVEL_MAX }
    }
}

/// How much may be lost when a run is cut off: a partial point is written whenever one of the two is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialEvery {
    /// Bytes of new contents.
    pub bytes: u64,
    /// Seconds, as far as anything new became durable meanwhile.
    pub seconds: i64,
}

impl Default for PartialEvery {
    fn default() -> Self {
        Self { bytes: PARTIAL_BYTES, seconds: PARTIAL_SECONDS }
    }
}

/// What a test may break in a run that cannot be broken from outside. Production has none.
pub trait Faults: Send + Sync + Debug {
    /// Before bytes of a file at `offset` are read.
    fn read(&self, _path: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    /// Between naming a block's content and sealing it: memory that loses a bit.
    fn memory(&self, _plain: &mut [u8]) {}
}

/// What to back up, and as what.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The source.
    pub source: SourceOptions,
    /// What a change journal vouches for; without it everything is looked at.
    pub changed: Option<Arc<ChangedDirs>>,
    /// This machine's name, for people; an owner's machine also takes its id from it.
    pub machine_name: String,
    /// The plan, when there is one.
    pub plan: Option<PlanRef>,
    /// The backup set.
    pub set: BackupSet,
    /// The scheduled occurrence that the run serves.
    pub occurrence: Option<CivilTime>,
    /// The version of this program.
    pub agent_version: String,
    /// How volumes are read, as [`Snapshots::method`](nightkeep_platform::volume_snapshot::Snapshots::method) tells it; the
    /// point records it.
    pub snapshot_method: String,
    /// Threads or not, and how many.
    pub executor: Executor,
    /// How its threads stand to everybody else's; none leaves them as they come.
    pub priority: Option<Priority>,
    /// How much of the processors it may take; none means no limit.
    pub cpu: Option<CpuLimit>,
    /// Wished size of a data pack in bytes.
    pub pack_bytes: usize,
    /// How much memory the stages may take; see [`BackupOptions::low_memory`].
    pub memory: MemoryProfile,
    /// How hard to compress.
    pub levels: Levels,
    /// When partial points are written.
    pub partial_every: PartialEvery,
    /// Faults to meet.
    pub faults: Option<Arc<dyn Faults>>,
}

impl BackupOptions {
    /// The usual options for a source.
    pub fn new(source: SourceOptions, machine_name: impl Into<String>) -> Self {
        Self {
            source,
            changed: None,
            machine_name: machine_name.into(),
            plan: None,
            set: BackupSet::None,
            occurrence: None,
            agent_version: String::new(),
            snapshot_method: String::new(),
            executor: Executor::default(),
            priority: None,
            cpu: None,
            pack_bytes: PACK_BYTES,
            memory: MemoryProfile::Usual,
            levels: Levels::default(),
            partial_every: PartialEvery::default(),
            faults: None,
        }
    }

    /// For a machine with little memory: smaller packs, one worker, one upload, short queues, the base level.
    #[must_use]
    pub fn low_memory(self) -> Self {
        let executor = match self.executor {
            Executor::Inline => Executor::Inline,
            Executor::Threads { .. } => Executor::Threads { workers: 1, uploads: 1 },
        };
        let pack_bytes = self.pack_bytes.min(PACK_BYTES_LOW);
        Self { executor, pack_bytes, memory: MemoryProfile::Low, levels: Levels::fixed(self.levels.base), ..self }
    }

    /// The options for a profile.
    #[must_use]
    pub fn with_memory(self, profile: MemoryProfile) -> Self {
        match profile {
            MemoryProfile::Usual => self,
            MemoryProfile::Low => self.low_memory(),
        }
    }
}
