//! Counts what is asked of a store: requests by kind, bytes each way.
//!
//! **Invariant**: every call is passed on unchanged and counted once, whether it succeeds or not; bytes are counted only
//! where they arrived.

use super::{Layer, ObjectInfo, ObjectName, Put, Store, StoreError};
use crate::codec::Time;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was asked of a store so far. Shared with the store that counts.
#[derive(Debug, Default)]
pub struct Counts {
    puts: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    failures: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
}

/// The figures of one moment; the difference of two is what happened between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    /// Objects put, or found to exist.
    pub puts: u64,
    /// Objects or ranges read.
    pub gets: u64,
    /// Lengths asked for.
    pub heads: u64,
    /// Pages listed.
    pub lists: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// How many of all these failed; an object that is not there counts as failed.
    pub failures: u64,
    /// Bytes of objects put.
    pub bytes_out: u64,
    /// Bytes of objects read; listings are not counted.
    pub bytes_in: u64,
}

impl Counts {
    /// What was counted so far.
    pub fn now(&self) -> Requests {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Requests {
            puts: read(&self.puts),
            gets: read(&self.gets),
            heads: read(&self.heads),
            lists: read(&self.lists),
            deletes: read(&self.deletes),
            failures: read(&self.failures),
            bytes_out: read(&self.bytes_out),
            bytes_in: read(&self.bytes_in),
        }
    }
}

impl Requests {
    /// All requests together.
    pub fn total(&self) -> u64 {
        self.puts + self.gets + self.heads + self.lists + self.deletes
    }

    /// What came after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            puts: self.puts - earlier.puts,
            gets: self.gets - earlier.gets,
            heads: self.heads - earlier.heads,
            lists: self.lists - earlier.lists,
            deletes: self.deletes - earlier.deletes,
            failures: self.failures - earlier.failures,
            bytes_out: self.bytes_out - earlier.bytes_out,
            bytes_in: self.bytes_in - earlier.bytes_in,
        }
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { puts, gets, heads, lists, deletes, failures, bytes_out, bytes_in } = self;
        write!(
            f,
            "{} requests ({puts} put, {gets} get, {heads} head, {lists} list, {deletes} delete; {failures} failed), ",
            self.total()
        )?;
        write!(f, "{bytes_out} bytes out, {bytes_in} bytes in")
    }
}

/// A store that counts what is asked of the one inside.
pub struct CountedStore {
    inner: Arc<dyn Store>,
    counts: Arc<Counts>,
}

impl CountedStore {
    /// Wraps a store; the counts can be read at any time.
    #[expect(clippy::new_ret_no_self, reason = "the counts are of no use without the store, nor it without them")]
    pub fn new(inner: Arc<dyn Store>) -> (Arc<dyn Store>, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        (Arc::new(Self { inner, counts: counts.clone() }), counts)
    }

    fn count<T>(&self, kind: &AtomicU64, result: Result<T, StoreError>) -> Result<T, StoreError> {
        kind.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl Layer for CountedStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        let put = self.count(&self.counts.puts, self.inner.put_create(name, bytes))?;
        self.counts.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(put)
    }

    fn put_create_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>) -> Result<Put, StoreError> {
        let put = self.count(&self.counts.puts, self.inner.put_create_shared(name, bytes))?;
        self.counts.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(put)
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let bytes = self.count(&self.counts.gets, self.inner.get_range(name, range))?;
        self.counts.bytes_in.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        self.count(&self.counts.heads, self.inner.head(name))
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        self.count(&self.counts.lists, self.inner.list(prefix, after, limit))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.count(&self.counts.deletes, self.inner.delete(name))
    }

    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        self.count(&self.counts.deletes, self.inner.sweep(name, at))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot write has failed")]
    use super::*;
    use crate::store::{MemoryStore, conformance};

    #[test]
    fn it_keeps_the_contract() {
        conformance::run(&*CountedStore::new(Arc::new(MemoryStore::new())).0);
    }

    #[test]
    fn every_request_is_counted_once_and_bytes_where_they_arrive() {
        let (store, counts) = CountedStore::new(Arc::new(MemoryStore::new()));
        let (name, none) = (ObjectName::new("a/b").unwrap(), ObjectName::new("a/c").unwrap());
        store.put_create(&name, b"12345").unwrap();
        store.get_range(&name, 1..3).unwrap();
        let before = counts.now();
        assert!(store.get(&none, 10).is_err());
        store.head(&name).unwrap();
        store.list_all("a/").unwrap();
        store.delete(&name).unwrap();
        let expected = Requests { puts: 1, gets: 1, bytes_out: 5, bytes_in: 2, ..Requests::default() };
        assert_eq!(before, expected);
        let expected = Requests { gets: 1, heads: 1, lists: 1, deletes: 1, failures: 1, ..Requests::default() };
        assert_eq!(counts.now().since(&before), expected);
        assert_eq!(counts.now().total(), 6);
    }
}
