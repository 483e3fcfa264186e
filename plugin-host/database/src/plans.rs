//! Plans and where they are applied.
//!
//! Invariant: a plan is applied to a machine at most once, whoever asks and however often; the application and the
//! growth of the machine's desired version are one step.

use chrono::{DateTime, Utc};
use nightkeep_wire::plan::Plan;
use nightkeep_wire::{CustomerId, MachineId, PlanId};
use sea_orm::sea_query::{Condition, Expr, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::convert::{from_json, from_word, json, ms, time, unsigned, word};
use crate::database::Database;
use crate::entity::{machines, plan_applications, plan_states, plans};
use crate::error::DatabaseError;
use crate::machines::bump_desired;

/// A plan as kept.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRecord {
    /// The plan.
    pub plan: Plan,
    /// The customer it was made for; none means all.
    pub customer: Option<CustomerId>,
    /// Grows with every edit.
    pub revision: u64,
    /// Whether automatic application takes this one.
    pub is_default: bool,
}

/// Why a plan is applied to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationCause {
    /// A technician chose it.
    Manual,
    /// The scan, where automatic application is on.
    Automatic,
    /// The enrolment token carried it.
    Token,
}

/// A plan applied to a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// The plan.
    pub plan: PlanRecord,
    /// Why.
    pub cause: ApplicationCause,
    /// By whom.
    pub applied_by: String,
    /// When.
    pub applied_at: DateTime<Utc>,
}

impl Database {
    /// Creates a shipped plan unless it is there. A plan that a technician edited stays as it is.
    pub async fn ensure_plan(&self, plan: &Plan, is_default: bool, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let row = plans::Model {
            id: plan.id.as_uuid(),
            customer_id: None,
            name: plan.name.clone(),
            revision: 1,
            body: json(plan),
            is_default,
            created_at: ms(now),
            edited_at: ms(now),
        };
        let unless = OnConflict::column(plans::Column::Id).do_nothing().to_owned();
        plans::Entity::insert(row.into_active_model())
            .on_conflict(unless)
            .exec_without_returning(&self.connection)
            .await?;
        Ok(())
    }

    /// A plan by id.
    pub async fn plan(&self, id: PlanId) -> Result<Option<PlanRecord>, DatabaseError> {
        let found = plans::Entity::find_by_id(id.as_uuid()).one(&self.connection).await?;
        found.map(PlanRecord::try_from).transpose()
    }

    /// The plans that machines of a customer can have: those for all and its own.
    pub async fn plans_for(&self, customer: CustomerId) -> Result<Vec<PlanRecord>, DatabaseError> {
        let usable = Condition::any()
            .add(plans::Column::CustomerId.is_null())
            .add(plans::Column::CustomerId.eq(customer.as_uuid()));
        let find = plans::Entity::find().filter(usable).order_by_asc(plans::Column::Name);
        find.all(&self.connection).await?.into_iter().map(PlanRecord::try_from).collect()
    }

    /// The plan that automatic application takes.
    pub async fn default_plan(&self) -> Result<Option<PlanRecord>, DatabaseError> {
        let find = plans::Entity::find().filter(plans::Column::IsDefault.eq(true)).order_by_asc(plans::Column::Id);
        find.one(&self.connection).await?.map(PlanRecord::try_from).transpose()
    }

    /// The plans applied to a machine, in the order they were applied.
    pub async fn applications(&self, machine: MachineId) -> Result<Vec<Application>, DatabaseError> {
        applications(&self.connection, machine.as_uuid()).await
    }

