//! How much of the processors a run may take: processor time is paid for with rest.
//!
//! **Invariant**: over any span of a run, its stages take at most their share of all processors, plus one unit of work (a block,
//! a batch) for each thread.

use crate::progress::Stop;
use nightkeep_platform::process;
use std::cell::Cell;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A rest is cut into pieces, so that a stop, and an hour in which there is no limit, are noticed soon.
const REST_MAX: Duration = Duration::from_millis(100);

type Percent = dyn Fn() -> Option<u8> + Send + Sync;

/// A bound on the processor time of a run, shared by its threads.
#[derive(Clone)]
pub struct CpuLimit(Arc<Inner>);

struct Inner {
    percent: Box<Percent>,
    processors: usize,
    begun: Instant,
    debt: Mutex<Debt>,
}

impl CpuLimit {
    /// A limit in percent of all processors, asked for anew all the time; none means no limit at that moment. Where the system
    /// does not count a thread's time there is none either.
    pub fn new(percent: impl Fn() -> Option<u8> + Send + Sync + 'static) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner { percent: Box::new(percent), processors, begun: Instant::now(), debt: Mutex::default() }))
    }

    /// Processors' worth of time now.
    fn share(&self) -> Option<f64> {
        let percent = (self.0.percent)()?;
        Some(self.0.processors as f64 * f64::from(percent.clamp(1, 100)) / 100.0)
    }

    /// Pays for what the calling thread has worked since it was here last.
    fn rest(&self, stop: &Stop) {
        thread_local!(static PAID: Cell<Duration> = const { Cell::new(Duration::ZERO) });
        let Some(worked) = process::thread_time() else { return };
        let mut spent = worked.saturating_sub(PAID.replace(worked));
        while let Some(share) = self.share() {
            let due =
                self.0.debt.lock().unwrap_or_else(PoisonError::into_inner).charge(spent, share, self.0.begun.elapsed());
            spent = Duration::ZERO;
            if due.is_zero() || stop.requested().is_some() {
                break;
            }
            thread::sleep(due.min(REST_MAX));
        }
    }
}

impl Debug for CpuLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuLimit").field("percent", &(self.0.percent)()).finish_non_exhaustive()
    }
}

/// Processor time that was taken and not rested for.
#[derive(Debug, Default)]
struct Debt {
    owed: Duration,
    /// When it was looked at last, since the begin.
    at: Duration,
}

impl Debt {
    /// Adds what was spent, takes off what the time since the last look has paid, and answers how long to rest. Time in which
    /// nothing was owed is not saved up for later.
    fn charge(&mut self, spent: Duration, share: f64, now: Duration) -> Duration {
        let paid = now.saturating_sub(self.at).mul_f64(share);
        self.owed = (self.owed + spent).saturating_sub(paid);
        self.at = now.max(self.at);
        self.owed.div_f64(share)
    }
}

/// A thread's way to keep to the limit, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Pacer {
    limit: Option<CpuLimit>,
    stop: Stop,
}

impl Pacer {
    pub(crate) fn new(limit: Option<&CpuLimit>, stop: &Stop) -> Self {
        Self { limit: limit.cloned(), stop: stop.clone() }
    }

    /// Between two units of work.
    pub(crate) fn rest(&self) {
        if let Some(limit) = &self.limit {
            limit.rest(&self.stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn under_a_virtual_clock_work_takes_its_share_and_idleness_is_not_saved_up() {
        for (share, percent) in [(0.5, 50), (1.0, 100), (0.1, 10), (3.0, 300)] {
            let (mut debt, mut now, mut worked) = (Debt::default(), Duration::ZERO, Duration::ZERO);
            for unit in [3, 40, 11, 7, 90, 5].into_iter().cycle().take(600).map(MS) {
                // Three processors work on it at once.
                now += unit / 3;
                worked += unit;
                now += debt.charge(unit, share, now);
            }
            let taken = worked.as_secs_f64() / now.as_secs_f64() * 100.0;
            assert!(taken <= f64::from(percent) * 1.001, "{taken} of {percent} percent");
            assert!(taken >= f64::from(percent) * 0.99, "{taken} of {percent} percent");
        }
        let mut debt = Debt::default();
        assert_eq!(debt.charge(Duration::ZERO, 0.5, MS(60_000)), Duration::ZERO);
        assert_eq!(debt.charge(MS(100), 0.5, MS(60_000)), MS(200), "the idle minute gives no credit");
    }

    #[test]
    fn a_thread_that_works_without_end_is_held_to_a_tenth_and_a_stop_frees_it() {
        let limit = CpuLimit::new(|| Some(10));
        let stop = Stop::new();
        let pacer = Pacer::new(Some(&limit), &stop);
        let worker = thread::spawn(move || {
            let begun = Instant::now();
            while begun.elapsed() < MS(1500) {
                let until = Instant::now() + MS(5);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                pacer.rest();
            }
            (process::thread_time(), begun.elapsed())
        });
        let Ok((worked, passed)) = worker.join() else { panic!("the worker panicked") };
        let bound = passed.mul_f64(0.1 * limit.0.processors as f64) + MS(30);
        assert!(worked.is_some_and(|worked| worked <= bound), "{worked:?} of {passed:?}, at most {bound:?}");
        stop.request(crate::progress::StopKind::Interrupt);
        limit.0.debt.lock().unwrap_or_else(PoisonError::into_inner).owed = Duration::from_secs(3600);
        Pacer::new(Some(&limit), &stop).rest();
    }
}
