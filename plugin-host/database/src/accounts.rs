//! Users and their sessions: browsers signed in, and API keys.
//!
//! Invariant: passwords and session tokens are stored as hashes alone.

use chrono::{DateTime, Utc};
use nightkeep_wire::CustomerId;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::convert::{from_word, ms, time, word};
use crate::database::Database;
use crate::entity::{sessions, users};
use crate::error::DatabaseError;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Plans, backups, restores.
    Technician,
    /// Looks on.
    ReadOnly,
}

/// Someone who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: Uuid,
    /// The sign-in name.
    pub name: String,
    /// Argon2 in PHC form.
    pub password_hash: String,
    /// What the user may do.
    pub role: Role,
    /// The only customer whose things exist for this user; none means all.
    pub customer: Option<CustomerId>,
    /// Whether the password was given out by the host and has to be changed.
    pub must_change: bool,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A browser's cookie.
    Browser,
    /// A program's bearer key.
    ApiKey,
}

/// A session to be kept.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// BLAKE3 of the token.
    pub token_hash: [u8; 32],
    /// Whose it is.
    pub user: Uuid,
    /// What it is for.
    pub kind: SessionKind,
    /// Its name, for API keys.
    pub label: String,
    /// End of its time.
    pub expires_at: DateTime<Utc>,
}

/// A valid session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub user: User,
    /// What it is for.
    pub kind: SessionKind,
    /// End of its time.
    pub expires_at: DateTime<Utc>,
}

impl Database {
    /// Creates a user unless there is one of that name; whether it was created.
    pub async fn create_user(&self, user: User, now: DateTime<Utc>) -> Result<bool, DatabaseError> {
        let row = users::Model {
            id: user.id,
            name: user.name,
            password_hash: user.password_hash,
            role: word(&user.role),
            customer_id: user.customer.map(|id| id.as_uuid()),
            must_change: user.must_change,
            created_at: ms(now),
        };
        let unless = OnConflict::column(users::Column::Name).do_nothing().to_owned();
        let insert = users::Entity::insert(row.into_active_model()).on_conflict(unless);
        Ok(insert.exec_without_returning(&self.connection).await? > 0)
    }

    /// Sets a password and ends every session of the user, in one step; whether there is such a user.
    pub async fn set_password(&self, name: &str, hash: &str, must_change: bool) -> Result<bool, DatabaseError> {
        let transaction = self.begin().await?;
        let Some(user) = users::Entity::find().filter(users::Column::Name.eq(name)).one(&transaction).await? else {
            return Ok(false);
        };
        users::Entity::update_many()
            .col_expr(users::Column::PasswordHash, Expr::value(hash))
            .col_expr(users::Column::MustChange, Expr::value(must_change))
            .filter(users::Column::Id.eq(user.id))
            .exec(&transaction)
            .await?;
        sessions::Entity::delete_many()
            .filter(sessions::Column::UserId.eq(user.id))
            .filter(sessions::Column::Kind.eq(word(&SessionKind::Browser)))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether anybody could sign in.
    pub async fn has_users(&self) -> Result<bool, DatabaseError> {
        Ok(users::Entity::find().one(&self.connection).await?.is_some())
    }

    /// A user by sign-in name.
    pub async fn user_named(&self, name: &str) -> Result<Option<User>, DatabaseError> {
        let found = users::Entity::find().filter(users::Column::Name.eq(name)).one(&self.connection).await?;
        found.map(User::try_from).transpose()
    }

    /// Keeps a session.
    pub async fn create_session(&self, session: NewSession, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let row = sessions::Model {
            token_hash: session.token_hash.to_vec(),
            user_id: session.user,
            kind: word(&session.kind),
            label: session.label,
            created_at: ms(now),
            expires_at: ms(session.expires_at),
        };
        sessions::Entity::insert(row.into_active_model()).exec_without_returning(&self.connection).await?;
        Ok(())
    }

    /// The session of a token, while it is valid.
    pub async fn session(&self, token_hash: [u8; 32], now: DateTime<Utc>) -> Result<Option<Session>, DatabaseError> {
        let find = sessions::Entity::find_by_id(token_hash.to_vec()).filter(sessions::Column::ExpiresAt.gt(ms(now)));
        let Some(row) = find.one(&self.connection).await? else { return Ok(None) };
        let Some(user) = users::Entity::find_by_id(row.user_id).one(&self.connection).await? else { return Ok(None) };
        Ok(Some(Session {
            user: user.try_into()?,
            kind: from_word("sessions", &row.label, "kind", &row.kind)?,
            expires_at: time(row.expires_at),
        }))
    }

    /// Ends a session.
    pub async fn delete_session(&self, token_hash: [u8; 32]) -> Result<(), DatabaseError> {
        sessions::Entity::delete_by_id(token_hash.to_vec()).exec(&self.connection).await?;
        Ok(())
    }

    /// Removes sessions whose time is over.
    pub async fn delete_expired_sessions(&self, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let delete = sessions::Entity::delete_many().filter(sessions::Column::ExpiresAt.lte(ms(now)));
        delete.exec(&self.connection).await?;
        Ok(())
    }
}

impl TryFrom<users::Model> for User {
    type Error = DatabaseError;

    fn try_from(row: users::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.id,
            role: from_word("users", row.id, "role", &row.role)?,
            name: row.name,
            password_hash: row.password_hash,
            customer: row.customer_id.map(CustomerId::from),
            must_change: row.must_change,
        })
    }
}
