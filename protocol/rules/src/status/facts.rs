//! What is known about a machine when it is judged.

use chrono::{DateTime, Utc};
use nightkeep_wire::PlanId;
use nightkeep_wire::machine::MachineClass;
use nightkeep_wire::plan::Plan;
use nightkeep_wire::report::{ErrorClass, Outcome};

use crate::schedule::RunRecord;
use crate::span::Span;
use crate::thresholds::Thresholds;

/// Everything a verdict is made from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Its class.
    pub class: MachineClass,
    /// Its figures; [`Thresholds::for_class`] unless overridden.
    pub thresholds: Thresholds,
    /// IANA name of its zone.
    pub zone: &'a str,
    /// The agent.
    pub agent: Agent,
    /// Plans applied to it.
    pub plans: Vec<PlanFacts<'a>>,
    /// When it was online, as far back as the last 40 days; in any order, overlaps allowed.
    pub online: Vec<Span>,
    /// Maintenance; in any order.
    pub maintenance: Vec<Span>,
    /// A pause that goes on or is over, the last one.
    pub pause: Option<Pause>,
}

/// The agent on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// Known from the inventory alone.
    Absent,
    /// It was there, but its registration is gone or refused.
    Unregistered,
    /// Enrolled.
    Enrolled {
        /// When.
        at: DateTime<Utc>,
        /// When it was heard last.
        last_heard: Option<DateTime<Utc>>,
    },
}

/// A pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it began.
    pub from: DateTime<Utc>,
    /// When it ends or ended; none means until someone resumes.
    pub until: Option<DateTime<Utc>>,
}

/// What is known about one plan on the machine.
#[derive(Debug, Clone)]
pub struct PlanFacts<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// When it was applied.
    pub applied_at: DateTime<Utc>,
    /// Why the agent cannot run it.
    pub refused: Option<String>,
    /// Results, in any order: those since the newest point, and a few before it.
    pub results: Vec<RunResult>,
    /// A backup that is going on.
    pub running: Option<Running>,
    /// Start of the run that made the newest restorable point.
    pub newest_point: Option<DateTime<Utc>>,
    /// The real minute of the next start, as the agent told or as computed.
    pub next_start: Option<DateTime<Utc>>,
}

impl PlanFacts<'_> {
    /// Id of the plan.
    pub fn id(&self) -> PlanId {
        self.plan.id
    }

    pub(super) fn runs(&self) -> Vec<RunRecord> {
        let ended = self.results.iter().map(|r| RunRecord::of(r.started, Some((r.finished, r.outcome))));
        let running = self.running.iter().map(|r| RunRecord::of(r.started, None));
        ended.chain(running).collect()
    }
}

/// A result of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunResult {
    /// When it started.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub finished: DateTime<Utc>,
    /// How.
    pub outcome: Outcome,
    /// Findings in all.
    pub finding_count: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// What the failure is about.
    pub error_class: Option<ErrorClass>,
}

/// A backup that is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// When it started.
    pub started: DateTime<Utc>,
    /// Share done.
    pub percent: Option<u8>,
    /// When its counters moved last.
    pub progressed_at: DateTime<Utc>,
    /// When it will be ready at the present pace.
    pub ready_about: Option<DateTime<Utc>>,
}
