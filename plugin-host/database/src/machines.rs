//! Machines: who they are and when they were heard.
//!
//! Invariant: a machine's desired version grows with every change of what is desired, in the same transaction.

use chrono::{DateTime, Duration, Utc};
use nightkeep_wire::bytes::{SealingPublicKey, SigningPublicKey};
use nightkeep_wire::machine::{MachineClass, MachineFacts, MachineState};
use nightkeep_wire::{IncarnationId, LocationId, MachineId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::convert::{array, from_json, from_word, json, ms, time, unsigned, word};
use crate::database::Database;
use crate::entity::{machine_online, machines};
use crate::error::DatabaseError;

const TABLE: &str = "machines";

/// A machine that is on is heard at least every six minutes; a longer silence than two of these was an absence.
const ONLINE_GAP_MAX: Duration = Duration::minutes(15);

/// A machine as the host knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// Where it stands.
    pub location: LocationId,
    /// Where it is in its life.
    pub state: MachineState,
    /// As the host decided.
    pub class: MachineClass,
    /// What it says about itself.
    pub facts: MachineFacts,
    /// Verifies its requests.
    pub signing_key: SigningPublicKey,
    /// Receives what only it may read.
    pub sealing_key: SealingPublicKey,
    /// Its catalogue key, sealed to the vault.
    pub meta_sealed: Option<Vec<u8>>,
    /// Whether the vault holds its machine record.
    pub recorded_in_vault: bool,
    /// The life of its numbering.
    pub incarnation: IncarnationId,
    /// Reports are applied up to this number.
    pub applied_sequence: u64,
    /// When two machines were heard under this identity.
    pub clone_alarm_at: Option<DateTime<Utc>>,
    /// The version of its desired state.
    pub desired_version: u64,
    /// Left out of automatic application.
    pub auto_apply_excluded: bool,
    /// When the last pause began.
    pub paused_from: Option<DateTime<Utc>>,
    /// When it ends or ended.
    pub paused_until: Option<DateTime<Utc>>,
    /// When it was let in.
    pub enrolled_at: DateTime<Utc>,
    /// When it was heard last.
    pub last_heard_at: DateTime<Utc>,
}

impl TryFrom<machines::Model> for Machine {
    type Error = DatabaseError;

    fn try_from(row: machines::Model) -> Result<Self, DatabaseError> {
        let id = row.id;
        Ok(Self {
            id: id.into(),
            location: row.location_id.into(),
            state: from_word(TABLE, id, "state", &row.state)?,
            class: from_word(TABLE, id, "class", &row.class)?,
            facts: from_json(TABLE, id, "description", &row.facts)?,
            signing_key: SigningPublicKey(array(TABLE, id, "signing key", row.signing_key)?),
            sealing_key: SealingPublicKey(array(TABLE, id, "sealing key", row.sealing_key)?),
            meta_sealed: row.meta_sealed,
            recorded_in_vault: row.recorded_in_vault,
            incarnation: row.incarnation.into(),
            applied_sequence: unsigned(row.applied_sequence),
            clone_alarm_at: row.clone_alarm_at.map(time),
            desired_version: unsigned(row.desired_version),
            auto_apply_excluded: row.auto_apply_excluded,
            paused_from: row.paused_from.map(time),
            paused_until: row.paused_until.map(time),
            enrolled_at: time(row.enrolled_at),
            last_heard_at: time(row.last_heard_at),
        })
    }
}

impl Database {
    /// A machine by id.
    pub async fn machine(&self, id: MachineId) -> Result<Option<Machine>, DatabaseError> {
        let found = machines::Entity::find_by_id(id.as_uuid()).one(&self.connection).await?;
        found.map(Machine::try_from).transpose()
    }

    /// The next machines in service after an id, in the order of their ids, at most `limit`.
    pub async fn active_machines(&self, after: Option<MachineId>, limit: u64) -> Result<Vec<Machine>, DatabaseError> {
        let mut find = machines::Entity::find()
            .filter(machines::Column::State.eq(word(&MachineState::Active)))
            .order_by_asc(machines::Column::Id);
        if let Some(after) = after {
            find = find.filter(machines::Column::Id.gt(after.as_uuid()));
        }
        find.limit(limit).all(&self.connection).await?.into_iter().map(Machine::try_from).collect()
    }

