//! Drives one enrolled machine: brings events to the core, carries out its effects.
//!
//! Invariant: a change is saved with its reports before the outbox gets them and before anything is started, so a crash
//! at any moment loses no report and makes none twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use nightkeep_engine::progress::{Stop, StopKind};
use nightkeep_platform::power;
use nightkeep_rules::schedule::Timetable;
use nightkeep_wire::control::{Answer, Event, Link, Op, Reply};
use nightkeep_wire::desired::{AppliedPlan, DesiredState};
use nightkeep_wire::progress::JobProgress;
use nightkeep_wire::report::{ErrorClass, JobResult, Outcome, ReportBody};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::control::Order;
use super::core::{Conditions, Core, Effect};
use super::poller::Poller;
use super::reporter::Reporter;
use super::shared::{self, SharedIdentity, SharedOutbox};
use super::state::AgentState;
use super::{Agent, DaemonError, IDENTITY_LOOK, asked_to_end, orders, snapshot};
use crate::clock::{Clock as _, HostClock};
use crate::facts;
use crate::files;
use crate::identity::Identity;
use crate::job::{self, Job, Run, Watch};
use crate::link::{HostLink, Signer};
use crate::outbox::{Opened, Outbox};

/// How often local subscribers hear of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How often the state is saved when nothing but time has passed.
const SAVE_EVERY: chrono::Duration = chrono::Duration::minutes(10);
/// How long a leaving or ending daemon waits for its last reports to be acknowledged.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Why the driver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The daemon shall end.
    Asked,
    /// The machine left its host, or belongs to another now.
    IdentityChanged,
}

/// The engine at work.
struct Working {
    watch: Arc<Watch>,
    stop: Stop,
}

/// Drives one enrolled machine.
pub(super) struct Driver<'a> {
    agent: &'a mut Agent,
    core: Core,
    clock: Arc<HostClock>,
    link: HostLink,
    identity: SharedIdentity,
    outbox: SharedOutbox,
    /// Reports that are not in the outbox yet.
    unrecorded: VecDeque<(DateTime<Utc>, ReportBody)>,
    working: Option<Working>,
    results: (mpsc::Sender<Box<JobResult>>, mpsc::Receiver<Box<JobResult>>),
    desired: mpsc::Receiver<Box<DesiredState>>,
    link_state: watch::Receiver<Link>,
    progress: watch::Sender<Option<JobProgress>>,
    wake_reporter: Arc<Notify>,
    drained: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
    leaving: bool,
    saved_at: DateTime<Utc>,
}

impl<'a> Driver<'a> {
    /// Opens state and outbox and starts the tasks that speak with the host.
    pub(super) fn open(agent: &'a mut Agent, mut identity: Identity) -> Result<Self, DaemonError> {
        let places = agent.places.clone();
        let Some(enrolled) = identity.enrolled.clone() else { unreachable!("the caller looked for an enrolment") };
        let facts = facts::gather(&agent.config);
        let outbox = open_outbox(agent, &mut identity, enrolled.machine)?;
        let mut state: AgentState = load_or_begin_anew(&places.jobs());
        let mut desired: Option<DesiredState> = load_or_begin_anew(&places.desired());
        if state.machine != Some(enrolled.machine) {
            desired = desired.filter(|_| state.machine.is_none());
            state = AgentState { machine: Some(enrolled.machine), ..AgentState::default() };
        }
        let intents = std::mem::take(&mut state.intents);
        let unrecorded = intents.unrecorded(outbox.incarnation(), outbox.next_sequence());
        let mut core = Core::new(enrolled.machine, facts, desired, state, agent.config.jobs.queue_max);
        core.has_vault = identity.has_vault();
        let clock = Arc::new(HostClock::default());
        let signer = Signer { machine: enrolled.machine, key: identity.signing_key() };
        let timeout = Duration::from_secs(agent.config.link.connect_timeout_seconds.max(1));
        let link = HostLink::new(&enrolled.host_url, enrolled.pin, Some(signer), clock.clone(), timeout)?;
        let (identity, outbox) = (Arc::new(identity.into()), Arc::new(outbox.into()));
        let offline = Link::Offline {
            host: enrolled.host_url.clone(),
            last_contact: None,
            message: "not contacted yet".to_owned(),
        };
        let (link_sender, link_state) = watch::channel(offline);
        let (desired_sender, desired) = mpsc::channel(1);
        let (wake_reporter, drained, host_answers) = <(Arc<Notify>, Arc<Notify>, Arc<Notify>)>::default();
        let progress = watch::Sender::new(None);
        let retry_max = Duration::from_secs(agent.config.link.retry_seconds_max.max(1));
        let poller = Poller {
            link: link.clone(),
            places: places.clone(),
            identity: SharedIdentity::clone(&identity),
            desired: desired_sender,
            state: link_sender,
            host_answers: host_answers.clone(),
            wake_reporter: wake_reporter.clone(),
            retry_max,
        };
        let reporter = Reporter {
            link: link.clone(),
            places,
            identity: SharedIdentity::clone(&identity),
            outbox: SharedOutbox::clone(&outbox),
            wake: wake_reporter.clone(),
            drained: drained.clone(),
            host_answers,
            retry_max,
        };
        let tasks = vec![
            tokio::spawn(poller.run()),
            tokio::spawn(reporter.run()),
            tokio::spawn(tell_progress(link.clone(), progress.subscribe())),
        ];
        let saved_at = clock.now();
        tracing::info!(machine = %enrolled.machine, host = enrolled.host_url, "The agent serves its host");
        Ok(Self {
            agent,
            core,
            clock,
            link,
            identity,
            outbox,
            unrecorded,
            working: None,
            results: mpsc::channel(1),
            desired,
            link_state,
            progress,
            wake_reporter,
            drained,
            tasks,
            leaving: false,
            saved_at,
        })
    }

