//! The change journal, kept for the plans: what changed since each one's last recovery point.
//!
//! ```text
//! first run of a plan --> journal opened, full scan, base = (position before the run, its point)
//! next run            --> changes since the base --> engine; done: new base; failed or stopped: the old base stays
//! full scan instead   --> agent restarted, source changed, journal lost or blind, last full scan a week ago
//! ```
//! The journal begins with the first run, because there is nothing to compare with before. A base needs no merging back: the
//! journal answers for any position it remembers. No position outlives the process, so neither do the bases.
//!
//! **Invariant**: every run is told by [`How`] it looked at the source, and without proof it looks at everything.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nightkeep_engine::changed::ChangedDirs;
use nightkeep_engine::source::SourceOptions;
use nightkeep_platform::journal::{Changes, Journal, JournalOptions, Lost, Position};
use nightkeep_vault::id::PointId;
use nightkeep_wire::PlanId;

use crate::config::Jobs;

/// Whatever the journal says, everything is looked at this often.
const FULL_EVERY: TimeDelta = TimeDelta::days(7);
/// How long the collector waits for a change before it looks whether anybody wants them still.
const COLLECT_WAIT: Duration = Duration::from_secs(5);
/// Changes are taken in this far apart, so that the kernel joins those of one file. Its queue of usually 16,384 events holds
/// what comes meanwhile; if it does not, the journal is lost and says so.
const COLLECT_PAUSE: Duration = Duration::from_millis(20);

/// Keeps the journal of one agent.
#[derive(Debug)]
pub(crate) struct Keeper {
    place: PathBuf,
    enabled: bool,
    options: JournalOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    journal: Option<Arc<Journal>>,
    bases: HashMap<PlanId, Base>,
    /// How the last run looked at its source.
    last: Option<How>,
}

/// Where the changes of a plan's next run begin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Base {
    /// Taken before the run of `point` looked at anything.
    position: Position,
    point: PointId,
    source: SourceId,
    full_at: DateTime<Utc>,
}

/// What a plan backs up, by all that decides which files it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceId([u8; 32]);

/// A run that begins.
#[derive(Debug)]
pub(crate) struct Begun {
    plan: PlanId,
    source: SourceId,
    at: DateTime<Utc>,
    position: Option<Position>,
    /// For the engine.
    pub(crate) changed: Option<Arc<ChangedDirs>>,
    /// Why everything is looked at, when it is.
    reason: String,
}

/// How a run looked at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// By the journal.
    Journal {
        /// Directories that were read.
        read: u64,
        /// Directories there are.
        all: u64,
    },
    /// At everything.
    Full {
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            How::Journal { read, all } => write!(f, "journal: {read} of {all} directories read"),
            How::Full { reason } => write!(f, "full: {reason}"),
        }
    }
}

