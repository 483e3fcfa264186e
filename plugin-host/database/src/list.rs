//! The machine list of the console: filtered, sorted, page by page.
//!
//! Invariant: a page follows the one before by key, never by number, so machines that come or go shift nothing.

use chrono::{DateTime, Utc};
use nightkeep_wire::machine::MachineState;
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{ClientId, CustomerId, LocationId, MachineId};
use sea_orm::{FromQueryResult, Statement, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::convert::{from_word, time, word};
use crate::database::Database;
use crate::error::DatabaseError;

/// Which machines.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Part of the host name, in any case.
    pub text: Option<String>,
    /// Only this bucket.
    pub bucket: Option<Bucket>,
    /// Only this customer's.
    pub customer: Option<CustomerId>,
    /// Only this client's.
    pub client: Option<ClientId>,
    /// Only this location's.
    pub location: Option<LocationId>,
}

/// By what the list is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortKey {
    /// What needs attention first.
    #[default]
    Status,
    /// Host name.
    Name,
    /// Client, then location.
    Place,
    /// Last backup.
    LastBackup,
    /// Next backup.
    NextBackup,
}

/// Order of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListSort {
    /// By what.
    pub key: SortKey,
    /// The other way round.
    pub descending: bool,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The sort key of the last row.
    pub key: CursorKey,
    /// The last row.
    pub id: MachineId,
}

/// A sort key's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CursorKey {
    /// A time or rank.
    Number(i64),
    /// A name.
    Text(String),
}

/// One row of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineRow {
    /// The machine.
    pub id: MachineId,
    /// Its name.
    pub hostname: String,
    /// Where it is in its life.
    pub state: MachineState,
    /// Whose it is.
    pub customer: String,
    /// Its client.
    pub client: String,
    /// Its location.
    pub location: String,
    /// Where it is counted; none before the first scan.
    pub bucket: Option<Bucket>,
    /// Why.
    pub reason: Option<String>,
    /// Start of the last backup.
    pub last_backup: Option<DateTime<Utc>>,
    /// Minute of the next backup.
    pub next_backup: Option<DateTime<Utc>>,
    /// When it was heard last.
    pub last_heard: DateTime<Utc>,
    /// Its description as JSON.
    pub facts: String,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPage {
    /// The rows.
    pub rows: Vec<MachineRow>,
    /// Where the next page begins; none at the end.
    pub next: Option<Cursor>,
}

#[derive(FromQueryResult)]
struct Raw {
    id: Uuid,
    hostname: String,
    state: String,
    customer: String,
    client: String,
    location: String,
    bucket: Option<String>,
    reason: Option<String>,
    last_backup_at: Option<i64>,
    next_backup_at: Option<i64>,
    last_heard_at: i64,
    facts: String,
    number_key: i64,
    text_key: String,
}

impl SortKey {
    /// The expression rows are sorted by, and whether it is a text. Never null, so keys always compare.
    fn expression(self) -> (&'static str, bool) {
        match self {
            Self::Status => ("COALESCE(s.rank, 3)", false),
            Self::Name => ("LOWER(m.hostname)", true),
            Self::Place => ("LOWER(c.name || ' / ' || l.name)", true),
            Self::LastBackup => ("COALESCE(s.last_backup_at, 0)", false),
            Self::NextBackup => ("COALESCE(s.next_backup_at, 9223372036854775807)", false),
        }
    }
}

/// Collects conditions and their values, numbered as both databases understand.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition; each `{}` becomes the place of the next value.
    fn add(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        let mut sql = condition.to_owned();
        for value in values {
            self.values.push(value);
            sql = sql.replacen("{}", &format!("${}", self.values.len()), 1);
        }
        self.sql.push(sql);
    }
}

