//! What happens to one try of a request: how many bytes moved, what the server said, whether it hangs.
//!
//! **Invariant**: a try knows only its own request. It is bound to the task that makes it, so that the layers between,
//! which are not ours, need not carry it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A request that moves fewer bytes than this in a whole [`hung_after`](crate::StorageOptions::hung_after) hangs: no
/// line that is of use for a backup is that slow, and a trickle holds a place for hours.
const MOVING_BYTES_MIN: u64 = 64 << 10;

/// How many looks make one span of [`hung_after`](crate::StorageOptions::hung_after).
const LOOKS: u32 = 8;

tokio::task_local! {
    static CURRENT: Arc<Attempt>;
}

/// A server's refusal, or what it answered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The provider's word for it: `NoSuchBucket`, `BlobAlreadyExists`.
    pub(crate) code: Option<String>,
    /// Its sentence.
    pub(crate) message: Option<String>,
}

/// One try.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    moved: AtomicU64,
    paused: AtomicBool,
    /// How long a body's pieces after the first are held back, in microseconds.
    hold_us: AtomicU64,
    answer: Mutex<Option<Answer>>,
}

impl Attempt {
    /// The try that the running task makes.
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }

    /// Runs `work` as this try; none when it hung and was ended.
    pub(crate) async fn run<T>(self: &Arc<Self>, hung_after: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = CURRENT.scope(self.clone(), work) => Some(result),
            () = self.hangs(hung_after) => None,
        }
    }

    /// Ends when the try has moved next to nothing for `span`.
    async fn hangs(&self, span: Duration) {
        let look_every = (span / LOOKS).max(Duration::from_millis(1));
        let (mut before, mut idle_looks) = (0, 0);
        while idle_looks < LOOKS {
            tokio::time::sleep(look_every).await;
            let moved = self.moved.load(Ordering::Relaxed);
            if moved - before >= MOVING_BYTES_MIN || self.paused.load(Ordering::Relaxed) {
                (before, idle_looks) = (moved, 0);
            } else {
                idle_looks += 1;
            }
        }
    }

    /// Bytes of a body moved.
    pub(crate) fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for something of our own; that is no hanging.
    pub(crate) async fn pause<T>(&self, wait: impl Future<Output = T>) -> T {
        self.paused.store(true, Ordering::Relaxed);
        let result = wait.await;
        self.paused.store(false, Ordering::Relaxed);
        result
    }

    /// Holds back the pieces of the body after its first.
    pub(crate) fn hold(&self, span: Duration) {
        self.hold_us.store(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long a piece after the first is to be held back.
    pub(crate) fn held(&self) -> Option<Duration> {
        let us = self.hold_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }

    /// The server answered.
    pub(crate) fn answered(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    /// What the server answered last, when it did.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot start threads has failed")]
    use super::*;
    use std::future::pending;

    /// Real time: so long that a busy machine does not stand still for a tenth of it.
    const SPAN: Duration = Duration::from_millis(400);

    fn run<T>(attempt: &Arc<Attempt>, work: impl Future<Output = T>) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(attempt.run(SPAN, work))
    }

    #[test]
    fn a_request_that_does_nothing_is_ended() {
        assert_eq!(run(&Arc::default(), pending::<()>()), None);
    }

    #[test]
    fn a_trickle_is_ended_and_a_slow_line_is_not() {
        let trickle = async {
            loop {
                Attempt::current().moved(1);
                tokio::time::sleep(SPAN / 10).await;
            }
        };
        assert_eq!(run::<()>(&Arc::default(), trickle), None);
        let slow = async {
            for _ in 0..40 {
                Attempt::current().moved(MOVING_BYTES_MIN as usize);
                tokio::time::sleep(SPAN / 10).await;
            }
        };
        assert_eq!(run(&Arc::default(), slow), Some(()), "four spans long, and never still");
    }

    #[test]
    fn waiting_for_our_own_turn_is_no_hanging() {
        let waits = async { Attempt::current().pause(tokio::time::sleep(SPAN * 4)).await };
        assert_eq!(run(&Arc::default(), waits), Some(()));
    }
}