    /// Applies a plan; false when it already is.
    pub async fn apply_plan(
        &self,
        machine: MachineId,
        plan: PlanId,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, DatabaseError> {
        let transaction = self.begin().await?;
        let (machine, plan) = (machine.as_uuid(), plan.as_uuid());
        let applied = insert_application(&transaction, machine, plan, ApplicationCause::Manual, by, now).await?;
        transaction.commit().await?;
        Ok(applied)
    }

    /// Applies a plan for the scan: only while the machine has none and is not left out. Of concurrent scans one wins.
    pub async fn apply_automatically(
        &self,
        machine: MachineId,
        plan: PlanId,
        now: DateTime<Utc>,
    ) -> Result<bool, DatabaseError> {
        let transaction = self.begin().await?;
        let id = machine.as_uuid();
        // The lock on the machine's row: a second scan waits here and then sees the first one's application.
        let eligible = machines::Entity::update_many()
            .col_expr(machines::Column::AutoApplyExcluded, Expr::value(false))
            .filter(machines::Column::Id.eq(id))
            .filter(machines::Column::AutoApplyExcluded.eq(false))
            .exec(&transaction)
            .await?;
        if eligible.rows_affected == 0 || has_plan(&transaction, id).await? {
            return Ok(false);
        }
        let cause = ApplicationCause::Automatic;
        let applied = insert_application(&transaction, id, plan.as_uuid(), cause, "scan", now).await?;
        transaction.commit().await?;
        Ok(applied)
    }

    /// Revokes a plan; its recovery points stay. False when it was not applied.
    pub async fn revoke_plan(
        &self,
        machine: MachineId,
        plan: PlanId,
        exclude_from_automatic: bool,
    ) -> Result<bool, DatabaseError> {
        let transaction = self.begin().await?;
        let (machine, plan) = (machine.as_uuid(), plan.as_uuid());
        bump_desired(&transaction, machine).await?;
        let removed = plan_applications::Entity::delete_by_id((machine, plan)).exec(&transaction).await?;
        if removed.rows_affected == 0 {
            return Ok(false);
        }
        plan_states::Entity::delete_by_id((machine, plan)).exec(&transaction).await?;
        if exclude_from_automatic {
            machines::Entity::update_many()
                .col_expr(machines::Column::AutoApplyExcluded, Expr::value(true))
                .filter(machines::Column::Id.eq(machine))
                .exec(&transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

async fn has_plan<C: ConnectionTrait>(connection: &C, machine: Uuid) -> Result<bool, DatabaseError> {
    let find = plan_applications::Entity::find().filter(plan_applications::Column::MachineId.eq(machine));
    Ok(find.one(connection).await?.is_some())
}

/// Applies a plan inside a transaction; false when it already is.
pub(crate) async fn insert_application<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    plan: Uuid,
    cause: ApplicationCause,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let row = plan_applications::Model {
        machine_id: machine,
        plan_id: plan,
        cause: word(&cause),
        applied_by: by.to_owned(),
        applied_at: ms(now),
    };
    let keys = [plan_applications::Column::MachineId, plan_applications::Column::PlanId];
    let unless = OnConflict::columns(keys).do_nothing().to_owned();
    let insert = plan_applications::Entity::insert(row.into_active_model()).on_conflict(unless);
    if insert.exec_without_returning(connection).await? == 0 {
        return Ok(false);
    }
    bump_desired(connection, machine).await?;
    Ok(true)
}

pub(crate) async fn applications<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
) -> Result<Vec<Application>, DatabaseError> {
    let rows = plan_applications::Entity::find()
        .filter(plan_applications::Column::MachineId.eq(machine))
        .order_by_asc(plan_applications::Column::AppliedAt)
        .all(connection)
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = rows.iter().map(|row| row.plan_id);
    let found = plans::Entity::find().filter(plans::Column::Id.is_in(wanted)).all(connection).await?;
    let application = |row: plan_applications::Model| {
        let plan = found.iter().find(|plan| plan.id == row.plan_id)?.clone();
        Some(application_of(row, plan))
    };
    rows.into_iter().filter_map(application).collect()
}

fn application_of(row: plan_applications::Model, plan: plans::Model) -> Result<Application, DatabaseError> {
    Ok(Application {
        plan: plan.try_into()?,
        cause: from_word("plan_applications", row.machine_id, "cause", &row.cause)?,
        applied_by: row.applied_by,
        applied_at: time(row.applied_at),
    })
}

impl TryFrom<plans::Model> for PlanRecord {
    type Error = DatabaseError;

    fn try_from(row: plans::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            plan: from_json("plans", row.id, "plan", &row.body)?,
            customer: row.customer_id.map(CustomerId::from),
            revision: unsigned(row.revision),
            is_default: row.is_default,
        })
    }
}
