//! How far the running job is: counters that engine threads add to and everybody else reads.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use nightkeep_engine::progress::{Finding, FindingKind, Phase as EnginePhase, Progress};
use nightkeep_wire::progress::{JobProgress, Phase};
use nightkeep_wire::report::JobKind;

use super::Job;

const PREPARING: u8 = 0;
const TRANSFERRING: u8 = 1;
const FINISHING: u8 = 2;

/// Counters of one job.
#[derive(Debug)]
pub(crate) struct Watch {
    job: Job,
    phase: AtomicU8,
    files_done: AtomicU64,
    bytes_done: AtomicU64,
    files_total: AtomicU64,
    bytes_total: AtomicU64,
    grave_findings: AtomicU64,
}

impl Watch {
    /// Counters at zero.
    pub(crate) fn new(job: Job) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            job,
            phase: AtomicU8::new(PREPARING),
            files_done: zero(),
            bytes_done: zero(),
            files_total: zero(),
            bytes_total: zero(),
            grave_findings: zero(),
        }
    }

    /// The figures now.
    pub(crate) fn progress(&self, now: DateTime<Utc>) -> JobProgress {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // An estimate that was passed is none; a folder that grew makes the total grow with it.
        let total = |total: &AtomicU64, done: u64| Some(get(total)).filter(|total| *total > 0).map(|t| t.max(done));
        let (files_done, bytes_done) = (get(&self.files_done), get(&self.bytes_done));
        let mut progress = JobProgress {
            job: self.job.id,
            plan: Some(self.job.plan),
            kind: JobKind::Backup,
            phase: match self.phase.load(Ordering::Relaxed) {
                PREPARING => Phase::Preparing,
                FINISHING => Phase::Committing,
                _ => Phase::BackingUp,
            },
            started: self.job.started.unwrap_or(now),
            at: now,
            files_done,
            files_total: total(&self.files_total, files_done),
            bytes_done,
            bytes_total: total(&self.bytes_total, bytes_done),
            percent: None,
        };
        progress.percent = progress.percent_of_counters();
        progress
    }

    /// Whether anything was noticed that colours the result.
    pub(super) fn has_grave_findings(&self) -> bool {
        self.grave_findings.load(Ordering::Relaxed) > 0
    }

    /// Notes something about the run that colours the result.
    pub(super) fn note_grave_finding(&self) {
        self.grave_findings.fetch_add(1, Ordering::Relaxed);
    }
}

impl Progress for Watch {
    fn phase(&self, phase: EnginePhase) {
        let phase = match phase {
            EnginePhase::Preparing => PREPARING,
            EnginePhase::Transferring => TRANSFERRING,
            EnginePhase::Finishing => FINISHING,
        };
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn estimate(&self, files: u64, bytes: u64) {
        self.files_total.store(files, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.files_done.fetch_add(files, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn finding(&self, finding: &Finding) {
        if finding.kind != FindingKind::Vanished {
            self.note_grave_finding();
        }
    }
}
