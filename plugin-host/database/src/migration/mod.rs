//! The schema's history: one file per step, applied in order, never edited once released.
//!
//! Invariant: forward only. A step is plain SQL with two words that the databases spell differently.

mod m0001_first;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseBackend;

/// Runs the steps that a database lacks.
pub(crate) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m0001_first::Step)]
    }
}

/// Runs each statement with `{uuid}` and `{bytes}` spelled for the database at hand.
async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let (uuid, bytes) = if backend == DatabaseBackend::Postgres {
        ("UUID", "BYTEA")
    } else if backend == DatabaseBackend::Sqlite {
        ("BLOB", "BLOB")
    } else {
        return Err(DbErr::Migration(format!("{backend:?} is not supported: use SQLite or PostgreSQL")));
    };
    for statement in statements {
        let sql = statement.replace("{uuid}", uuid).replace("{bytes}", bytes);
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}
