//! Jobs, how far they are, and what machines say about their plans.
//!
//! Invariant: a finished job never runs again, in whatever order its messages come; progress is kept only for jobs that
//! have not finished.

use chrono::{DateTime, Utc};
use nightkeep_wire::progress::JobProgress;
use nightkeep_wire::report::{Cause, JobKind, JobResult, JobStarted, Missed, MissedReason, Outcome, PlanState};
use nightkeep_wire::{JobId, MachineId, PlanId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::convert::{from_json, from_word, json, ms, signed, time, unsigned, word};
use crate::database::Database;
use crate::entity::{job_progress, jobs, missed_backups, plan_states};
use crate::error::DatabaseError;

const TABLE: &str = "jobs";

/// One run of a plan, or a restore.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// Its machine.
    pub machine: MachineId,
    /// The plan it ran for.
    pub plan: Option<PlanId>,
    /// What it does.
    pub kind: JobKind,
    /// Why it runs.
    pub cause: Cause,
    /// The scheduled time it serves.
    pub occurrence: Option<DateTime<Utc>>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended; none while it runs.
    pub finished: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Everything else about its end.
    pub result: Option<JobResult>,
    /// How far it is, while it runs.
    pub progress: Option<JobProgress>,
}

/// What a machine says about one of its plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStatement {
    /// The plan.
    pub plan: PlanId,
    /// The revision it knows.
    pub revision: u64,
    /// Whether it can run it.
    pub accepted: bool,
    /// Why not.
    pub message: Option<String>,
    /// The minute of its next start.
    pub next_start: Option<DateTime<Utc>>,
}

impl Database {
    /// A machine's newest jobs.
    pub async fn jobs(&self, machine: MachineId, limit: u64) -> Result<Vec<JobRecord>, DatabaseError> {
        let rows = jobs::Entity::find()
            .filter(jobs::Column::MachineId.eq(machine.as_uuid()))
            .order_by_desc(jobs::Column::StartedAt)
            .order_by_desc(jobs::Column::Id)
            .limit(limit)
            .all(&self.connection)
            .await?;
        self.with_progress(machine, rows).await
    }

    /// The jobs of a machine that have not finished.
    pub async fn running_jobs(&self, machine: MachineId) -> Result<Vec<JobRecord>, DatabaseError> {
        let rows = jobs::Entity::find()
            .filter(jobs::Column::MachineId.eq(machine.as_uuid()))
            .filter(jobs::Column::FinishedAt.is_null())
            .order_by_asc(jobs::Column::StartedAt)
            .all(&self.connection)
            .await?;
        self.with_progress(machine, rows).await
    }

    /// One job of a machine.
    pub async fn job(&self, machine: MachineId, job: JobId) -> Result<Option<JobRecord>, DatabaseError> {
        let find = jobs::Entity::find_by_id(job.as_uuid()).filter(jobs::Column::MachineId.eq(machine.as_uuid()));
        let row = find.one(&self.connection).await?;
        Ok(self.with_progress(machine, row.into_iter().collect()).await?.pop())
    }

    /// A machine's newest job that left a recovery point.
    pub async fn last_good_job(&self, machine: MachineId) -> Result<Option<JobRecord>, DatabaseError> {
        let row = jobs::Entity::find()
            .filter(jobs::Column::MachineId.eq(machine.as_uuid()))
            .filter(jobs::Column::RecoveryPoint.is_not_null())
            .order_by_desc(jobs::Column::StartedAt)
            .one(&self.connection)
            .await?;
        row.map(|row| JobRecord::of(row, None)).transpose()
    }

    async fn with_progress(&self, machine: MachineId, rows: Vec<jobs::Model>) -> Result<Vec<JobRecord>, DatabaseError> {
        let known = match rows.iter().any(|row| row.finished_at.is_none()) {
            true => self.progress(machine).await?,
            false => Vec::new(),
        };
        let of = |row: &jobs::Model| known.iter().find(|progress| progress.job.as_uuid() == row.id).cloned();
        let record = |row: jobs::Model| {
            let progress = of(&row);
            JobRecord::of(row, progress)
        };
        rows.into_iter().map(record).collect()
    }

    /// How far a machine's running jobs are.
    pub async fn progress(&self, machine: MachineId) -> Result<Vec<JobProgress>, DatabaseError> {
        let find = job_progress::Entity::find().filter(job_progress::Column::MachineId.eq(machine.as_uuid()));
        let rows = find.all(&self.connection).await?;
        rows.into_iter().map(|row| from_json("job_progress", row.job_id, "progress", &row.document)).collect()
    }

