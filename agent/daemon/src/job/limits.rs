//! What a run may take of network and processors, asked for all the while it goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use nightkeep_engine::backup::{CpuLimit, Executor};
use nightkeep_engine::progress::Stop;
use nightkeep_rules::limits::{Limits, limits_at};
use nightkeep_wire::plan::PlanOptions;

use super::throttle::Pulse;
use crate::clock::{Clock as _, HostClock};

/// The limits of a plan on this machine.
#[derive(Debug, Clone)]
pub(super) struct LimitsOf {
    pub(super) options: PlanOptions,
    /// Whose clock on the wall windows mean.
    pub(super) zone: Tz,
    /// The machine's own limit, which no plan and no window lifts.
    pub(super) upload_bytes_per_second_max: Option<u64>,
}

impl LimitsOf {
    pub(super) fn at(&self, now: DateTime<Utc>) -> Limits {
        let limits = limits_at(&self.options, self.zone, now);
        let upload = [limits.upload_bytes_per_second, self.upload_bytes_per_second_max].into_iter().flatten().min();
        Limits { upload_bytes_per_second: upload, ..limits }
    }

    /// Whether anything is ever limited.
    pub(super) fn limit_bytes(&self) -> bool {
        let options = &self.options;
        let windows = options.limit_windows.iter();
        let in_windows = windows
            .flat_map(|window| [window.upload_bytes_per_second_max, window.download_bytes_per_second_max])
            .flatten();
        let outside = [
            options.upload_bytes_per_second_max,
            options.download_bytes_per_second_max,
            self.upload_bytes_per_second_max,
        ];
        in_windows.chain(outside.into_iter().flatten()).next().is_some()
    }

    /// The bound on processor time; none where none is ever meant.
    pub(super) fn cpu(&self, clock: &Arc<HostClock>) -> Option<CpuLimit> {
        let windows = self.options.limit_windows.iter().map(|window| window.cpu_percent_max);
        windows.chain([self.options.cpu_percent_max]).flatten().next()?;
        let (limits, clock) = (self.clone(), clock.clone());
        Some(CpuLimit::new(move || limits.at(clock.now()).cpu_percent))
    }

    /// So many workers as their share of the processors has any use for; more would only hold memory.
    pub(super) fn executor(&self, usual: Executor, now: DateTime<Utc>, processors: usize) -> Executor {
        match (usual, self.at(now).cpu_percent) {
            (Executor::Threads { workers, uploads }, Some(percent)) => {
                let share = (processors * usize::from(percent)).div_ceil(100).max(1);
                Executor::Threads { workers: workers.min(share), uploads }
            }
            (usual, _) => usual,
        }
    }
}

/// Real time, until the run is asked to end.
pub(super) struct RealPulse {
    pub(super) begun: Instant,
    pub(super) limits: LimitsOf,
    pub(super) clock: Arc<HostClock>,
    pub(super) stop: Stop,
}

impl Pulse for RealPulse {
    fn passed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn limits(&self) -> Limits {
        self.limits.at(self.clock.now())
    }

    fn wait(&self, span: Duration) -> bool {
        if self.stop.requested().is_some() {
            return false;
        }
        std::thread::sleep(span);
        self.stop.requested().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(percent: Option<u8>) -> LimitsOf {
        let options = PlanOptions { cpu_percent_max: percent, ..PlanOptions::default() };
        LimitsOf { options, zone: Tz::UTC, upload_bytes_per_second_max: None }
    }

    #[test]
    fn workers_are_bounded_by_the_share_of_the_processors() {
        let usual = Executor::Threads { workers: 4, uploads: 2 };
        let workers = |percent, processors| match limits(percent).executor(usual, DateTime::UNIX_EPOCH, processors) {
            Executor::Threads { workers, uploads } => {
                assert_eq!(uploads, 2);
                workers
            }
            other @ Executor::Inline => panic!("{other:?}"),
        };
        assert_eq!(workers(None, 16), 4);
        assert_eq!(workers(Some(100), 16), 4);
        assert_eq!(workers(Some(12), 16), 2);
        assert_eq!(workers(Some(1), 2), 1);
        assert_eq!(workers(Some(50), 2), 1);
    }

    #[test]
    fn a_plan_without_limits_pays_nothing_for_them() {
        assert!(limits(None).cpu(&Arc::default()).is_none() && !limits(None).limit_bytes());
        assert!(limits(Some(5)).cpu(&Arc::default()).is_some());
    }
}
