//! Why the database could not answer, by what the caller can do about it.

use sea_orm::DbErr;

/// A failure of the database. A thing that is not there is no failure: functions answer `None`.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection: address, rights, or the server is away.
    #[error("failed to open the database {url}; check the address and that its server runs")]
    Open {
        /// The address, without its password.
        url: String,
        /// The cause.
        #[source]
        source: Box<DbErr>,
    },
    /// The schema could not be brought up to date.
    #[error("failed to bring the database's schema up to date")]
    Migrate(#[source] Box<DbErr>),
    /// A statement failed.
    #[error("the database failed")]
    Query(#[source] Box<DbErr>),
    /// A stored value that this version does not understand: a newer version wrote it, or the row is damaged.
    #[error("{table} {id} holds a {what} that this version cannot read")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// The value.
        what: &'static str,
    },
}

impl From<DbErr> for DatabaseError {
    fn from(source: DbErr) -> Self {
        Self::Query(Box::new(source))
    }
}