    /// Serves until the daemon shall end or the machine belongs here no more.
    pub(super) async fn drive(mut self) -> End {
        let effects = self.core.started(self.clock.now());
        self.commit(effects);
        let mut look = tokio::time::interval(IDENTITY_LOOK);
        let mut pulse = tokio::time::interval(PROGRESS_EVERY);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut asked = self.agent.asked.clone();
        let mut next_look_at_schedule = Instant::now();
        let end = loop {
            tokio::select! {
                () = asked_to_end(&mut asked) => break End::Asked,
                Some(order) = self.agent.inbox.recv() => self.obey(order),
                Some(result) = self.results.1.recv() => self.job_ended(*result),
                Some(desired) = self.desired.recv() => self.take_desired(*desired),
                changed = self.link_state.changed() => {
                    if changed.is_ok() {
                        self.publish_status();
                    }
                    continue;
                }
                _ = pulse.tick(), if self.working.is_some() => {
                    self.publish_progress();
                    continue;
                }
                _ = look.tick() => {
                    if !self.is_still_us() {
                        break End::IdentityChanged;
                    }
                    if Instant::now() < next_look_at_schedule {
                        continue;
                    }
                }
            }
            if self.leaving {
                break End::IdentityChanged;
            }
            next_look_at_schedule = Instant::now() + self.tick();
        };
        self.wind_down(end).await;
        end
    }

    /// Looks at the schedule; answers when to look again.
    fn tick(&mut self) -> Duration {
        let now = self.clock.now();
        self.core.has_vault = shared::lock(&self.identity).has_vault();
        let (effects, again) = self.core.tick(Conditions { on_battery: power::on_battery() }, now);
        if !effects.is_empty() || !self.unrecorded.is_empty() || now - self.saved_at > SAVE_EVERY {
            self.commit(effects);
        }
        (again - now).to_std().unwrap_or(Duration::ZERO)
    }

    fn obey(&mut self, order: Order) {
        let now = self.clock.now();
        let answer = match order.op {
            Op::Status | Op::Subscribe => Answer::Ok(Reply::Status(Box::new(self.status(now)))),
            Op::Start { .. } | Op::Stop { .. } | Op::Pause { .. } | Op::Resume | Op::Unknown => {
                let (answer, effects) = orders::obey(&mut self.core, &order.op, &order.caller, now);
                if matches!(answer, Answer::Ok(_)) {
                    tracing::info!(by = order.caller.name, op = ?order.op, "Local order");
                    self.commit(effects);
                    self.publish_status();
                }
                answer
            }
        };
        // The caller may have hung up.
        let _ = order.reply.send(answer);
    }

    fn take_desired(&mut self, desired: DesiredState) {
        self.core.has_vault = shared::lock(&self.identity).has_vault();
        tracing::debug!(version = desired.version, plans = desired.plans.len(), "Desired state");
        let effects = self.core.desired(desired, self.clock.now());
        self.commit(effects);
        self.publish_status();
    }

    fn job_ended(&mut self, result: JobResult) {
        self.working = None;
        self.progress.send_replace(None);
        let effects = self.core.finished(result, self.clock.now());
        self.commit(effects);
        self.publish_status();
    }

