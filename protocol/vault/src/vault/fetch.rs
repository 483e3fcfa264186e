//! Reading many small objects with several requests in flight.
//!
//! **Invariant**: answers are handed on in the order of the names, and at most one batch of them is in memory.

use super::{Vault, VaultError};
use crate::object::OBJECT_BYTES_MAX;
use crate::store::{ObjectInfo, StoreError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Objects of a batch at most, and their bytes as the listing has them.
const BATCH_OBJECTS: usize = 256;
const BATCH_BYTES: u64 = 6 << 20;

type Answer = Result<Vec<u8>, StoreError>;

impl Vault {
    /// Reads small objects and hands each to `take`, in order.
    pub(super) fn fetch(
        &self,
        infos: &[ObjectInfo],
        take: &mut dyn FnMut(&ObjectInfo, Answer) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let mut rest = infos;
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(batch_length(rest));
            rest = behind;
            if self.local.requests <= 1 || batch.len() == 1 {
                batch.iter().try_for_each(|info| take(info, self.store.get(&info.name, OBJECT_BYTES_MAX)))?;
            } else {
                let answers = self.fetch_batch(batch);
                batch.iter().zip(answers).try_for_each(|(info, answer)| take(info, answer))?;
            }
        }
        Ok(())
    }

    fn fetch_batch(&self, batch: &[ObjectInfo]) -> Vec<Answer> {
        let next = AtomicUsize::new(0);
        let answers: Mutex<Vec<Option<Answer>>> = Mutex::new(batch.iter().map(|_| None).collect());
        let work = || {
            while let Some((at, info)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, batch.get(at)?)))
            {
                let answer = self.store.get(&info.name, OBJECT_BYTES_MAX);
                answers.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(answer);
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.local.requests.min(batch.len()) {
                scope.spawn(work);
            }
        });
        let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        answers.into_iter().flatten().collect()
    }
}

/// How many objects the next batch takes: at least one.
fn batch_length(infos: &[ObjectInfo]) -> usize {
    let mut bytes = 0;
    let fitting = infos.iter().take(BATCH_OBJECTS).take_while(|info| {
        bytes += info.bytes;
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1)
}
