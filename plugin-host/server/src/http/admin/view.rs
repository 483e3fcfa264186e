//! Machines and jobs as the admin API and the console show them.

use chrono::{DateTime, Utc};
use nightkeep_database::{JobRecord, Machine, MachineRow, Place};
use nightkeep_wire::machine::{MachineClass, MachineState};
use nightkeep_wire::progress::Phase;
use nightkeep_wire::report::{Cause, Finding, JobKind, JobStats, Outcome};
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{JobId, MachineId, PlanId};
use serde::Serialize;

use crate::app::{AppError, SharedApp};

/// A row of the machine list.
#[derive(Debug, Clone, Serialize)]
pub(in crate::http) struct MachineView {
    pub(in crate::http) id: MachineId,
    pub(in crate::http) hostname: String,
    pub(in crate::http) customer: String,
    pub(in crate::http) client: String,
    pub(in crate::http) location: String,
    pub(in crate::http) os: String,
    pub(in crate::http) state: MachineState,
    /// Where it is counted.
    pub(in crate::http) bucket: Bucket,
    /// The bucket in words.
    pub(in crate::http) status: &'static str,
    /// Why.
    pub(in crate::http) reason: String,
    /// A backup that runs.
    pub(in crate::http) backing_up: Option<BackingUp>,
    /// Waits for an answer to a start or stop.
    pub(in crate::http) pending: Option<&'static str>,
    /// Not heard for longer than a quarter of an hour.
    pub(in crate::http) offline: bool,
    pub(in crate::http) last_backup: Option<DateTime<Utc>>,
    pub(in crate::http) next_backup: Option<DateTime<Utc>>,
    pub(in crate::http) last_heard: DateTime<Utc>,
    /// IANA name of the machine's zone.
    pub(in crate::http) zone: String,
}

impl MachineView {
    pub(in crate::http) fn is_lobby(&self) -> bool {
        self.state == MachineState::Lobby
    }

    pub(in crate::http) fn can_start(&self) -> bool {
        self.state == MachineState::Active && self.bucket != Bucket::WithoutPlan
    }

    pub(in crate::http) fn is_first_backup(&self) -> bool {
        self.bucket == Bucket::NotProtected && self.backing_up.is_some()
    }

    /// Why the status is what it is, where the chip does not say it all.
    pub(in crate::http) fn shown_reason(&self) -> &str {
        // How old the newest point of a good machine is, the times beside it say, and they stay true.
        let says_it_all = self.backing_up.is_some() || self.bucket == Bucket::Ok;
        match (self.is_lobby(), says_it_all) {
            (true, _) => "Another machine has the same identity",
            (false, true) => "",
            (false, false) => &self.reason,
        }
    }
}

/// A backup that runs.
#[derive(Debug, Clone, Serialize)]
pub(in crate::http) struct BackingUp {
    pub(in crate::http) job: JobId,
    pub(in crate::http) plan: Option<PlanId>,
    pub(in crate::http) percent: Option<u8>,
    pub(in crate::http) phase: Option<Phase>,
    pub(in crate::http) started: DateTime<Utc>,
    pub(in crate::http) files_done: u64,
    pub(in crate::http) bytes_done: u64,
    pub(in crate::http) bytes_total: Option<u64>,
}

/// A job.
#[derive(Debug, Clone, Serialize)]
pub(in crate::http) struct JobView {
    pub(in crate::http) id: JobId,
    pub(in crate::http) plan: Option<PlanId>,
    pub(in crate::http) kind: JobKind,
    pub(in crate::http) cause: Cause,
    pub(in crate::http) occurrence: Option<DateTime<Utc>>,
    pub(in crate::http) started: DateTime<Utc>,
    pub(in crate::http) finished: Option<DateTime<Utc>>,
    pub(in crate::http) outcome: Option<Outcome>,
    pub(in crate::http) recovery_point: Option<String>,
    pub(in crate::http) set: Option<&'static str>,
    pub(in crate::http) stats: Option<JobStats>,
    pub(in crate::http) findings: Vec<Finding>,
    pub(in crate::http) finding_count: u64,
    pub(in crate::http) error: Option<String>,
    pub(in crate::http) bootable: bool,
    pub(in crate::http) percent: Option<u8>,
}

/// A machine's page.
#[derive(Debug, Clone, Serialize)]
pub(in crate::http) struct MachineDetail {
    #[serde(flatten)]
    pub(in crate::http) machine: MachineView,
    pub(in crate::http) class: MachineClass,
    pub(in crate::http) agent_version: String,
    pub(in crate::http) enrolled_at: DateTime<Utc>,
    pub(in crate::http) clone_alarm_at: Option<DateTime<Utc>>,
    pub(in crate::http) auto_apply: bool,
    pub(in crate::http) plans: Vec<PlanLine>,
    pub(in crate::http) jobs: Vec<JobView>,
    /// Conclusions beside the bucket.
    pub(in crate::http) verdict: serde_json::Value,
}

/// A plan on a machine.
#[derive(Debug, Clone, Serialize)]
pub(in crate::http) struct PlanLine {
    pub(in crate::http) id: PlanId,
    pub(in crate::http) name: String,
    pub(in crate::http) schedule: String,
    pub(in crate::http) applied_by: String,
    pub(in crate::http) applied_at: DateTime<Utc>,
    pub(in crate::http) next_start: Option<DateTime<Utc>>,
    pub(in crate::http) refused: Option<String>,
}

/// A machine whose silence is longer than two of its promises.
const OFFLINE_AFTER: chrono::Duration = chrono::Duration::minutes(15);

