//! A store in memory, for tests and simulation.

use super::{ObjectInfo, ObjectName, Put, Store, StoreError};
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Objects in a map; clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<ObjectName, Arc<[u8]>>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Arc<[u8]>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces an object's bytes behind the contract's back: damage, for tests.
    pub fn damage(&self, name: &ObjectName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.lock();
        let mut bytes = objects.get(name).map(|bytes| bytes.to_vec()).unwrap_or_default();
        change(&mut bytes);
        objects.insert(name.clone(), bytes.into());
    }
}

impl Store for MemoryStore {
    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        let mut objects = self.lock();
        if objects.contains_key(name) {
            return Ok(Put::Exists);
        }
        objects.insert(name.clone(), bytes.into());
        Ok(Put::Created)
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let object = self.lock().get(name).cloned();
        let object = object.ok_or_else(|| StoreError::NotFound { name: name.clone() })?;
        let end = range.end.min(object.len() as u64);
        Ok(object[range.start.min(end) as usize..end as usize].to_vec())
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        Ok(self.lock().get(name).map(|bytes| bytes.len() as u64))
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        let objects = self.lock();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let matching = objects.range::<ObjectName, _>((start, Bound::Unbounded));
        Ok(matching
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .take(limit)
            .map(|(name, bytes)| ObjectInfo { name: name.clone(), bytes: bytes.len() as u64 })
            .collect())
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.lock().remove(name);
        Ok(())
    }

    fn location(&self) -> String {
        "memory:".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        crate::store::conformance::run(&MemoryStore::new());
    }
}