impl Database {
    /// One page of machines that are in service or wait for approval. `limit` is at least 1.
    pub async fn list_machines(
        &self,
        filter: &ListFilter,
        sort: ListSort,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<ListPage, DatabaseError> {
        let (expression, is_text) = sort.key.expression();
        let mut conditions = conditions(filter);
        if let Some(cursor) = after {
            let beyond = if sort.descending { "<" } else { ">" };
            let key = cursor_value(cursor, is_text);
            let id = Value::from(cursor.id.as_uuid());
            let follows = format!("({expression} {beyond} {{}} OR ({expression} = {{}} AND m.id {beyond} {{}}))");
            conditions.add(&follows, [key.clone(), key, id]);
        }
        let direction = if sort.descending { "DESC" } else { "ASC" };
        let (number_key, text_key) = if is_text { ("0", expression) } else { (expression, "''") };
        let sql = format!(
            "SELECT m.id, m.hostname, m.state, k.name AS customer, c.name AS client, l.name AS location, s.bucket,
                s.reason, s.last_backup_at, s.next_backup_at, m.last_heard_at, m.facts,
                CAST({number_key} AS BIGINT) AS number_key, {text_key} AS text_key
             FROM machines m JOIN locations l ON l.id = m.location_id JOIN clients c ON c.id = l.client_id
                JOIN customers k ON k.id = c.customer_id LEFT JOIN machine_status s ON s.machine_id = m.id
             WHERE {} ORDER BY {expression} {direction}, m.id {direction} LIMIT {}",
            conditions.sql.join(" AND "),
            u64::from(limit) + 1
        );
        let backend = self.connection.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, conditions.values);
        let rows = Raw::find_by_statement(statement).all(&self.connection).await?;
        page(rows, usize::try_from(limit).unwrap_or(usize::MAX), is_text)
    }
}

fn conditions(filter: &ListFilter) -> Conditions {
    let mut conditions = Conditions::default();
    let states = [MachineState::Active, MachineState::Lobby].map(|state| Value::from(word(&state)));
    conditions.add("m.state IN ({}, {})", states);
    if let Some(text) = &filter.text {
        let pattern = format!("%{}%", text.to_lowercase().replace(['%', '_', '\\'], ""));
        conditions.add("LOWER(m.hostname) LIKE {}", [Value::from(pattern)]);
    }
    if let Some(bucket) = filter.bucket {
        conditions.add("s.bucket = {}", [Value::from(word(&bucket))]);
    }
    let places = [
        ("k.id = {}", filter.customer.map(|id| id.as_uuid())),
        ("c.id = {}", filter.client.map(|id| id.as_uuid())),
        ("l.id = {}", filter.location.map(|id| id.as_uuid())),
    ];
    for (condition, id) in places {
        if let Some(id) = id {
            conditions.add(condition, [Value::from(id)]);
        }
    }
    conditions
}

/// A cursor made for another sort order begins at its start.
fn cursor_value(cursor: &Cursor, is_text: bool) -> Value {
    match (&cursor.key, is_text) {
        (CursorKey::Text(text), true) => Value::from(text.clone()),
        (CursorKey::Number(number), false) => Value::from(*number),
        (CursorKey::Number(_), true) => Value::from(String::new()),
        (CursorKey::Text(_), false) => Value::from(i64::MIN),
    }
}

fn page(mut rows: Vec<Raw>, limit: usize, is_text: bool) -> Result<ListPage, DatabaseError> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| Cursor {
        key: if is_text { CursorKey::Text(last.text_key.clone()) } else { CursorKey::Number(last.number_key) },
        id: last.id.into(),
    });
    let rows = rows.into_iter().map(MachineRow::try_from).collect::<Result<_, _>>()?;
    Ok(ListPage { rows, next })
}

impl TryFrom<Raw> for MachineRow {
    type Error = DatabaseError;

    fn try_from(row: Raw) -> Result<Self, DatabaseError> {
        let bucket =
            row.bucket.as_deref().map(|text| from_word("machine_status", row.id, "bucket", text)).transpose()?;
        Ok(Self {
            id: row.id.into(),
            state: from_word("machines", row.id, "state", &row.state)?,
            hostname: row.hostname,
            customer: row.customer,
            client: row.client,
            location: row.location,
            bucket,
            reason: row.reason,
            last_backup: row.last_backup_at.map(time),
            next_backup: row.next_backup_at.map(time),
            last_heard: time(row.last_heard_at),
            facts: row.facts,
        })
    }
}