    /// Saves, records, then acts.
    fn commit(&mut self, effects: Vec<Effect>) {
        let now = self.clock.now();
        let mut actions = Vec::new();
        for effect in effects {
            match effect {
                Effect::Report(body) => {
                    self.tell_of_end(&body);
                    self.unrecorded.push_back((now, body));
                }
                Effect::Run { .. } | Effect::Stop(_) | Effect::Leave => actions.push(effect),
            }
        }
        tokio::task::block_in_place(|| self.save_and_record(now));
        for action in actions {
            match action {
                Effect::Run { job, plan } => self.start_engine(job, *plan),
                Effect::Stop(kind) => self.stop_engine(kind),
                Effect::Leave => self.leaving = true,
                Effect::Report(_) => {}
            }
        }
    }

    fn save_and_record(&mut self, now: DateTime<Utc>) {
        let mut outbox = shared::lock(&self.outbox);
        let intents = &mut self.core.state.intents;
        intents.incarnation = Some(outbox.incarnation());
        intents.from = outbox.next_sequence();
        intents.reports = self.unrecorded.clone();
        shared::log_failure("The state could not be saved", files::save(&self.agent.places.jobs(), &self.core.state));
        self.saved_at = now;
        while let Some((at, body)) = self.unrecorded.front().cloned() {
            let recorded = outbox.append(at, body);
            if let Err(error) = &recorded {
                tracing::error!(error = error as &dyn std::error::Error, "A report could not be recorded");
            }
            // What failed is kept and tried again at the next look at the schedule; what can never be recorded is not.
            if recorded.is_err_and(|error| error.is_passing()) {
                break;
            }
            self.unrecorded.pop_front();
        }
        drop(outbox);
        self.wake_reporter.notify_one();
    }

