//! Between stored columns and typed values.
//!
//! Invariant: what is written can be read back; what cannot be read is an error that names row and column.

use chrono::{DateTime, TimeZone, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DatabaseError;

/// A time as stored: milliseconds since 1970.
pub(crate) fn ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// A stored time. Values outside the calendar become its beginning.
pub(crate) fn time(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(ms).single().unwrap_or_default()
}

/// A number that the column holds as signed; beyond its range it stops at the end.
pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A stored number, which is never below zero.
pub(crate) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// The snake_case word of an enum as serde writes it.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// Reads [`word`] back.
pub(crate) fn from_word<T: DeserializeOwned>(
    table: &'static str,
    id: impl ToString,
    what: &'static str,
    text: &str,
) -> Result<T, DatabaseError> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| DatabaseError::Unreadable {
        table,
        id: id.to_string(),
        what,
    })
}

/// A document as stored.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// Reads [`json`] back.
pub(crate) fn from_json<T: DeserializeOwned>(
    table: &'static str,
    id: impl ToString,
    what: &'static str,
    text: &str,
) -> Result<T, DatabaseError> {
    serde_json::from_str(text).map_err(|_| DatabaseError::Unreadable { table, id: id.to_string(), what })
}

/// Bytes of a known length.
pub(crate) fn array<const N: usize>(
    table: &'static str,
    id: impl ToString,
    what: &'static str,
    bytes: Vec<u8>,
) -> Result<[u8; N], DatabaseError> {
    bytes.try_into().map_err(|_| DatabaseError::Unreadable { table, id: id.to_string(), what })
}
