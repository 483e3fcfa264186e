//! The machine as its daemon sees it: the same rules as on the host, on what this machine remembers.

use chrono::{DateTime, Utc};
use nightkeep_platform::privacy;
use nightkeep_rules::status::{Agent, Facts, Pause, PlanFacts, Running, judge};
use nightkeep_rules::thresholds::Thresholds;
use nightkeep_wire::control::{Link, PlanStatus, StatusSnapshot};
use nightkeep_wire::desired::AppliedPlan;
use nightkeep_wire::machine::MachineFacts;
use nightkeep_wire::progress::JobProgress;
use nightkeep_wire::status::Bucket;

use super::core::Core;
use crate::facts::AGENT_VERSION;

/// What the core does not know.
pub(crate) struct Surroundings {
    /// Name of the customer.
    pub(crate) customer: String,
    /// Link to the host.
    pub(crate) link: Link,
    /// How the last run looked at its source.
    pub(crate) scan: Option<String>,
    /// The running job.
    pub(crate) running: Option<JobProgress>,
    /// Reports that the host has not acknowledged.
    pub(crate) reports_waiting: u64,
}

/// The status of an enrolled machine.
pub(crate) fn of(core: &Core, around: Surroundings, now: DateTime<Utc>) -> StatusSnapshot {
    let settings = core.desired.as_ref().map(|desired| &desired.settings);
    let class = settings.and_then(|settings| settings.class).unwrap_or(core.facts.class);
    let pause = core.state.pause.as_ref().map(|pause| Pause { from: pause.from, until: Some(pause.until) });
    let enrolled_at = core.plans().iter().map(|applied| applied.applied_at).min().unwrap_or(now);
    let facts = Facts {
        class,
        thresholds: Thresholds::for_class(class),
        zone: &core.facts.zone,
        agent: Agent::Enrolled { at: enrolled_at, last_heard: Some(now) },
        plans: core.plans().iter().map(|applied| plan_facts(core, applied, around.running.as_ref(), now)).collect(),
        online: core.state.online_spans(),
        maintenance: Vec::new(),
        pause,
    };
    let verdict = judge(&facts, now);
    StatusSnapshot {
        at: now,
        hostname: core.facts.hostname.clone(),
        agent_version: AGENT_VERSION.to_owned(),
        machine: Some(core.machine),
        state: core.desired.as_ref().map(|desired| desired.state),
        customer: Some(around.customer),
        link: around.link,
        bucket: verdict.bucket,
        reason: verdict.reason,
        overlays: verdict.overlays,
        plans: core.plans().iter().map(|applied| plan_status(core, applied, now)).collect(),
        running: around.running.into_iter().collect(),
        paused_until: core.state.paused_until(now),
        reports_waiting: around.reports_waiting,
        scan: around.scan,
        warnings: warnings(),
    }
}

/// The status of a machine that belongs to no host.
pub(crate) fn not_enrolled(facts: &MachineFacts, now: DateTime<Utc>) -> StatusSnapshot {
    StatusSnapshot {
        at: now,
        hostname: facts.hostname.clone(),
        agent_version: AGENT_VERSION.to_owned(),
        machine: None,
        state: None,
        customer: None,
        link: Link::NotEnrolled,
        bucket: Bucket::WithoutPlan,
        reason: "this machine belongs to no host: run `nightkeep-agent enroll`".to_owned(),
        overlays: Vec::new(),
        plans: Vec::new(),
        running: Vec::new(),
        paused_until: None,
        reports_waiting: 0,
        scan: None,
        warnings: warnings(),
    }
}

/// Asked anew every time: a person may allow it, or take it back, at any moment.
fn warnings() -> Vec<String> {
    privacy::warning(privacy::disk_access()).into_iter().map(str::to_owned).collect()
}

fn plan_facts<'a>(
    core: &Core,
    applied: &'a AppliedPlan,
    running: Option<&JobProgress>,
    now: DateTime<Utc>,
) -> PlanFacts<'a> {
    let memory = core.state.plans.get(&applied.plan.id);
    let running = running.filter(|progress| progress.plan == Some(applied.plan.id));
    PlanFacts {
        plan: &applied.plan,
        applied_at: applied.applied_at,
        refused: core.refusal(applied),
        results: memory.map(|memory| memory.results()).unwrap_or_default(),
        running: running.map(|progress| Running {
            started: progress.started,
            percent: progress.percent,
            progressed_at: progress.at,
            ready_about: None,
        }),
        newest_point: memory.and_then(|memory| memory.newest_point()),
        next_start: core.next_start(applied, now),
    }
}

fn plan_status(core: &Core, applied: &AppliedPlan, now: DateTime<Utc>) -> PlanStatus {
    let memory = core.state.plans.get(&applied.plan.id);
    PlanStatus {
        id: applied.plan.id,
        name: applied.plan.name.clone(),
        last: memory.and_then(|memory| memory.last()),
        newest_point: memory.and_then(|memory| memory.newest_point()),
        next_start: core.next_start(applied, now),
        held: core.held(applied, now),
        problem: core.refusal(applied),
    }
}