    /// Keeps the newest progress of a job; false when the job has finished or is another machine's.
    pub async fn put_progress(&self, machine: MachineId, progress: &JobProgress) -> Result<bool, DatabaseError> {
        let transaction = self.begin().await?;
        if let Some(job) = jobs::Entity::find_by_id(progress.job.as_uuid()).one(&transaction).await?
            && (job.machine_id != machine.as_uuid() || job.finished_at.is_some())
        {
            return Ok(false);
        }
        let row = job_progress::Model {
            job_id: progress.job.as_uuid(),
            machine_id: machine.as_uuid(),
            at: ms(progress.at),
            document: json(progress),
        };
        use job_progress::Column::{At, Document, JobId};
        let replace = OnConflict::column(JobId).update_columns([At, Document]).to_owned();
        let insert = job_progress::Entity::insert(row.into_active_model()).on_conflict(replace);
        insert.exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes progress that nobody renewed since then: its job's start or end never came.
    pub async fn delete_stale_progress(&self, before: DateTime<Utc>) -> Result<(), DatabaseError> {
        let delete = job_progress::Entity::delete_many().filter(job_progress::Column::At.lt(ms(before)));
        delete.exec(&self.connection).await?;
        Ok(())
    }

    /// What a machine says about its plans.
    pub async fn plan_statements(&self, machine: MachineId) -> Result<Vec<PlanStatement>, DatabaseError> {
        let find = plan_states::Entity::find().filter(plan_states::Column::MachineId.eq(machine.as_uuid()));
        let statement = |row: plan_states::Model| PlanStatement {
            plan: row.plan_id.into(),
            revision: unsigned(row.revision),
            accepted: row.accepted,
            message: row.message,
            next_start: row.next_start_at.map(time),
        };
        Ok(find.all(&self.connection).await?.into_iter().map(statement).collect())
    }

    /// The occurrences a machine missed since then, oldest first.
    pub async fn missed_since(&self, machine: MachineId, since: DateTime<Utc>) -> Result<Vec<Missed>, DatabaseError> {
        let rows = missed_backups::Entity::find()
            .filter(missed_backups::Column::MachineId.eq(machine.as_uuid()))
            .filter(missed_backups::Column::OccurrenceAt.gte(ms(since)))
            .order_by_asc(missed_backups::Column::OccurrenceAt)
            .all(&self.connection)
            .await?;
        rows.into_iter().map(missed_of).collect()
    }
}

fn missed_of(row: missed_backups::Model) -> Result<Missed, DatabaseError> {
    Ok(Missed {
        plan: row.plan_id.into(),
        occurrence: time(row.occurrence_at),
        reason: from_word::<MissedReason>("missed_backups", row.machine_id, "reason", &row.reason)?,
        online_seconds: unsigned(row.online_seconds),
    })
}

/// Notes that a job runs, unless its end is known already.
pub(crate) async fn start_job<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    started: &JobStarted,
) -> Result<(), DatabaseError> {
    let row = jobs::Model {
        id: started.job.as_uuid(),
        machine_id: machine,
        plan_id: started.plan.map(|plan| plan.as_uuid()),
        kind: word(&started.kind),
        cause: word(&started.cause),
        occurrence_at: started.occurrence.map(ms),
        started_at: ms(started.started),
        finished_at: None,
        outcome: None,
        recovery_point: None,
        backup_set: None,
        error: None,
        finding_count: 0,
        result: None,
    };
    let unless = OnConflict::column(jobs::Column::Id).do_nothing().to_owned();
    jobs::Entity::insert(row.into_active_model()).on_conflict(unless).exec_without_returning(connection).await?;
    Ok(())
}

/// Notes how a job ended.
pub(crate) async fn finish_job<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    result: &JobResult,
) -> Result<(), DatabaseError> {
    let row = jobs::Model {
        id: result.job.as_uuid(),
        machine_id: machine,
        plan_id: result.plan.map(|plan| plan.as_uuid()),
        kind: word(&result.kind),
        cause: word(&result.cause),
        occurrence_at: result.occurrence.map(ms),
        started_at: ms(result.started),
        finished_at: Some(ms(result.finished)),
        outcome: Some(word(&result.outcome)),
        recovery_point: result.recovery_point.as_ref().map(ToString::to_string),
        backup_set: result.set.as_ref().map(word),
        error: result.error.clone(),
        finding_count: signed(result.finding_count),
        result: Some(json(result)),
    };
    use jobs::Column::{
        BackupSet, Error, FindingCount, FinishedAt, Id, Outcome, RecoveryPoint, Result as ResultColumn,
    };
    let mut replace = OnConflict::column(Id);
    replace.update_columns([FinishedAt, Outcome, RecoveryPoint, BackupSet, Error, FindingCount, ResultColumn]);
    // A job id belongs to the machine that used it first.
    replace.action_and_where(Expr::col((jobs::Entity, jobs::Column::MachineId)).eq(machine));
    jobs::Entity::insert(row.into_active_model()).on_conflict(replace).exec_without_returning(connection).await?;
    job_progress::Entity::delete_by_id(result.job.as_uuid()).exec(connection).await?;
    Ok(())
}

/// Takes over what a machine says about a plan.
pub(crate) async fn put_plan_state<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    state: &PlanState,
) -> Result<(), DatabaseError> {
    let row = plan_states::Model {
        machine_id: machine,
        plan_id: state.plan.as_uuid(),
        revision: signed(state.revision),
        accepted: state.accepted,
        message: state.message.clone(),
        next_start_at: state.next_start.or(state.next_occurrence).map(ms),
    };
    use plan_states::Column::{Accepted, MachineId, Message, NextStartAt, PlanId, Revision};
    let replace =
        OnConflict::columns([MachineId, PlanId]).update_columns([Revision, Accepted, Message, NextStartAt]).to_owned();
    plan_states::Entity::insert(row.into_active_model())
        .on_conflict(replace)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

impl JobRecord {
    fn of(row: jobs::Model, progress: Option<JobProgress>) -> Result<Self, DatabaseError> {
        let id = row.id;
        let outcome = row.outcome.as_deref().map(|text| from_word(TABLE, id, "outcome", text)).transpose()?;
        let result = row.result.as_deref().map(|text| from_json(TABLE, id, "result", text)).transpose()?;
        Ok(Self {
            id: id.into(),
            machine: row.machine_id.into(),
            plan: row.plan_id.map(PlanId::from),
            kind: from_word(TABLE, id, "kind", &row.kind)?,
            cause: from_word(TABLE, id, "cause", &row.cause)?,
            occurrence: row.occurrence_at.map(time),
            started: time(row.started_at),
            finished: row.finished_at.map(time),
            outcome,
            result,
            progress: progress.filter(|_| row.finished_at.is_none()),
        })
    }
}
