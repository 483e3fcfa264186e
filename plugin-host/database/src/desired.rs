//! What the host wants of a machine: its version, its plans, its commands.
//!
//! Invariant: a command stays listed until a report says what became of it.

use chrono::{DateTime, Utc};
use nightkeep_wire::desired::{AppliedPlan, Command, CommandAction};
use nightkeep_wire::report::CommandDone;
use nightkeep_wire::{CommandId, MachineId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::convert::{from_json, json, ms, time, unsigned, word};
use crate::database::Database;
use crate::entity::{commands, machines};
use crate::error::DatabaseError;
use crate::machines::bump_desired;
use crate::plans::applications;

/// A command to be given.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Its id.
    pub id: CommandId,
    /// For whom.
    pub machine: MachineId,
    /// What to do.
    pub action: CommandAction,
    /// Who gives it.
    pub issued_by: String,
    /// End of its time.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What stands in a machine's desired state.
#[derive(Debug, Clone, PartialEq)]
pub struct Issued {
    /// The version that holds all of this.
    pub version: u64,
    /// Its plans.
    pub plans: Vec<AppliedPlan>,
    /// Its open commands, oldest first.
    pub commands: Vec<Command>,
}

impl Database {
    /// The version of a machine's desired state; none when there is no such machine.
    pub async fn desired_version(&self, machine: MachineId) -> Result<Option<u64>, DatabaseError> {
        let version: Option<i64> = machines::Entity::find_by_id(machine.as_uuid())
            .select_only()
            .column(machines::Column::DesiredVersion)
            .into_tuple()
            .one(&self.connection)
            .await?;
        Ok(version.map(unsigned))
    }

    /// Plans and commands of a machine. Read before its version would be a lie: the version is read first, so what is
    /// newer than it comes again with the next one.
    pub async fn issued(&self, machine: MachineId) -> Result<Option<Issued>, DatabaseError> {
        let Some(version) = self.desired_version(machine).await? else { return Ok(None) };
        let plans = applications(&self.connection, machine.as_uuid()).await?;
        let plans = plans.into_iter().map(|application| AppliedPlan {
            plan: application.plan.plan,
            revision: application.plan.revision,
            applied_at: application.applied_at,
        });
        Ok(Some(Issued { version, plans: plans.collect(), commands: self.open_commands(machine).await? }))
    }

    /// The commands a machine has not answered yet, oldest first.
    pub async fn open_commands(&self, machine: MachineId) -> Result<Vec<Command>, DatabaseError> {
        let rows = commands::Entity::find()
            .filter(commands::Column::MachineId.eq(machine.as_uuid()))
            .filter(commands::Column::DoneAt.is_null())
            .order_by_asc(commands::Column::IssuedAt)
            .order_by_asc(commands::Column::Id)
            .all(&self.connection)
            .await?;
        rows.into_iter().map(Command::try_from).collect()
    }

    /// Gives a command.
    pub async fn add_command(&self, command: NewCommand, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let transaction = self.begin().await?;
        let row = commands::Model {
            id: command.id.as_uuid(),
            machine_id: command.machine.as_uuid(),
            action: json(&command.action),
            issued_by: command.issued_by,
            issued_at: ms(now),
            expires_at: command.expires_at.map(ms),
            done_at: None,
            outcome: None,
            message: None,
        };
        commands::Entity::insert(row.into_active_model()).exec_without_returning(&transaction).await?;
        bump_desired(&transaction, command.machine.as_uuid()).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Notes what became of a command.
pub(crate) async fn finish_command<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    done: &CommandDone,
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let update = commands::Entity::update_many()
        .col_expr(commands::Column::DoneAt, Expr::value(ms(at)))
        .col_expr(commands::Column::Outcome, Expr::value(word(&done.outcome)))
        .col_expr(commands::Column::Message, Expr::value(done.message.clone()))
        .filter(commands::Column::Id.eq(done.command.as_uuid()))
        .filter(commands::Column::MachineId.eq(machine))
        .filter(commands::Column::DoneAt.is_null());
    if update.exec(connection).await?.rows_affected > 0 {
        bump_desired(connection, machine).await?;
    }
    Ok(())
}

impl TryFrom<commands::Model> for Command {
    type Error = DatabaseError;

    fn try_from(row: commands::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.id.into(),
            issued_at: time(row.issued_at),
            expires_at: row.expires_at.map(time),
            action: from_json("commands", row.id, "action", &row.action)?,
        })
    }
}
