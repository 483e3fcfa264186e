//! Object storage behind one narrow trait, as the rest of the vault sees it.
//!
//! **Contract**, tested by [`conformance`]: a put creates or finds, and never overwrites; of many puts to one name
//! exactly one creates; what a put created is durable and visible to every later get, head and list; a reader never
//! sees part of an object; a listing is in byte order and complete.

pub mod conformance;
mod counted;
mod disk;
mod layer;
mod memory;

pub use counted::{CountedStore, Counts, Requests};
pub use disk::DiskStore;
pub use layer::Layer;
pub use memory::MemoryStore;

use crate::codec::Time;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The name of an object: `[a-z0-9/_.-]`, at most 200 bytes, no empty, `.` or `..` part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

/// A name no store accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an object name: use a-z, 0-9, '_', '-', '.' and '/', at most {NAME_BYTES_MAX} bytes, without '.' or '..' parts"
)]
pub struct NameError(String);

/// The longest object name.
pub const NAME_BYTES_MAX: usize = 200;

impl ObjectName {
    /// Checks and wraps a name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'_' | b'.' | b'-');
        let parts = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if name.len() <= NAME_BYTES_MAX && parts && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(NameError(name))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectName({})", self.0)
    }
}

/// What a put found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is now there, durable, with these bytes.
    Created,
    /// An object of this name was there before and is unchanged.
    Exists,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Why a store could not do what was asked, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("{name} is not in the vault")]
    NotFound {
        /// The object asked for.
        name: ObjectName,
    },
    /// The store refused for good: rights, quota, or a rule.
    #[error("storage refused {operation} of {name}: {reason}")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// On which object.
        name: String,
        /// Why, in the storage's words, with the remedy.
        reason: String,
    },
    /// The storage is full.
    #[error("no space left for {name}; free space on the storage, then run again: nothing was lost")]
    Full {
        /// The object that did not fit.
        name: ObjectName,
    },
    /// Failed now; may work later.
    #[error("failed to {operation} {name}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// On which object or prefix.
        name: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where the objects of one vault lie. See the module for its contract.
///
/// Calls block; callers use threads. A store is shared between threads.
pub trait Store: Send + Sync {
    /// Creates an object, durably, unless its name is taken.
    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError>;

    /// The same with bytes that the store may hold on to until it answers, so that it need not copy them.
    fn put_create_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>) -> Result<Put, StoreError> {
        self.put_create(name, bytes)
    }

    /// A range of an object. A range beyond the end is cut to what is there.
    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError>;

    /// The length of an object, or none.
    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError>;

    /// The next `limit` objects whose names begin with `prefix`, in byte order, after `after`.
    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Deletes an object; one that is not there is no error.
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError>;

    /// Takes an object away that a collection decided to delete: into a trash where the store has one, for `at` to tell
    /// its age; else for good.
    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        let _ = at;
        self.delete(name)
    }

    /// Empties the trash of what was swept before `before`; answers how many bytes that gave back.
    fn empty_trash(&self, before: Time) -> Result<u64, StoreError> {
        let _ = before;
        Ok(0)
    }

    /// The location, for messages.
    fn location(&self) -> String;

    /// How many calls are worth having in flight at once; more gain nothing. Storage behind a network says more than a disk.
    fn parallelism(&self) -> usize {
        2
    }
}

/// A location that names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The scheme is none that this version reaches.
    #[error("cannot reach '{location}': this version reads file:///FOLDER and plain folder paths")]
    Scheme {
        /// The location as given.
        location: String,
    },
    /// `file://` with a host in it.
    #[error("'{location}' names a host; a local folder has three slashes, as in file:///srv/vault")]
    Host {
        /// The location as given.
        location: String,
    },
}

/// Opens the store at a location: `file:///folder`, or a folder's path.
pub fn open_location(location: &str) -> Result<Arc<dyn Store>, LocationError> {
    let path = match location.split_once("://") {
        None => location,
        Some(("file", path)) if path.starts_with('/') => path,
        Some(("file", _)) => return Err(LocationError::Host { location: location.to_owned() }),
        Some(_) => return Err(LocationError::Scheme { location: location.to_owned() }),
    };
    Ok(Arc::new(DiskStore::new(path)))
}

/// How many objects one listing call asks for.
const LIST_PAGE: usize = 1000;

/// Calls built from the narrow ones.
impl dyn Store + '_ {
    /// A whole object of at most `bytes_max` bytes.
    pub fn get(&self, name: &ObjectName, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let bytes = self.get_range(name, 0..bytes_max.saturating_add(1))?;
        if bytes.len() as u64 > bytes_max {
            let reason = format!("it is longer than {bytes_max} bytes, so it is not what its name says");
            return Err(StoreError::Refused { operation: "read", name: name.to_string(), reason });
        }
        Ok(bytes)
    }

    /// Every object whose name begins with `prefix`, page by page, in byte order.
    pub fn list_all(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut all: Vec<ObjectInfo> = Vec::new();
        loop {
            let page = self.list(prefix, all.last().map(|info| &info.name), LIST_PAGE)?;
            let full = page.len() >= LIST_PAGE;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// Puts an object and accepts one that exists only when its length and bytes match (FORMAT.md, "Write order").
    pub fn put_same(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, PutSameError> {
        let put = self.put_create(name, bytes)?;
        self.same_there(put, name, bytes)
    }

    /// [`put_same`](#method.put_same) with bytes the store need not copy.
    pub fn put_same_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>) -> Result<Put, PutSameError> {
        let put = self.put_create_shared(name, bytes)?;
        self.same_there(put, name, bytes)
    }

    fn same_there(&self, put: Put, name: &ObjectName, bytes: &[u8]) -> Result<Put, PutSameError> {
        if put == Put::Exists {
            let same = match self.get_range(name, 0..bytes.len() as u64 + 1) {
                Ok(there) => there == bytes,
                // A writer that may not read data back: the store checked the hash when the object was put.
                Err(StoreError::Refused { .. }) => self.head(name)? == Some(bytes.len() as u64),
                Err(error) => return Err(error.into()),
            };
            if !same {
                return Err(PutSameError::Taken { name: name.clone() });
            }
        }
        Ok(put)
    }
}

/// Why [`put_same`](trait.Store.html) did not leave the given bytes under the given name.
#[derive(Debug, thiserror::Error)]
pub enum PutSameError {
    /// Another object has the name.
    #[error("{name} exists with other content")]
    Taken {
        /// The taken name.
        name: ObjectName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
