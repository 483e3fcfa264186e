//! A machine's status: gathers the facts, lets the rules judge, keeps the verdict.
//!
//! Invariant: the verdict is made from the database alone, with no hint of what changed.

use chrono::{DateTime, Duration, Utc};
use nightkeep_database::{Application, JobRecord, Machine, PlanStatement, StatusRecord};
use nightkeep_rules::schedule::{Timetable, start_delay};
use nightkeep_rules::span::Span;
use nightkeep_rules::status::{Agent, Facts, Pause, PlanFacts, RunResult, Running, Verdict, judge};
use nightkeep_rules::thresholds::Thresholds;
use nightkeep_wire::MachineId;
use nightkeep_wire::report::JobKind;
use nightkeep_wire::status::Overlay;
use serde_json::json;

use super::{App, AppError};

/// How far back rules look at online time.
const LOOK_BACK: Duration = Duration::days(40);
/// Jobs of a machine that rules look at; about six weeks of four plans a day and then some.
const JOBS_MAX: u64 = 200;

impl App {
    /// Judges a machine anew, keeps the verdict and tells open consoles.
    pub(crate) async fn refresh(&self, machine: &Machine) -> Result<Verdict, AppError> {
        let now = self.now();
        let verdict = self.judge(machine, now).await?;
        self.database.put_status(&record(machine.id, &verdict, now)).await?;
        self.changed(machine.id);
        Ok(verdict)
    }

    /// What the rules say about a machine now.
    pub(crate) async fn judge(&self, machine: &Machine, now: DateTime<Utc>) -> Result<Verdict, AppError> {
        let applications = self.database.applications(machine.id).await?;
        let jobs = self.database.jobs(machine.id, JOBS_MAX).await?;
        let statements = self.database.plan_statements(machine.id).await?;
        let online = self.database.online_since(machine.id, now - LOOK_BACK).await?;
        let plans = applications.iter().map(|application| plan_facts(machine, application, &jobs, &statements, now));
        let pause = machine.paused_from.map(|from| Pause { from, until: machine.paused_until });
        let facts = Facts {
            class: machine.class,
            thresholds: Thresholds::for_class(machine.class),
            zone: &machine.facts.zone,
            agent: Agent::Enrolled { at: machine.enrolled_at, last_heard: Some(machine.last_heard_at) },
            plans: plans.collect(),
            online: online.into_iter().map(|(from, until)| Span::new(from, until)).collect(),
            maintenance: Vec::new(),
            pause,
        };
        Ok(judge(&facts, now))
    }
}

fn plan_facts<'a>(
    machine: &Machine,
    application: &'a Application,
    jobs: &[JobRecord],
    statements: &[PlanStatement],
    now: DateTime<Utc>,
) -> PlanFacts<'a> {
    let plan = &application.plan.plan;
    let own: Vec<&JobRecord> =
        jobs.iter().filter(|job| job.plan == Some(plan.id) && job.kind == JobKind::Backup).collect();
    let statement = statements.iter().find(|statement| statement.plan == plan.id);
    let refused = statement.filter(|statement| !statement.accepted);
    let newest_point = own.iter().filter(|job| has_point(job)).map(|job| job.started).max();
    PlanFacts {
        plan,
        applied_at: application.applied_at,
        refused: refused.map(|s| s.message.clone().unwrap_or_else(|| "it did not say why".to_owned())),
        results: own.iter().filter_map(|job| run_result(job)).collect(),
        running: own.iter().filter(|job| job.finished.is_none()).map(|job| running(job, now)).next_back(),
        newest_point,
        next_start: next_start(machine, application, statement, now),
    }
}

fn has_point(job: &JobRecord) -> bool {
    job.result.as_ref().is_some_and(|result| result.recovery_point.is_some())
}

fn run_result(job: &JobRecord) -> Option<RunResult> {
    let result = job.result.as_ref()?;
    Some(RunResult {
        started: result.started,
        finished: result.finished,
        outcome: result.outcome,
        finding_count: result.finding_count,
        error: result.error.clone(),
        error_class: result.error_class,
    })
}

fn running(job: &JobRecord, now: DateTime<Utc>) -> Running {
    let progress = job.progress.as_ref();
    let percent = progress.and_then(|p| p.percent.or_else(|| p.percent_of_counters()));
    let progressed_at = progress.map_or(job.started, |p| p.at);
    Running { started: job.started, percent, progressed_at, ready_about: ready_about(job.started, percent, now) }
}

/// When it will be ready if it goes on as it did; too early to tell below three percent.
fn ready_about(started: DateTime<Utc>, percent: Option<u8>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let percent = i64::from(percent.filter(|percent| *percent >= 3)?);
    let spent = (now - started).num_seconds().max(0);
    Some(started + Duration::seconds(spent * 100 / percent))
}

/// What the agent said while it is still ahead; else what its schedule and its own delay give.
fn next_start(
    machine: &Machine,
    application: &Application,
    statement: Option<&PlanStatement>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let said = statement.filter(|s| s.accepted && s.revision == application.plan.revision).and_then(|s| s.next_start);
    if let Some(said) = said.filter(|at| *at > now) {
        return Some(said);
    }
    let plan = &application.plan.plan;
    let timetable = Timetable::new(&plan.schedule, &machine.facts.zone).ok()?;
    let delay = start_delay(machine.id, plan.id, plan.schedule.random_delay_max_seconds);
    // An occurrence whose delay has not passed yet is still ahead.
    timetable.after(now - delay).map(|at| at + delay).find(|at| *at > now)
}

fn record(machine: MachineId, verdict: &Verdict, now: DateTime<Utc>) -> StatusRecord {
    let overlays: Vec<&Overlay> = verdict.overlays.iter().collect();
    StatusRecord {
        machine,
        bucket: verdict.bucket,
        reason: verdict.reason.clone(),
        last_backup: verdict.last_backup,
        last_point: verdict.newest_point,
        next_backup: verdict.next_backup,
        missed: verdict.missed_in_a_row,
        document: json!({
            "overlays": overlays,
            "last_outcome": verdict.last_outcome,
            "missed_alarm": verdict.missed_alarm,
            "errors_in_a_row": verdict.errors_in_a_row,
            "error_class": verdict.error_class,
            "awaits_first_backup": verdict.awaits_first_backup,
        }),
        computed_at: now,
    }
}