    /// Notes that a machine was heard.
    pub async fn touch_machine(&self, id: MachineId, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let transaction = self.begin().await?;
        heard(&transaction, id.as_uuid(), now).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// When a machine was on, as far as it was heard, since then; oldest first.
    pub async fn online_since(
        &self,
        id: MachineId,
        since: DateTime<Utc>,
    ) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>, DatabaseError> {
        let find = machine_online::Entity::find()
            .filter(machine_online::Column::MachineId.eq(id.as_uuid()))
            .filter(machine_online::Column::UntilAt.gte(ms(since)))
            .order_by_asc(machine_online::Column::FromAt);
        Ok(find.all(&self.connection).await?.into_iter().map(|row| (time(row.from_at), time(row.until_at))).collect())
    }

    /// Forgets when machines were on before then.
    pub async fn delete_online_before(&self, before: DateTime<Utc>) -> Result<(), DatabaseError> {
        let delete = machine_online::Entity::delete_many().filter(machine_online::Column::UntilAt.lt(ms(before)));
        delete.exec(&self.connection).await?;
        Ok(())
    }

    /// Keeps a machine's catalogue key, sealed to the vault.
    pub async fn set_meta_key(&self, id: MachineId, sealed: &[u8]) -> Result<(), DatabaseError> {
        let update = machines::Entity::update_many()
            .col_expr(machines::Column::MetaSealed, Expr::value(sealed.to_vec()))
            .filter(machines::Column::Id.eq(id.as_uuid()));
        update.exec(&self.connection).await?;
        Ok(())
    }

    /// Notes that the vault holds the machine's record.
    pub async fn set_recorded_in_vault(&self, id: MachineId) -> Result<(), DatabaseError> {
        let update = machines::Entity::update_many()
            .col_expr(machines::Column::RecordedInVault, Expr::value(true))
            .filter(machines::Column::Id.eq(id.as_uuid()));
        update.exec(&self.connection).await?;
        Ok(())
    }

    /// Moves a machine to another state of its life, and tells it.
    pub async fn set_machine_state(&self, id: MachineId, state: MachineState) -> Result<(), DatabaseError> {
        let update = machines::Entity::update_many()
            .col_expr(machines::Column::State, Expr::value(word(&state)))
            .col_expr(machines::Column::DesiredVersion, Expr::col(machines::Column::DesiredVersion).add(1))
            .filter(machines::Column::Id.eq(id.as_uuid()));
        update.exec(&self.connection).await?;
        Ok(())
    }
}

/// Grows the desired version; also the lock on the machine's row that orders concurrent changes.
pub(crate) async fn bump_desired<C: ConnectionTrait>(connection: &C, machine: Uuid) -> Result<(), DatabaseError> {
    let update = machines::Entity::update_many()
        .col_expr(machines::Column::DesiredVersion, Expr::col(machines::Column::DesiredVersion).add(1))
        .filter(machines::Column::Id.eq(machine));
    update.exec(connection).await?;
    Ok(())
}

/// Takes over a machine's new description.
pub(crate) async fn set_facts<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    facts: &MachineFacts,
) -> Result<(), DatabaseError> {
    let update = machines::Entity::update_many()
        .col_expr(machines::Column::Facts, Expr::value(json(facts)))
        .col_expr(machines::Column::Hostname, Expr::value(facts.hostname.clone()))
        .filter(machines::Column::Id.eq(machine));
    update.exec(connection).await?;
    Ok(())
}

/// Takes over a pause or its end.
pub(crate) async fn set_pause<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    at: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
) -> Result<(), DatabaseError> {
    let mut update = machines::Entity::update_many().filter(machines::Column::Id.eq(machine));
    // The end of a pause leaves its beginning: what was missed in between is excused.
    update = match until {
        Some(until) => update
            .col_expr(machines::Column::PausedFrom, Expr::value(ms(at)))
            .col_expr(machines::Column::PausedUntil, Expr::value(ms(until))),
        None => update.col_expr(machines::Column::PausedUntil, Expr::value(ms(at))),
    };
    update.exec(connection).await?;
    Ok(())
}

/// Notes that a machine was heard, which also locks its row; whether there is such a machine. Time never moves back.
pub(crate) async fn heard<C: ConnectionTrait>(
    connection: &C,
    machine: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let later = Expr::case(Expr::col(machines::Column::LastHeardAt).lt(ms(now)), Expr::value(ms(now)))
        .finally(Expr::col(machines::Column::LastHeardAt));
    let update = machines::Entity::update_many()
        .col_expr(machines::Column::LastHeardAt, later.into())
        .filter(machines::Column::Id.eq(machine));
    if update.exec(connection).await?.rows_affected == 0 {
        return Ok(false);
    }
    let open = machine_online::Entity::update_many()
        .col_expr(machine_online::Column::UntilAt, Expr::value(ms(now)))
        .filter(machine_online::Column::MachineId.eq(machine))
        .filter(machine_online::Column::UntilAt.gte(ms(now - ONLINE_GAP_MAX)))
        .filter(machine_online::Column::FromAt.lte(ms(now)));
    if open.exec(connection).await?.rows_affected == 0 {
        let row = machine_online::Model { machine_id: machine, from_at: ms(now), until_at: ms(now) };
        let keys = [machine_online::Column::MachineId, machine_online::Column::FromAt];
        let unless = OnConflict::columns(keys).do_nothing().to_owned();
        let insert = machine_online::Entity::insert(row.into_active_model()).on_conflict(unless);
        insert.exec_without_returning(connection).await?;
    }
    Ok(true)
}
