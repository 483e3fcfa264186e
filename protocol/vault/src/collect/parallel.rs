//! Many small reads at once.
//!
//! **Invariant**: answers come in the order of the items, and the first error ends the work.

use crate::vault::VaultError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Reads in flight. They wait for the storage, not for a processor.
pub(crate) const WORKERS: usize = 8;

/// Asks `work` of every item, on at most `workers` threads.
pub(crate) fn parallel<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> Result<R, VaultError> + Sync,
) -> Result<Vec<R>, VaultError> {
    if items.len() <= 1 || workers <= 1 {
        return items.iter().map(work).collect();
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { break };
            let answer = work(item).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            done.push((number, answer));
        }
        Ok(done)
    };
    let parts: Vec<Result<Vec<(usize, R)>, VaultError>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.min(items.len())).map(|_| scope.spawn(run)).collect();
        // A worker that panics takes the run with it: nothing is decided on half of the answers.
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut all = Vec::with_capacity(items.len());
    for part in parts {
        all.extend(part?);
    }
    all.sort_unstable_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, answer)| answer).collect())
}