/// Fills in what changes by the second.
pub(in crate::http) async fn machine_view(app: &SharedApp, row: MachineRow) -> Result<MachineView, AppError> {
    let running = app.database.running_jobs(row.id).await?;
    let commands = app.database.open_commands(row.id).await?;
    let facts: serde_json::Value = serde_json::from_str(&row.facts).unwrap_or_default();
    let bucket = row.bucket.unwrap_or(Bucket::WithoutPlan);
    let is_backup = |job: &&JobRecord| job.kind == JobKind::Backup;
    Ok(MachineView {
        id: row.id,
        hostname: row.hostname,
        customer: row.customer,
        client: row.client,
        location: row.location,
        os: facts["os"]["name"].as_str().unwrap_or_default().to_owned(),
        zone: facts["zone"].as_str().unwrap_or("UTC").to_owned(),
        state: row.state,
        bucket,
        status: if row.state == MachineState::Lobby { "Waits for approval" } else { bucket.label() },
        reason: row.reason.unwrap_or_default(),
        backing_up: running.iter().rfind(is_backup).map(backing_up),
        pending: commands.last().and_then(|command| pending(&command.action)),
        offline: app.now() - row.last_heard > OFFLINE_AFTER,
        last_backup: row.last_backup,
        next_backup: row.next_backup,
        last_heard: row.last_heard,
    })
}

fn pending(action: &nightkeep_wire::desired::CommandAction) -> Option<&'static str> {
    use nightkeep_wire::desired::CommandAction;
    match action {
        CommandAction::Start { .. } => Some("starting"),
        CommandAction::Stop { .. } => Some("stopping"),
        CommandAction::Unenroll | CommandAction::Unknown => None,
    }
}

fn backing_up(job: &JobRecord) -> BackingUp {
    let progress = job.progress.as_ref();
    BackingUp {
        job: job.id,
        plan: job.plan,
        percent: progress.and_then(|p| p.percent.or_else(|| p.percent_of_counters())).map(|p| p.min(100)),
        phase: progress.map(|p| p.phase),
        started: job.started,
        files_done: progress.map_or(0, |p| p.files_done),
        bytes_done: progress.map_or(0, |p| p.bytes_done),
        bytes_total: progress.and_then(|p| p.bytes_total),
    }
}

/// The row of one machine, as it is in the list.
pub(in crate::http) async fn row_of(app: &SharedApp, machine: &Machine, place: &Place) -> Result<MachineRow, AppError> {
    let status = app.database.status(machine.id).await?;
    Ok(MachineRow {
        id: machine.id,
        hostname: machine.facts.hostname.clone(),
        state: machine.state,
        customer: place.customer.name.clone(),
        client: place.client.name.clone(),
        location: place.location.name.clone(),
        bucket: status.as_ref().map(|s| s.bucket),
        reason: status.as_ref().map(|s| s.reason.clone()),
        last_backup: status.as_ref().and_then(|s| s.last_backup),
        next_backup: status.as_ref().and_then(|s| s.next_backup),
        last_heard: machine.last_heard_at,
        facts: serde_json::to_string(&machine.facts).unwrap_or_default(),
    })
}

/// Jobs on a machine's page.
const JOBS_SHOWN: u64 = 20;

/// Everything about one machine.
pub(in crate::http) async fn machine_detail(
    app: &SharedApp,
    machine: &Machine,
    place: &Place,
) -> Result<MachineDetail, AppError> {
    let row = row_of(app, machine, place).await?;
    let statements = app.database.plan_statements(machine.id).await?;
    let plans = app.database.applications(machine.id).await?.into_iter().map(|application| {
        let statement = statements.iter().find(|s| s.plan == application.plan.plan.id);
        PlanLine {
            id: application.plan.plan.id,
            name: application.plan.plan.name,
            schedule: application.plan.plan.schedule.cron,
            applied_by: application.applied_by,
            applied_at: application.applied_at,
            next_start: statement.and_then(|s| s.next_start),
            refused: statement.filter(|s| !s.accepted).map(|s| s.message.clone().unwrap_or_default()),
        }
    });
    Ok(MachineDetail {
        class: machine.class,
        agent_version: machine.facts.agent_version.clone(),
        enrolled_at: machine.enrolled_at,
        clone_alarm_at: machine.clone_alarm_at,
        auto_apply: place.auto_apply() && !machine.auto_apply_excluded,
        plans: plans.collect(),
        jobs: app.database.jobs(machine.id, JOBS_SHOWN).await?.into_iter().map(JobView::from).collect(),
        verdict: app.database.status(machine.id).await?.map(|s| s.document).unwrap_or_default(),
        machine: machine_view(app, row).await?,
    })
}

impl From<JobRecord> for JobView {
    fn from(job: JobRecord) -> Self {
        let percent = job.progress.as_ref().and_then(|p| p.percent.or_else(|| p.percent_of_counters()));
        let result = job.result;
        Self {
            id: job.id,
            plan: job.plan,
            kind: job.kind,
            cause: job.cause,
            occurrence: job.occurrence,
            started: job.started,
            finished: job.finished,
            outcome: job.outcome,
            recovery_point: result.as_ref().and_then(|r| r.recovery_point.as_ref().map(ToString::to_string)),
            set: result.as_ref().and_then(|r| r.set).map(|set| set.label()),
            stats: result.as_ref().map(|r| r.stats),
            finding_count: result.as_ref().map_or(0, |r| r.finding_count),
            error: result.as_ref().and_then(|r| r.error.clone()),
            bootable: result.as_ref().is_some_and(|r| r.bootable),
            findings: result.map(|r| r.findings).unwrap_or_default(),
            percent,
        }
    }
}
