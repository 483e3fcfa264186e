//! Opening the database and its transactions.
//!
//! Invariant: a transaction that writes takes the write lock when it begins, so it waits instead of failing half-way.

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;

use crate::error::DatabaseError;
use crate::migration::Migrator;

/// How long a writer waits for another one; a scan of thousands of machines writes for less than a second.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections to SQLite: one writes at a time, the others read.
const SQLITE_CONNECTIONS_MAX: u32 = 8;

/// Connections of one host process to PostgreSQL.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;

/// The host's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) connection: DatabaseConnection,
}

/// The address of the embedded database below a data directory.
pub fn default_url(data: &Path) -> String {
    format!("sqlite://{}?mode=rwc", data.join("nightkeep.db").display())
}

impl Database {
    /// Opens a database and brings its schema up to date. `sqlite://PATH?mode=rwc` or `postgres://...`.
    pub async fn open(url: &str) -> Result<Self, DatabaseError> {
        let failed = |source| DatabaseError::Open { url: without_password(url), source: Box::new(source) };
        let connection = sea_orm::Database::connect(options(url)).await.map_err(failed)?;
        // Two hosts that start at once: the second waits for the first, then finds nothing to do.
        let migrated = if connection.get_database_backend() == DatabaseBackend::Postgres {
            migrate_alone(&connection).await
        } else {
            Migrator::up(&connection, None).await
        };
        migrated.map_err(|source| DatabaseError::Migrate(Box::new(source)))?;
        Ok(Self { connection })
    }

    /// Closes all connections.
    pub async fn close(self) -> Result<(), DatabaseError> {
        Ok(self.connection.close().await?)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        Ok(self.connection.ping().await?)
    }

    /// Begins a transaction that writes; dropped without a commit it leaves nothing behind.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, DatabaseError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.connection.begin_with_options(options).await?)
    }
}

fn options(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .acquire_timeout(Duration::from_secs(30))
        .max_connections(if url.starts_with("sqlite:") { SQLITE_CONNECTIONS_MAX } else { POSTGRES_CONNECTIONS_MAX })
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                // An acknowledged report must survive a power cut.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(BUSY_TIMEOUT)
        });
    options
}

/// Serialises migrations of several hosts by an advisory lock on one connection's transaction.
async fn migrate_alone(connection: &DatabaseConnection) -> Result<(), sea_orm::DbErr> {
    let transaction = connection.begin().await?;
    transaction.execute_unprepared("SELECT pg_advisory_xact_lock(7104201)").await?;
    Migrator::up(connection, None).await?;
    transaction.commit().await
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://***@{place}"),
        None => url.to_owned(),
    }
}
