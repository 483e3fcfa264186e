//! Tokens, and what they are exchanged for.
//!
//! Invariant: a token's use is counted in the transaction that makes the machine; a machine that asks again with the
//! same keys and hardware gets its own id and costs no use.

use chrono::{DateTime, Utc};
use nightkeep_wire::bytes::{SealingPublicKey, SigningPublicKey};
use nightkeep_wire::machine::{MachineClass, MachineFacts, MachineState};
use nightkeep_wire::{IncarnationId, LocationId, MachineId, PlanId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QueryOrder};
use uuid::Uuid;

use crate::convert::{json, ms, time, word};
use crate::database::Database;
use crate::entity::{enrolment_tokens, machines};
use crate::error::DatabaseError;
use crate::machines::Machine;
use crate::plans::{ApplicationCause, insert_application};

/// A token to be kept; its secret is known to whoever holds the text alone.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: Uuid,
    /// BLAKE3 of the secret.
    pub secret_hash: [u8; 32],
    /// Where machines land.
    pub location: LocationId,
    /// A plan applied at once.
    pub plan: Option<PlanId>,
    /// Whether the installer adds the backup monitor.
    pub backup_monitor: bool,
    /// End of its time.
    pub expires_at: DateTime<Utc>,
    /// How many machines it lets in.
    pub uses: u32,
    /// Who made it.
    pub created_by: String,
}

/// A token as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: Uuid,
    /// Where machines land.
    pub location: LocationId,
    /// A plan applied at once.
    pub plan: Option<PlanId>,
    /// Whether the installer adds the backup monitor.
    pub backup_monitor: bool,
    /// End of its time.
    pub expires_at: DateTime<Utc>,
    /// How many machines it still lets in.
    pub uses_left: u32,
    /// How many it let in at first.
    pub uses_allowed: u32,
    /// Who made it.
    pub created_by: String,
}

/// A machine that asks to be let in.
#[derive(Debug, Clone)]
pub struct NewMachine {
    /// Its id, if it is new.
    pub id: MachineId,
    /// What it says about itself.
    pub facts: MachineFacts,
    /// As the host decided.
    pub class: MachineClass,
    /// Verifies its requests.
    pub signing_key: SigningPublicKey,
    /// Receives what only it may read.
    pub sealing_key: SealingPublicKey,
    /// The numbering that starts now.
    pub incarnation: IncarnationId,
}

/// A machine that was let in.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// The machine.
    pub machine: Machine,
    /// Whether it was not known before.
    pub is_new: bool,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenProblem {
    /// Nobody made such a token, or it was revoked.
    Unknown,
    /// Its time ended.
    Expired {
        /// When.
        at: DateTime<Utc>,
    },
    /// Its uses are used up.
    UsedUp {
        /// How many it had.
        allowed: u32,
    },
}

/// Why a machine was not let in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The token.
    #[error("the token opens nothing")]
    Token(TokenProblem),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sea_orm::DbErr> for EnrolError {
    fn from(source: sea_orm::DbErr) -> Self {
        Self::Database(source.into())
    }
}

impl Database {
    /// Keeps a token.
    pub async fn create_token(&self, token: NewToken, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let uses = i32::try_from(token.uses).unwrap_or(i32::MAX);
        let row = enrolment_tokens::Model {
            id: token.id,
            secret_hash: token.secret_hash.to_vec(),
            location_id: token.location.as_uuid(),
            plan_id: token.plan.map(|plan| plan.as_uuid()),
            backup_monitor: token.backup_monitor,
            created_at: ms(now),
            expires_at: ms(token.expires_at),
            uses_left: uses,
            uses_allowed: uses,
            revoked_at: None,
            created_by: token.created_by,
        };
        enrolment_tokens::Entity::insert(row.into_active_model()).exec_without_returning(&self.connection).await?;
        Ok(())
    }

    /// All tokens that could still be used, the newest first.
    pub async fn open_tokens(&self, now: DateTime<Utc>) -> Result<Vec<Token>, DatabaseError> {
        let find = enrolment_tokens::Entity::find()
            .filter(enrolment_tokens::Column::ExpiresAt.gt(ms(now)))
            .filter(enrolment_tokens::Column::UsesLeft.gt(0))
            .filter(enrolment_tokens::Column::RevokedAt.is_null())
            .order_by_desc(enrolment_tokens::Column::CreatedAt);
        Ok(find.all(&self.connection).await?.into_iter().map(Token::from).collect())
    }

