//! The audit log: who did what to what. Written, never changed.

use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, IntoActiveModel, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::convert::{ms, time};
use crate::database::Database;
use crate::entity::audit_log;
use crate::error::DatabaseError;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who: a user's name, `scan`, or a machine's id.
    pub actor: String,
    /// What was done, in one snake_case word.
    pub action: String,
    /// To what.
    pub subject: String,
    /// In words.
    pub detail: String,
}

impl Database {
    /// Writes an entry.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), DatabaseError> {
        let row = audit_log::Model {
            id: Uuid::now_v7(),
            at: ms(entry.at),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
        };
        audit_log::Entity::insert(row.into_active_model()).exec_without_returning(&self.connection).await?;
        Ok(())
    }

    /// The newest entries.
    pub async fn audit_log(&self, limit: u64) -> Result<Vec<AuditEntry>, DatabaseError> {
        let find = audit_log::Entity::find().order_by_desc(audit_log::Column::At).limit(limit);
        let entry = |row: audit_log::Model| AuditEntry {
            at: time(row.at),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
        };
        Ok(find.all(&self.connection).await?.into_iter().map(entry).collect())
    }
}
