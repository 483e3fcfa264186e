//! The storage gateway: how an agent lists, reads and writes objects of a vault without storage credentials.
//!
//! Invariant: an [`ObjectName`] is safe to use below a directory: no parent steps, no absolute path, no empty part.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{BlobName, ContentHash};

/// Longest object name in bytes.
pub const OBJECT_NAME_BYTES_MAX: usize = 200;

/// Most objects in one answer to a listing.
pub const LIST_LIMIT_MAX: u32 = 10_000;

/// Most grants asked for at once.
pub const GRANTS_PER_REQUEST_MAX: usize = 256;

/// Most names in one question for known blobs.
pub const KNOWN_PER_REQUEST_MAX: usize = 4096;

/// A name that no object may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not an object name: {problem}")]
pub struct ObjectNameError {
    /// The name, cut to a bounded length.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Name of an object in a vault: ASCII `[a-z0-9/_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName(String);

impl ObjectName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> Result<Self, ObjectNameError> {
        match object_name_problem(text) {
            None => Ok(Self(text.to_owned())),
            Some(problem) => Err(ObjectNameError { name: text.chars().take(220).collect(), problem }),
        }
    }
}

fn object_name_problem(text: &str) -> Option<&'static str> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'_' | b'.' | b'-');
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > OBJECT_NAME_BYTES_MAX {
        return Some("it is longer than 200 bytes");
    }
    if !text.bytes().all(allowed) {
        return Some("only a-z, 0-9, '/', '_', '.' and '-' are allowed");
    }
    if text.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.contains("..")) {
        return Some("a part is empty, starts with a dot or holds two dots in a row");
    }
    None
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ObjectName {
    type Error = ObjectNameError;

    fn try_from(text: String) -> Result<Self, ObjectNameError> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> String {
        name.0
    }
}

/// Query of `GET /vault/list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// Only names that start so; may end inside a part.
    #[serde(default)]
    pub prefix: String,
    /// Only names after this one, in byte order.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many; the host caps it at [`LIST_LIMIT_MAX`].
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Answer to [`ListQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListResponse {
    /// In byte order of their names.
    pub objects: Vec<ObjectEntry>,
    /// Whether there are names after the last one.
    pub more: bool,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub len: u64,
}

/// `POST /vault/grants`: asks for the right to create objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRequest {
    /// What shall be created; at most [`GRANTS_PER_REQUEST_MAX`].
    pub objects: Vec<GrantWish>,
}

/// An object that the agent wants to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantWish {
    /// Its name.
    pub name: ObjectName,
    /// Its exact length in bytes.
    pub len: u64,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
}

/// Answer to [`GrantRequest`], in the order of the wishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantResponse {
    /// One for each wish.
    pub grants: Vec<Grant>,
}

/// What became of one wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The object.
    pub name: ObjectName,
    /// The decision.
    #[serde(flatten)]
    pub outcome: GrantOutcome,
}

/// Decision on a wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum GrantOutcome {
    /// `PUT` the bytes to this address.
    Url {
        /// Absolute; for this object alone and only to create it.
        url: String,
        /// At most 15 minutes away.
        expires: DateTime<Utc>,
    },
    /// There already is an object of that name.
    Exists,
    /// Not allowed.
    Refused {
        /// A problem code, such as `not-allowed` or `quota-exceeded`.
        code: crate::problem::ProblemCode,
        /// Words that name the object and the remedy.
        reason: String,
    },
}

/// `POST /vault/known`: which of these blobs does the vault hold?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRequest {
    /// At most [`KNOWN_PER_REQUEST_MAX`].
    pub ids: Vec<BlobName>,
}

/// Answer to [`KnownRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownResponse {
    /// The known ones among those asked for.
    pub known: Vec<BlobName>,
}