impl SourceId {
    /// Of a source and the patterns that its `excludes` were made of.
    pub(crate) fn of(source: &SourceOptions, patterns: &[String]) -> Self {
        // Named one by one, so that a new field is not forgotten here.
        // Where it is read is no part of what it is.
        let SourceOptions { machine_root, roots, excludes: _, skip, entire_machine, read_at: _ } = source;
        let mut hasher = blake3::Hasher::new();
        let mut add = |part: &[u8]| _ = hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        add(machine_root.as_os_str().as_encoded_bytes());
        add(&[u8::from(*entire_machine)]);
        for (kind, parts) in [
            ("roots", roots.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            ("skip", skip.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect()),
            ("patterns", patterns.iter().map(String::as_bytes).collect()),
        ] {
            add(kind.as_bytes());
            parts.into_iter().for_each(&mut add);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl Keeper {
    /// Keeps what happens beneath the folder that is the machine; `memory` is where a system's journal may remember how far it
    /// was read. Begins with the first run.
    pub(crate) fn new(place: PathBuf, memory: PathBuf, jobs: &Jobs) -> Self {
        let options = options(memory, jobs);
        Self { place, enabled: jobs.journal, options, state: Mutex::default() }
    }

    /// A run of a plan begins: what it may leave unread. To be asked before the run looks at anything.
    pub(crate) fn begin(&self, plan: PlanId, source: SourceId, at: DateTime<Utc>) -> Begun {
        let mut state = self.lock();
        let mut begun = Begun { plan, source, at, position: None, changed: None, reason: String::new() };
        let journal = match self.journal(&mut state) {
            Ok(journal) => journal,
            Err(reason) => return Begun { reason, ..begun },
        };
        let base = match state.bases.get(&plan) {
            Some(base) => base.fits(source, at).map(|()| base),
            None => Err("the first run since the agent started"),
        };
        let (position, changes) = match base {
            Ok(base) => {
                let (position, changes) = journal.since(base.position);
                (position, changes.map(|changes| (base.point, changes)))
            }
            Err(reason) => (journal.position(), Err(Lost::Blind(reason.to_owned()))),
        };
        begun.position = Some(position);
        match changes {
            Ok((point, changes)) => begun.changed = Some(changed(point, changes)),
            Err(lost) => {
                begun.reason = lost.to_string();
                if matches!(lost, Lost::Failed(_)) {
                    // The next run opens another; nothing this one remembers is of use.
                    (state.journal, begun.position) = (None, None);
                    state.bases.clear();
                }
            }
        }
        begun
    }

    /// A run made its point: the next one's changes begin where it began.
    pub(crate) fn finish(&self, begun: &Begun, point: PointId) -> How {
        let how = begun.how();
        let mut state = self.lock();
        state.last = Some(how.clone());
        let (Some(position), Some(journal)) = (begun.position, state.journal.clone()) else { return how };
        let before = state.bases.get(&begun.plan).map(|base| base.full_at);
        let full_at = match &how {
            How::Journal { .. } => before.unwrap_or(begun.at),
            How::Full { .. } => begun.at,
        };
        state.bases.insert(begun.plan, Base { position, point, source: begun.source, full_at });
        if let Some(oldest) = state.bases.values().map(|base| base.position).min() {
            journal.forget_before(oldest);
        }
        how
    }

    /// How the last run looked at its source, for people.
    pub(crate) fn last(&self) -> Option<String> {
        self.lock().last.as_ref().map(How::to_string)
    }

    /// The journal, opened if need be.
    fn journal(&self, state: &mut State) -> Result<Arc<Journal>, String> {
        if !self.enabled {
            return Err("the journal is switched off in the configuration".to_owned());
        }
        if let Some(journal) = &state.journal {
            return Ok(journal.clone());
        }
        let journal = Journal::open(&self.place, self.options.clone()).map_err(|error| in_words(&error))?;
        let journal = Arc::new(journal);
        let collected = Arc::downgrade(&journal);
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || collect(&collected));
        thread.map_err(|error| format!("no thread for the journal: {error}"))?;
        let coverage = journal.coverage();
        tracing::info!(watched = ?coverage.watched, in_full = ?coverage.unwatched, "The change journal begins");
        state.bases.clear();
        state.journal = Some(journal.clone());
        Ok(journal)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Base {
    /// Whether a run of this source, now, may begin here.
    fn fits(&self, source: SourceId, now: DateTime<Utc>) -> Result<(), &'static str> {
        if self.source != source {
            return Err("what the plan backs up has changed");
        }
        // A clock that was set back says nothing about the age of the last full scan.
        let age = now - self.full_at;
        if age < TimeDelta::zero() || age >= FULL_EVERY {
            return Err("everything is looked at once a week");
        }
        Ok(())
    }
}

impl Begun {
    fn how(&self) -> How {
        let tally = self.changed.as_ref().map(|changed| changed.tally());
        match tally {
            Some(tally) if tally.used => How::Journal { read: tally.read, all: tally.read + tally.taken_over },
            Some(_) => How::Full { reason: "the journal does not fit the last recovery point".to_owned() },
            None => How::Full { reason: self.reason.clone() },
        }
    }
}

fn changed(point: PointId, changes: Changes) -> Arc<ChangedDirs> {
    tracing::debug!(directories = changes.changed_directories(), "The journal answers");
    Arc::new(ChangedDirs::new(point, changes))
}

/// Takes changes in for as long as somebody wants them. What goes wrong is told when somebody asks.
fn collect(journal: &Weak<Journal>) {
    while let Some(journal) = journal.upgrade() {
        if let Err(error) = journal.collect(COLLECT_WAIT) {
            tracing::warn!(%error, "The change journal ends");
            return;
        }
        drop(journal);
        std::thread::sleep(COLLECT_PAUSE);
    }
}

fn options(memory: PathBuf, jobs: &Jobs) -> JournalOptions {
    JournalOptions { overlook: jobs.journal_overlook.clone(), memory: Some(memory) }
}

/// Whether there is a journal on this machine, for the self-test: what it watches, or why there is none.
pub(crate) fn probe(place: &Path, memory: PathBuf, jobs: &Jobs) -> Result<String, String> {
    let journal = Journal::open(place, options(memory, jobs));
    let journal = journal.map_err(|error| in_words(&error))?;
    journal.since(journal.position()).1.map_err(|lost| lost.to_string())?;
    let coverage = journal.coverage();
    let watched: Vec<String> = coverage.watched.iter().map(|path| path.display().to_string()).collect();
    let in_full = coverage.unwatched.iter().map(|(path, reason)| format!("; {} in full: {reason}", path.display()));
    Ok(format!("watches {}{}", watched.join(", "), in_full.collect::<String>()))
}

/// An error with its cause.
fn in_words(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests;