    fn start_engine(&mut self, job: Job, plan: AppliedPlan) {
        let watch = Arc::new(Watch::new(job.clone()));
        let stop = Stop::new();
        let run = self.run_of(job, plan, watch.clone(), stop.clone());
        tracing::info!(job = %run.job.id, plan = run.plan.plan.name, cause = ?run.job.cause, "Backup started");
        let (results, failed) = (self.results.0.clone(), self.results.0.clone());
        let (job, now) = (run.job.clone(), self.clock.now());
        let thread = std::thread::Builder::new().name("job".to_owned()).spawn(move || {
            let guard = ReportsPanic { job: Some(run.job.clone()), results: results.clone() };
            let result = job::run(&run);
            guard.defuse();
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
            machine_root: config.machine_root.clone().unwrap_or_else(|| "/".into()),
            hostname: self.core.facts.hostname.clone(),
            zone: zone.unwrap_or(chrono_tz::UTC),
            own_folders: vec![places.state.clone(), places.identity.clone(), places.log.clone()],
            workers: config.jobs.workers,
            patience: Duration::from_secs(config.link.storage_patience_seconds),
            job,
            plan,
            watch,
            stop,
        }
    }

    fn stop_engine(&self, kind: StopKind) {
        if let Some(working) = &self.working {
            tracing::info!(?kind, "The running job is asked to end");
            working.stop.request(kind);
        }
    }

    fn status(&self, now: DateTime<Utc>) -> nightkeep_wire::control::StatusSnapshot {
        let customer = shared::lock(&self.identity).enrolled.as_ref().map(|e| e.customer.clone());
        let around = snapshot::Surroundings {
            customer: customer.unwrap_or_default(),
            link: self.link_state.borrow().clone(),
            running: self.working.as_ref().map(|working| working.watch.progress(now)),
            reports_waiting: shared::lock(&self.outbox).waiting() + self.unrecorded.len() as u64,
        };
        snapshot::of(&self.core, around, now)
    }

    fn publish_status(&self) {
        if self.agent.events.receiver_count() > 0 {
            // Without subscribers nobody hears, which is fine.
            let _ = self.agent.events.send(Event::Status(Box::new(self.status(self.clock.now()))));
        }
    }

    fn publish_progress(&self) {
        let Some(working) = &self.working else { return };
        let progress = working.watch.progress(self.clock.now());
        self.progress.send_replace(Some(progress.clone()));
        let _ = self.agent.events.send(Event::Progress(progress));
    }

    /// Subscribers hear how a job ended.
    fn tell_of_end(&self, body: &ReportBody) {
        let ReportBody::JobFinished(result) = body else { return };
        let message = super::words::of_result(result);
        tracing::info!(job = %result.job, outcome = ?result.outcome, summary = message, "Backup ended");
        let (job, plan, outcome) = (result.job, result.plan, result.outcome);
        let recovery_point = result.recovery_point.clone();
        let _ = self.agent.events.send(Event::Finished { job, plan, outcome, recovery_point, message });
    }

    /// Whether the stored identity is still the one that is driven.
    fn is_still_us(&self) -> bool {
        match Identity::load(&self.agent.places) {
            Ok(Some(stored)) => stored.enrolled.is_some_and(|enrolled| enrolled.machine == self.core.machine),
            Ok(None) => false,
            // Unreadable for a moment is no reason to leave.
            Err(_) => true,
        }
    }

    /// Interrupts what runs, gives the last reports a chance, and lets the tasks go.
    async fn wind_down(&mut self, end: End) {
        let effects = self.core.shut_down();
        self.commit(effects);
        let grace = Duration::from_secs(self.agent.config.jobs.stop_grace_seconds);
        if self.working.is_some() {
            match tokio::time::timeout(grace, self.results.1.recv()).await {
                Ok(Some(result)) => {
                    self.working = None;
                    let effects = self.core.finished(*result, self.clock.now());
                    // What would start next waits for the next start of the daemon.
                    self.commit_reports_only(effects);
                }
                Ok(None) | Err(_) => tracing::warn!("The job did not end in time; it is reported as interrupted later"),
            }
        }
        self.last_reports().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        if self.leaving {
            self.leave();
        }
        tracing::info!(?end, "The agent ends serving its host");
    }

    fn commit_reports_only(&mut self, effects: Vec<Effect>) {
        let mut kept = Vec::new();
        for effect in effects {
            match effect {
                Effect::Report(ReportBody::JobStarted(_)) | Effect::Stop(_) | Effect::Leave => {}
                Effect::Run { job, .. } => {
                    // It goes back to the front of the queue, as if its turn had not come.
                    self.core.state.running = None;
                    self.core.state.queue.push_front(Job { started: None, ..job });
                }
                Effect::Report(_) => kept.push(effect),
            }
        }
        self.commit(kept);
    }

    async fn last_reports(&self) {
        let drained = async {
            while shared::lock(&self.outbox).waiting() > 0 {
                self.drained.notified().await;
            }
        };
        let reachable = matches!(&*self.link_state.borrow(), Link::Online { .. });
        if reachable && tokio::time::timeout(LAST_REPORTS, drained).await.is_err() {
            tracing::info!("Some reports wait for the next start");
        }
    }

    /// Forgets identity, plans and what waited to be told.
    fn leave(&self) {
        let places = &self.agent.places;
        shared::log_failure("The identity could not be removed", Identity::remove(places));
        for path in [places.desired(), places.jobs(), places.outbox()] {
            shared::log_failure("The state could not be removed", files::remove(&path));
        }
        tracing::info!("This machine has left its host");
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

fn open_outbox(
    agent: &Agent,
    identity: &mut Identity,
    machine: nightkeep_wire::MachineId,
) -> Result<Outbox, DaemonError> {
    let places = &agent.places;
    let (outbox, opened) = Outbox::open(&places.outbox(), machine, identity.incarnation)?;
    if opened == Opened::Fresh && identity.reports_begun {
        tracing::warn!("The state directory was lost; the numbering of reports begins anew");
        identity.renew_incarnation();
        let mut outbox = outbox;
        outbox.renumber(identity.incarnation, 1)?;
        identity.reports_begun = true;
        identity.save(places)?;
        return Ok(outbox);
    }
    if !identity.reports_begun {
        identity.reports_begun = true;
        identity.save(places)?;
    }
    Ok(outbox)
}

/// State that cannot be read costs time, never data: it is logged and begun anew.
fn load_or_begin_anew<T: Default + serde::de::DeserializeOwned>(path: &std::path::Path) -> T {
    match files::load(path) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "A state file is set aside");
            let _ = std::fs::rename(path, path.with_extension("damaged"));
            T::default()
        }
    }
}

/// Tells the host how far the job is, at most every two seconds, the newest figures only.
async fn tell_progress(link: HostLink, mut progress: watch::Receiver<Option<JobProgress>>) {
    const EVERY: Duration = Duration::from_secs(2);
    while progress.changed().await.is_ok() {
        let newest = progress.borrow_and_update().clone();
        if let Some(newest) = newest {
            if let Err(error) = link.progress(&newest).await {
                tracing::trace!(error = error.in_words(), "Progress was not told");
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
