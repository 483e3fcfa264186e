//! Each machine's status as the last scan or report left it.
//!
//! Invariant: one row per machine, so the buckets sum up to the machines.

use chrono::{DateTime, Utc};
use nightkeep_wire::machine::MachineState;
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{CustomerId, MachineId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{EntityTrait, FromQueryResult, IntoActiveModel, Statement, Value};

use crate::convert::{from_word, json, ms, time, unsigned, word};
use crate::database::Database;
use crate::entity::machine_status;
use crate::error::DatabaseError;

/// A machine's status.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusRecord {
    /// The machine.
    pub machine: MachineId,
    /// Where it is counted.
    pub bucket: Bucket,
    /// Why, in words.
    pub reason: String,
    /// Start of the last backup that ended with a recovery point or an error.
    pub last_backup: Option<DateTime<Utc>>,
    /// Start of the newest restorable point.
    pub last_point: Option<DateTime<Utc>>,
    /// The minute of the next start.
    pub next_backup: Option<DateTime<Utc>>,
    /// Occurrences missed since the last backup.
    pub missed: u32,
    /// Whatever else was concluded, for the detail page.
    pub document: serde_json::Value,
    /// When it was concluded.
    pub computed_at: DateTime<Utc>,
}

/// How many machines a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketCount {
    /// The bucket.
    pub bucket: Bucket,
    /// Its machines.
    pub machines: u64,
}

impl Database {
    /// Keeps a machine's status.
    pub async fn put_status(&self, status: &StatusRecord) -> Result<(), DatabaseError> {
        let row = machine_status::Model {
            machine_id: status.machine.as_uuid(),
            bucket: word(&status.bucket),
            rank: rank(status.bucket),
            reason: status.reason.clone(),
            last_backup_at: status.last_backup.map(ms),
            last_point_at: status.last_point.map(ms),
            next_backup_at: status.next_backup.map(ms),
            missed: i32::try_from(status.missed).unwrap_or(i32::MAX),
            document: json(&status.document),
            computed_at: ms(status.computed_at),
        };
        use machine_status::Column::*;
        let replace = OnConflict::column(MachineId)
            .update_columns([
                Bucket,
                Rank,
                Reason,
                LastBackupAt,
                LastPointAt,
                NextBackupAt,
                Missed,
                Document,
                ComputedAt,
            ])
            .to_owned();
        let insert = machine_status::Entity::insert(row.into_active_model()).on_conflict(replace);
        insert.exec_without_returning(&self.connection).await?;
        Ok(())
    }

    /// A machine's status; none before the first scan.
    pub async fn status(&self, machine: MachineId) -> Result<Option<StatusRecord>, DatabaseError> {
        let found = machine_status::Entity::find_by_id(machine.as_uuid()).one(&self.connection).await?;
        found.map(StatusRecord::try_from).transpose()
    }

    /// How many machines in service each bucket holds, of one customer or of all.
    pub async fn bucket_counts(&self, of: Option<CustomerId>) -> Result<Vec<BucketCount>, DatabaseError> {
        let mut values = vec![Value::from(word(&MachineState::Active))];
        let mut only = "";
        if let Some(customer) = of {
            only = " AND c.customer_id = $2";
            values.push(Value::from(customer.as_uuid()));
        }
        let sql = format!(
            "SELECT s.bucket, COUNT(*) AS machines FROM machine_status s JOIN machines m ON m.id = s.machine_id
                JOIN locations l ON l.id = m.location_id JOIN clients c ON c.id = l.client_id
             WHERE m.state = $1{only} GROUP BY s.bucket"
        );
        let backend = self.connection.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let rows = Count::find_by_statement(statement).all(&self.connection).await?;
        let count = |row: Count| {
            let bucket = from_word("machine_status", &row.bucket, "bucket", &row.bucket)?;
            Ok(BucketCount { bucket, machines: unsigned(row.machines) })
        };
        rows.into_iter().map(count).collect()
    }
}

#[derive(FromQueryResult)]
struct Count {
    bucket: String,
    machines: i64,
}

/// The bucket's place when machines are sorted by status: what needs attention first.
pub(crate) fn rank(bucket: Bucket) -> i32 {
    match bucket {
        Bucket::Error => 0,
        Bucket::NotProtected => 1,
        Bucket::Warning => 2,
        Bucket::WithoutPlan => 3,
        Bucket::WithoutAgent => 4,
        Bucket::Ok => 5,
    }
}

impl TryFrom<machine_status::Model> for StatusRecord {
    type Error = DatabaseError;

    fn try_from(row: machine_status::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            machine: row.machine_id.into(),
            bucket: from_word("machine_status", row.machine_id, "bucket", &row.bucket)?,
            reason: row.reason,
            last_backup: row.last_backup_at.map(time),
            last_point: row.last_point_at.map(time),
            next_backup: row.next_backup_at.map(time),
            missed: u32::try_from(row.missed).unwrap_or(0),
            document: serde_json::from_str(&row.document).unwrap_or_default(),
            computed_at: time(row.computed_at),
        })
    }
}