    /// Lets a machine in by the hash of a token's secret.
    pub async fn enrol(
        &self,
        secret_hash: [u8; 32],
        wish: NewMachine,
        now: DateTime<Utc>,
    ) -> Result<Enrolled, EnrolError> {
        let transaction = self.begin().await?;
        let token = enrolment_tokens::Entity::find()
            .filter(enrolment_tokens::Column::SecretHash.eq(secret_hash.to_vec()))
            .filter(enrolment_tokens::Column::RevokedAt.is_null())
            .one(&transaction)
            .await?;
        let Some(token) = token else { return Err(EnrolError::Token(TokenProblem::Unknown)) };
        let known = with_signing_key(&transaction, &wish.signing_key).await?;
        if let Some(machine) = known.iter().find(|machine| is_same(machine, &wish)) {
            return Ok(Enrolled { machine: machine.clone(), is_new: false });
        }
        use_token(&transaction, &token, now).await?;
        // The same identity on other hardware, or with another key to receive secrets: a copy until someone approves.
        let state = if known.is_empty() { MachineState::Active } else { MachineState::Lobby };
        let machine = insert(&transaction, &token, wish, state, now).await?;
        if let (Some(plan), MachineState::Active) = (token.plan_id, state) {
            insert_application(
                &transaction,
                machine.id.as_uuid(),
                plan,
                ApplicationCause::Token,
                &token.created_by,
                now,
            )
            .await?;
        }
        transaction.commit().await?;
        Ok(Enrolled { machine, is_new: true })
    }
}

async fn with_signing_key<C: ConnectionTrait>(
    connection: &C,
    key: &SigningPublicKey,
) -> Result<Vec<Machine>, DatabaseError> {
    let find = machines::Entity::find().filter(machines::Column::SigningKey.eq(key.as_bytes().to_vec()));
    find.all(connection).await?.into_iter().map(Machine::try_from).collect()
}

fn is_same(known: &Machine, wish: &NewMachine) -> bool {
    known.sealing_key == wish.sealing_key && known.facts.hardware_fingerprint == wish.facts.hardware_fingerprint
}

async fn use_token<C: ConnectionTrait>(
    connection: &C,
    token: &enrolment_tokens::Model,
    now: DateTime<Utc>,
) -> Result<(), EnrolError> {
    if token.expires_at <= ms(now) {
        return Err(EnrolError::Token(TokenProblem::Expired { at: time(token.expires_at) }));
    }
    let used = enrolment_tokens::Entity::update_many()
        .col_expr(enrolment_tokens::Column::UsesLeft, Expr::col(enrolment_tokens::Column::UsesLeft).sub(1))
        .filter(enrolment_tokens::Column::Id.eq(token.id))
        .filter(enrolment_tokens::Column::UsesLeft.gt(0))
        .exec(connection)
        .await?;
    if used.rows_affected == 0 {
        let allowed = u32::try_from(token.uses_allowed).unwrap_or(0);
        return Err(EnrolError::Token(TokenProblem::UsedUp { allowed }));
    }
    Ok(())
}

async fn insert<C: ConnectionTrait>(
    connection: &C,
    token: &enrolment_tokens::Model,
    wish: NewMachine,
    state: MachineState,
    now: DateTime<Utc>,
) -> Result<Machine, DatabaseError> {
    let row = machines::Model {
        id: wish.id.as_uuid(),
        location_id: token.location_id,
        state: word(&state),
        class: word(&wish.class),
        hostname: wish.facts.hostname.clone(),
        facts: json(&wish.facts),
        fingerprint: wish.facts.hardware_fingerprint.clone(),
        signing_key: wish.signing_key.as_bytes().to_vec(),
        sealing_key: wish.sealing_key.as_bytes().to_vec(),
        meta_sealed: None,
        recorded_in_vault: false,
        incarnation: wish.incarnation.as_uuid(),
        applied_sequence: 0,
        clone_alarm_at: None,
        desired_version: 1,
        auto_apply_excluded: false,
        paused_from: None,
        paused_until: None,
        token_id: Some(token.id),
        enrolled_at: ms(now),
        last_heard_at: ms(now),
    };
    machines::Entity::insert(row.clone().into_active_model()).exec_without_returning(connection).await?;
    Machine::try_from(row)
}

impl From<enrolment_tokens::Model> for Token {
    fn from(row: enrolment_tokens::Model) -> Self {
        Self {
            id: row.id,
            location: row.location_id.into(),
            plan: row.plan_id.map(PlanId::from),
            backup_monitor: row.backup_monitor,
            expires_at: time(row.expires_at),
            uses_left: u32::try_from(row.uses_left).unwrap_or(0),
            uses_allowed: u32::try_from(row.uses_allowed).unwrap_or(0),
            created_by: row.created_by,
        }
    }
}
