//! Upload grants, and the bytes they hold reserved.
//!
//! Invariant: bytes used and bytes granted never exceed the quota together, however many machines ask at once; a grant
//! is settled or expires, and gives its reservation back either way.

use chrono::{DateTime, Utc};
use nightkeep_wire::id::ContentHash;
use nightkeep_wire::{MachineId, VaultId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QuerySelect};

use crate::convert::{array, ms, signed, time, unsigned};
use crate::database::Database;
use crate::entity::{storage_grants, vaults};
use crate::error::DatabaseError;

const TABLE: &str = "storage_grants";

/// A grant to be made.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// BLAKE3 of the token in the address.
    pub token_hash: [u8; 32],
    /// Name of the object.
    pub object: String,
    /// Its length.
    pub bytes: u64,
    /// Hash of its bytes.
    pub hash: ContentHash,
    /// Bytes of the quota that this object leaves to others: a full vault can still commit.
    pub keep_free_bytes: u64,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// Its bytes are reserved.
    Reserved,
    /// They do not fit.
    OverQuota {
        /// The vault's quota.
        quota_bytes: u64,
    },
}

/// A grant as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// The vault.
    pub vault: VaultId,
    /// Who asked.
    pub machine: MachineId,
    /// Name of the object.
    pub object: String,
    /// Its length.
    pub bytes: u64,
    /// Hash of its bytes.
    pub hash: ContentHash,
    /// End of its time.
    pub expires_at: DateTime<Utc>,
}

impl Database {
    /// Reserves a batch against the vault's quota, one answer per wish.
    pub async fn reserve(
        &self,
        vault: VaultId,
        machine: MachineId,
        wishes: &[NewGrant],
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Reservation>, DatabaseError> {
        let transaction = self.begin().await?;
        let id = vault.as_bytes().to_vec();
        // Locks the vault's row: batches are reserved one behind the other.
        vaults::Entity::update_many()
            .col_expr(vaults::Column::UsedBytes, Expr::col(vaults::Column::UsedBytes))
            .filter(vaults::Column::Id.eq(id.clone()))
            .exec(&transaction)
            .await?;
        let row = vaults::Entity::find_by_id(id.clone()).one(&transaction).await?;
        let quota = row.as_ref().and_then(|row| row.quota_bytes).map(unsigned);
        let mut taken = row.map_or(0, |row| unsigned(row.used_bytes)) + granted(&transaction, &id, now).await?;
        let mut answers = Vec::with_capacity(wishes.len());
        let mut rows = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let after = taken.saturating_add(wish.bytes).saturating_add(wish.keep_free_bytes);
            match quota {
                Some(quota_bytes) if after > quota_bytes => answers.push(Reservation::OverQuota { quota_bytes }),
                Some(_) | None => {
                    taken += wish.bytes;
                    rows.push(row_of(vault, machine, wish, expires_at).into_active_model());
                    answers.push(Reservation::Reserved);
                }
            }
        }
        if !rows.is_empty() {
            storage_grants::Entity::insert_many(rows).exec_without_returning(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(answers)
    }

    /// The grant of an address, while it is valid.
    pub async fn grant(&self, token_hash: [u8; 32], now: DateTime<Utc>) -> Result<Option<GrantRecord>, DatabaseError> {
        let find = storage_grants::Entity::find_by_id(token_hash.to_vec())
            .filter(storage_grants::Column::ExpiresAt.gt(ms(now)));
        find.one(&self.connection).await?.map(GrantRecord::try_from).transpose()
    }

    /// Ends a grant. `stored` bytes count as used from now on; false when it was ended before.
    pub async fn settle_grant(&self, token_hash: [u8; 32], vault: VaultId, stored: u64) -> Result<bool, DatabaseError> {
        let transaction = self.begin().await?;
        let ended = storage_grants::Entity::delete_by_id(token_hash.to_vec()).exec(&transaction).await?;
        if ended.rows_affected == 0 {
            return Ok(false);
        }
        if stored > 0 {
            vaults::Entity::update_many()
                .col_expr(vaults::Column::UsedBytes, Expr::col(vaults::Column::UsedBytes).add(signed(stored)))
                .filter(vaults::Column::Id.eq(vault.as_bytes().to_vec()))
                .exec(&transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes grants whose time is over, which gives their reservations back.
    pub async fn expire_grants(&self, now: DateTime<Utc>) -> Result<u64, DatabaseError> {
        let delete = storage_grants::Entity::delete_many().filter(storage_grants::Column::ExpiresAt.lte(ms(now)));
        Ok(delete.exec(&self.connection).await?.rows_affected)
    }
}

/// Bytes that valid grants of the vault hold reserved.
async fn granted<C: ConnectionTrait>(connection: &C, vault: &[u8], now: DateTime<Utc>) -> Result<u64, DatabaseError> {
    let open: Vec<i64> = storage_grants::Entity::find()
        .select_only()
        .column(storage_grants::Column::Bytes)
        .filter(storage_grants::Column::VaultId.eq(vault.to_vec()))
        .filter(storage_grants::Column::ExpiresAt.gt(ms(now)))
        .into_tuple()
        .all(connection)
        .await?;
    Ok(open.into_iter().map(unsigned).fold(0, u64::saturating_add))
}

fn row_of(vault: VaultId, machine: MachineId, wish: &NewGrant, expires_at: DateTime<Utc>) -> storage_grants::Model {
    storage_grants::Model {
        token_hash: wish.token_hash.to_vec(),
        vault_id: vault.as_bytes().to_vec(),
        machine_id: machine.as_uuid(),
        object_name: wish.object.clone(),
        bytes: signed(wish.bytes),
        hash: wish.hash.as_bytes().to_vec(),
        expires_at: ms(expires_at),
    }
}

impl TryFrom<storage_grants::Model> for GrantRecord {
    type Error = DatabaseError;

    fn try_from(row: storage_grants::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            vault: VaultId(array(TABLE, &row.object_name, "vault", row.vault_id)?),
            machine: row.machine_id.into(),
            hash: ContentHash(array(TABLE, &row.object_name, "hash", row.hash)?),
            object: row.object_name,
            bytes: unsigned(row.bytes),
            expires_at: time(row.expires_at),
        })
    }
}
