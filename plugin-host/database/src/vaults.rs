//! Vaults: one per customer, its root sealed by the host's master key.

use chrono::{DateTime, Utc};
use nightkeep_wire::bytes::{SealingPublicKey, SigningPublicKey};
use nightkeep_wire::{CustomerId, VaultId};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};

use crate::convert::{array, ms, signed, time, unsigned};
use crate::database::Database;
use crate::entity::vaults;
use crate::error::DatabaseError;

const TABLE: &str = "vaults";

/// A customer's vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultRecord {
    /// The vault.
    pub id: VaultId,
    /// Whose it is.
    pub customer: CustomerId,
    /// The customer root, sealed by the master key.
    pub root_sealed: Vec<u8>,
    /// Pack keys are sealed to this.
    pub public_key: SealingPublicKey,
    /// Verifies what the host signs in the vault.
    pub maintenance_key: SigningPublicKey,
    /// Key epoch.
    pub epoch: u32,
    /// Most bytes it may hold; none means no limit.
    pub quota_bytes: Option<u64>,
    /// Bytes it holds.
    pub used_bytes: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Database {
    /// Keeps a vault unless the customer has one; whether it was kept.
    pub async fn insert_vault(&self, vault: &VaultRecord) -> Result<bool, DatabaseError> {
        let row = vaults::Model {
            id: vault.id.as_bytes().to_vec(),
            customer_id: vault.customer.as_uuid(),
            root_sealed: vault.root_sealed.clone(),
            public_key: vault.public_key.as_bytes().to_vec(),
            maintenance_key: vault.maintenance_key.as_bytes().to_vec(),
            epoch: i32::try_from(vault.epoch).unwrap_or(i32::MAX),
            quota_bytes: vault.quota_bytes.map(signed),
            used_bytes: signed(vault.used_bytes),
            created_at: ms(vault.created_at),
        };
        let unless = OnConflict::column(vaults::Column::CustomerId).do_nothing().to_owned();
        let insert = vaults::Entity::insert(row.into_active_model()).on_conflict(unless);
        Ok(insert.exec_without_returning(&self.connection).await? > 0)
    }

    /// The vault of a customer.
    pub async fn vault_of(&self, customer: CustomerId) -> Result<Option<VaultRecord>, DatabaseError> {
        let find = vaults::Entity::find().filter(vaults::Column::CustomerId.eq(customer.as_uuid()));
        find.one(&self.connection).await?.map(VaultRecord::try_from).transpose()
    }

    /// Notes that bytes were deleted from a vault, so that its quota has room for others.
    pub async fn give_back(&self, id: VaultId, bytes: u64) -> Result<(), DatabaseError> {
        let bytes = signed(bytes);
        let own = vaults::Column::Id.eq(id.as_bytes().to_vec());
        let used = vaults::Column::UsedBytes;
        let less = vaults::Entity::update_many()
            .col_expr(used, Expr::col(used).sub(bytes))
            .filter(own.clone())
            .filter(used.gte(bytes));
        if less.exec(&self.connection).await?.rows_affected == 0 {
            // What lay there before the host counted is no debt.
            vaults::Entity::update_many().col_expr(used, Expr::value(0_i64)).filter(own).exec(&self.connection).await?;
        }
        Ok(())
    }

    /// A vault by id.
    pub async fn vault(&self, id: VaultId) -> Result<Option<VaultRecord>, DatabaseError> {
        let found = vaults::Entity::find_by_id(id.as_bytes().to_vec()).one(&self.connection).await?;
        found.map(VaultRecord::try_from).transpose()
    }
}

impl TryFrom<vaults::Model> for VaultRecord {
    type Error = DatabaseError;

    fn try_from(row: vaults::Model) -> Result<Self, DatabaseError> {
        let id = VaultId(array(TABLE, "row", "id", row.id)?);
        Ok(Self {
            customer: row.customer_id.into(),
            root_sealed: row.root_sealed,
            public_key: SealingPublicKey(array(TABLE, id, "public key", row.public_key)?),
            maintenance_key: SigningPublicKey(array(TABLE, id, "maintenance key", row.maintenance_key)?),
            epoch: u32::try_from(row.epoch).unwrap_or(1),
            quota_bytes: row.quota_bytes.map(unsigned),
            used_bytes: unsigned(row.used_bytes),
            created_at: time(row.created_at),
            id,
        })
    }
}
