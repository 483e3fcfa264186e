//! Stores around other stores: each says only what it does itself.

use super::{ObjectInfo, ObjectName, Put, Store, StoreError};
use crate::codec::Time;
use std::ops::Range;
use std::sync::Arc;

/// A store around another. What it does not say itself is handed on; a put of shared bytes is its own
/// [`put_create`](Layer::put_create), so that no put passes a layer by.
pub trait Layer: Send + Sync {
    /// The store beneath.
    fn inner(&self) -> &dyn Store;

    /// See [`Store::put_create`].
    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        self.inner().put_create(name, bytes)
    }

    /// See [`Store::put_create_shared`].
    fn put_create_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>) -> Result<Put, StoreError> {
        self.put_create(name, bytes)
    }

    /// See [`Store::get_range`].
    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.inner().get_range(name, range)
    }

    /// See [`Store::head`].
    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        self.inner().head(name)
    }

    /// See [`Store::list`].
    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        self.inner().list(prefix, after, limit)
    }

    /// See [`Store::delete`].
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner().delete(name)
    }

    /// See [`Store::sweep`].
    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        self.inner().sweep(name, at)
    }

    /// See [`Store::parallelism`].
    fn parallelism(&self) -> usize {
        self.inner().parallelism()
    }
}

impl<L: Layer> Store for L {
    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        Layer::put_create(self, name, bytes)
    }

    fn put_create_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>) -> Result<Put, StoreError> {
        Layer::put_create_shared(self, name, bytes)
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        Layer::get_range(self, name, range)
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        Layer::head(self, name)
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        Layer::list(self, prefix, after, limit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        Layer::delete(self, name)
    }

    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        Layer::sweep(self, name, at)
    }

    fn empty_trash(&self, before: Time) -> Result<u64, StoreError> {
        self.inner().empty_trash(before)
    }

    fn location(&self) -> String {
        self.inner().location()
    }

    fn parallelism(&self) -> usize {
        Layer::parallelism(self)
    }
}
