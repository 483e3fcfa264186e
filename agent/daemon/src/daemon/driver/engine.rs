//! The engine at work: started on a thread of its own, asked to end, its end always reported.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use nightkeep_engine::progress::{Stop, StopKind};
use nightkeep_platform::memory;
use nightkeep_rules::schedule::Timetable;
use nightkeep_wire::desired::AppliedPlan;
use nightkeep_wire::report::{ErrorClass, JobResult, Outcome};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{Driver, Working};
use crate::clock::Clock as _;
use crate::daemon::shared;
use crate::job::{self, Job, Run, Watch};

impl Driver<'_> {
    pub(super) fn start_engine(&mut self, job: Job, plan: AppliedPlan) {
        let watch = Arc::new(Watch::new(job.clone()));
        let stop = Stop::new();
        let run = self.run_of(job, plan, watch.clone(), stop.clone());
        tracing::debug!(job = %run.job.id, plan = run.plan.plan.name, cause = ?run.job.cause, "Backup started");
        let (results, failed) = (self.results.0.clone(), self.results.0.clone());
        let (job, now) = (run.job.clone(), self.clock.now());
        let thread = std::thread::Builder::new().name("job".to_owned()).spawn(move || {
            let guard = ReportsPanic { job: Some(run.job.clone()), results: results.clone() };
            let result = job::run(&run);
            guard.defuse();
            drop(run);
            memory::give_back();
            // With the driver gone the job is found as interrupted at the next start.
            let _ = results.blocking_send(Box::new(result));
        });
        match thread {
            Ok(_) => self.working = Some(Working { watch, stop }),
            Err(error) => {
                let mut result = job.without_point(Outcome::Error, Some(format!("no thread: {error}")), now);
                result.error_class = Some(ErrorClass::Machine);
                let _ = failed.try_send(Box::new(result));
            }
        }
    }

    fn run_of(&self, job: Job, plan: AppliedPlan, watch: Arc<Watch>, stop: Stop) -> Run {
        let config = &self.agent.config;
        let places = &self.agent.places;
        let zone = Timetable::new(&plan.plan.schedule, &self.core.facts.zone).map(|timetable| timetable.zone());
        let desired = self.core.desired.as_ref();
        Run {
            set_dates: self.core.state.plans.get(&plan.plan.id).and_then(|memory| memory.set_dates()),
            exclusions: desired.and_then(|desired| desired.exclusions.clone()),
            settings: desired.map(|desired| desired.settings.clone()).unwrap_or_default(),
            identity: shared::lock(&self.identity).clone(),
            link: self.link.clone(),
            runtime: Handle::current(),
            machine_root: config.machine_root(),
            hostname: self.core.facts.hostname.clone(),
            zone: zone.unwrap_or(chrono_tz::UTC),
            cache: places.cache(),
            own_folders: vec![places.state.clone(), places.identity.clone(), places.log.clone()],
            workers: config.jobs.workers,
            commands_file: places.commands_file(),
            patience: config.link.storage_patience_seconds.map(Duration::from_secs),
            journal: self.agent.journal.clone(),
            snapshots: places.snapshots(),
            job,
            plan,
            watch,
            stop,
        }
    }

    /// After a crash: what a pre command stopped is started again, although nobody is left who waits for it.
    pub(super) fn run_post_command(&self, job: &Job, plan: AppliedPlan) {
        let run = self.run_of(job.clone(), plan, Arc::new(Watch::new(job.clone())), Stop::new());
        let started = std::thread::Builder::new().name("post".to_owned()).spawn(move || job::after_crash(&run));
        if let Err(error) = started {
            tracing::error!(job = %job.id, %error, "The post command could not be run");
        }
    }

    pub(super) fn stop_engine(&self, kind: StopKind) {
        if let Some(working) = &self.working {
            tracing::info!(?kind, "The running job is asked to end");
            working.stop.request(kind);
        }
    }
}

/// A job whose thread panics is reported all the same.
struct ReportsPanic {
    job: Option<Job>,
    results: mpsc::Sender<Box<JobResult>>,
}

impl ReportsPanic {
    fn defuse(mut self) {
        self.job = None;
    }
}

impl Drop for ReportsPanic {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        let error = "a fault in the agent ended the backup; its last words are in the agent's log";
        let mut result = job.without_point(Outcome::Error, Some(error.to_owned()), Utc::now());
        result.error_class = Some(ErrorClass::Internal);
        let _ = self.results.blocking_send(Box::new(result));
    }
}
