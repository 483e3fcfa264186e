//! A bound in bytes on what is between two stages.
//!
//! **Invariant**: what is out never passes the bound, except for one thing that is larger than all of it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// So many bytes may be out at once. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: u64,
    out: Mutex<u64>,
    given_back: Condvar,
}

/// Bytes that are out; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self(Arc::new(Inner { max, out: Mutex::new(0), given_back: Condvar::new() }))
    }

    /// Waits until `bytes` more may be out. More than the whole bound waits until nothing else is.
    pub(crate) fn take(&self, bytes: u64) -> Permit {
        let out = self.0.out.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |out: &mut u64| *out > 0 && *out + bytes > self.0.max;
        let mut out = self.0.given_back.wait_while(out, full).unwrap_or_else(PoisonError::into_inner);
        *out += bytes;
        Permit { budget: self.clone(), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.0.out.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.0.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a thread of the test that dies has failed it")]
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn no_more_than_the_bound_is_out_at_once_however_many_ask() {
        let (budget, out, most) = (Budget::new(100), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for worker in 0..8u64 {
                let (budget, out, most) = (&budget, &out, &most);
                scope.spawn(move || {
                    for n in 0..500u64 {
                        let bytes = (worker * 7 + n) % 60 + 1;
                        let permit = budget.take(bytes);
                        most.fetch_max(out.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        out.fetch_sub(bytes, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100);
    }

    #[test]
    fn what_is_larger_than_the_bound_goes_alone() {
        let budget = Budget::new(10);
        let large = budget.take(50);
        let other = std::thread::spawn({
            let budget = budget.clone();
            move || budget.take(1).bytes
        });
        drop(large);
        assert_eq!(other.join().unwrap(), 1);
    }
}
