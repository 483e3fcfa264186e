//! Applying numbered reports, exactly once.
//!
//! Invariant: a report's effects, its row and the machine's counter become durable in one transaction, so whatever
//! stops the host between a report and its answer, the report counts once.

use chrono::{DateTime, Utc};
use nightkeep_wire::report::{Missed, Report, ReportBody};
use nightkeep_wire::{IncarnationId, MachineId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};
use uuid::Uuid;

use crate::convert::{json, ms, signed, unsigned, word};
use crate::database::Database;
use crate::desired::finish_command;
use crate::entity::{machines, missed_backups, reports};
use crate::error::DatabaseError;
use crate::jobs::{finish_job, put_plan_state, start_job};
use crate::machines::{heard, set_facts, set_pause};

/// A report and the hash of its content as it was received.
#[derive(Debug, Clone)]
pub struct IncomingReport {
    /// The report.
    pub report: Report,
    /// BLAKE3 of what the agent sent, so that fields of newer agents count too.
    pub hash: [u8; 32],
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOutcome {
    /// Everything up to this number is durable.
    pub applied_through: u64,
    /// How many of the batch were new.
    pub newly_applied: usize,
    /// What ended the batch early.
    pub stop: Option<ReportStop>,
}

/// Why a batch ended early. What came before is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportStop {
    /// Reports are missing.
    Gap {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The number was used with other content.
    Conflict {
        /// The number.
        sequence: u64,
    },
    /// A numbering that is not the machine's present one and does not start a new one.
    OtherIncarnation,
}

/// Where a machine's numbering stands.
struct Counter {
    incarnation: Uuid,
    applied: u64,
}

impl Database {
    /// Applies a machine's reports in order, up to the first that cannot be.
    ///
    /// All reports must name this machine; the caller has checked that.
    pub async fn apply_reports(
        &self,
        machine: MachineId,
        batch: &[IncomingReport],
        now: DateTime<Utc>,
    ) -> Result<Option<ReportOutcome>, DatabaseError> {
        let transaction = self.begin().await?;
        let outcome = apply(&transaction, machine.as_uuid(), batch, now).await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    /// Does the work of [`Database::apply_reports`] and is cut off before the commit, as by a crash. For tests.
    #[doc(hidden)]
    pub async fn apply_reports_and_crash(
        &self,
        machine: MachineId,
        batch: &[IncomingReport],
        now: DateTime<Utc>,
    ) -> Result<Option<ReportOutcome>, DatabaseError> {
        let transaction = self.begin().await?;
        let outcome = apply(&transaction, machine.as_uuid(), batch, now).await?;
        drop(transaction);
        Ok(outcome)
    }
}

async fn apply<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    batch: &[IncomingReport],
    now: DateTime<Utc>,
) -> Result<Option<ReportOutcome>, DatabaseError> {
    let Some(mut counter) = lock_counter(connection, machine, now).await? else { return Ok(None) };
    let mut newly_applied = 0;
    let mut stop = None;
    for incoming in batch {
        match judge(connection, machine, &mut counter, incoming).await? {
            Judgement::Apply => {
                record(connection, machine, incoming, now).await?;
                take_effect(connection, machine, &incoming.report).await?;
                counter.applied = incoming.report.sequence;
                newly_applied += 1;
            }
            Judgement::AlreadyApplied => {}
            Judgement::Stop(reason) => {
                stop = Some(reason);
                break;
            }
        }
    }
    let alarm = matches!(stop, Some(ReportStop::Conflict { .. } | ReportStop::OtherIncarnation));
    save_counter(connection, machine, &counter, alarm.then_some(now)).await?;
    Ok(Some(ReportOutcome { applied_through: counter.applied, newly_applied, stop }))
}

/// Notes that the machine was heard, which locks its row, and reads where its numbering stands.
async fn lock_counter<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Counter>, DatabaseError> {
    if !heard(connection, machine, now).await? {
        return Ok(None);
    }
    let row = machines::Entity::find_by_id(machine).one(connection).await?;
    Ok(row.map(|row| Counter { incarnation: row.incarnation, applied: unsigned(row.applied_sequence) }))
}

async fn save_counter<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    counter: &Counter,
    alarm: Option<DateTime<Utc>>,
) -> Result<(), DatabaseError> {
    let mut update = machines::Entity::update_many()
        .col_expr(machines::Column::Incarnation, Expr::value(counter.incarnation))
        .col_expr(machines::Column::AppliedSequence, Expr::value(signed(counter.applied)))
        .filter(machines::Column::Id.eq(machine));
    if let Some(at) = alarm {
        update = update.col_expr(machines::Column::CloneAlarmAt, Expr::value(ms(at)));
    }
    update.exec(connection).await?;
    Ok(())
}

enum Judgement {
    Apply,
    AlreadyApplied,
    Stop(ReportStop),
}

async fn judge<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    counter: &mut Counter,
    incoming: &IncomingReport,
) -> Result<Judgement, DatabaseError> {
    let Report { incarnation, sequence, .. } = incoming.report;
    if incarnation.as_uuid() != counter.incarnation || sequence <= counter.applied {
        let earlier = reports::Entity::find_by_id((machine, incarnation.as_uuid(), signed(sequence)));
        if let Some(earlier) = earlier.one(connection).await? {
            let same = earlier.hash == incoming.hash;
            let conflict = Judgement::Stop(ReportStop::Conflict { sequence });
            return Ok(if same { Judgement::AlreadyApplied } else { conflict });
        }
    }
    if incarnation.as_uuid() != counter.incarnation {
        return begin_incarnation(connection, machine, counter, incarnation, sequence).await;
    }
    let expected = counter.applied + 1;
    Ok(match sequence == expected {
        true => Judgement::Apply,
        false => Judgement::Stop(ReportStop::Gap { expected, found: sequence }),
    })
}

/// A machine that lost its state numbers from 1 again under a new incarnation. An older one never comes back: then two
/// machines are speaking.
async fn begin_incarnation<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    counter: &mut Counter,
    incarnation: IncarnationId,
    sequence: u64,
) -> Result<Judgement, DatabaseError> {
    let known = reports::Entity::find()
        .filter(reports::Column::MachineId.eq(machine))
        .filter(reports::Column::Incarnation.eq(incarnation.as_uuid()))
        .one(connection)
        .await?;
    if known.is_some() {
        return Ok(Judgement::Stop(ReportStop::OtherIncarnation));
    }
    if sequence != 1 {
        return Ok(Judgement::Stop(ReportStop::Gap { expected: 1, found: sequence }));
    }
    *counter = Counter { incarnation: incarnation.as_uuid(), applied: 0 };
    Ok(Judgement::Apply)
}

async fn record<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    incoming: &IncomingReport,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let report = &incoming.report;
    let row = reports::Model {
        machine_id: machine,
        incarnation: report.incarnation.as_uuid(),
        sequence: signed(report.sequence),
        hash: incoming.hash.to_vec(),
        kind: kind(&report.body).to_owned(),
        happened_at: ms(report.at),
        received_at: ms(now),
        body: json(&report.body),
    };
    reports::Entity::insert(row.into_active_model()).exec_without_returning(connection).await?;
    Ok(())
}

async fn take_effect<C: ConnectionTrait>(connection: &C, machine: Uuid, report: &Report) -> Result<(), DatabaseError> {
    match &report.body {
        ReportBody::JobStarted(started) => start_job(connection, machine, started).await,
        ReportBody::JobFinished(result) => finish_job(connection, machine, result).await,
        ReportBody::Missed(missed) => note_missed(connection, machine, missed).await,
        ReportBody::CommandDone(done) => finish_command(connection, machine, done, report.at).await,
        ReportBody::PlanState(state) => put_plan_state(connection, machine, state).await,
        ReportBody::Pause(pause) => set_pause(connection, machine, report.at, pause.until).await,
        ReportBody::Facts(facts) => set_facts(connection, machine, facts).await,
        // Progress is a hint, and an unknown kind is acknowledged and left alone.
        ReportBody::JobProgress(_) | ReportBody::Unknown => Ok(()),
    }
}

async fn note_missed<C: ConnectionTrait>(connection: &C, machine: Uuid, missed: &Missed) -> Result<(), DatabaseError> {
    let row = missed_backups::Model {
        machine_id: machine,
        plan_id: missed.plan.as_uuid(),
        occurrence_at: ms(missed.occurrence),
        reason: word(&missed.reason),
        online_seconds: signed(missed.online_seconds),
    };
    use missed_backups::Column::{MachineId, OccurrenceAt, OnlineSeconds, PlanId, Reason};
    let replace =
        OnConflict::columns([MachineId, PlanId, OccurrenceAt]).update_columns([Reason, OnlineSeconds]).to_owned();
    let insert = missed_backups::Entity::insert(row.into_active_model()).on_conflict(replace);
    insert.exec_without_returning(connection).await?;
    Ok(())
}

fn kind(body: &ReportBody) -> &'static str {
    match body {
        ReportBody::JobStarted(_) => "job_started",
        ReportBody::JobProgress(_) => "job_progress",
        ReportBody::JobFinished(_) => "job_finished",
        ReportBody::Missed(_) => "missed",
        ReportBody::CommandDone(_) => "command_done",
        ReportBody::PlanState(_) => "plan_state",
        ReportBody::Pause(_) => "pause",
        ReportBody::Facts(_) => "facts",
        ReportBody::Unknown => "unknown",
    }
}
