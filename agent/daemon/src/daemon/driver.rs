//! Drives one enrolled machine: brings events to the core, carries out its effects.
//!
//! Invariant: a change is saved with its reports before the outbox gets them and before anything is started, so a crash
//! at any moment loses no report and makes none twice.

mod end;
mod engine;
mod open;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use nightkeep_engine::progress::Stop;
use nightkeep_platform::event_log::Event as Told;
use nightkeep_wire::PlanId;
use nightkeep_wire::control::{Answer, Event, Link, Op, Reply, StatusSnapshot};
use nightkeep_wire::desired::{AppliedPlan, DesiredState};
use nightkeep_wire::progress::JobProgress;
use nightkeep_wire::report::{JobResult, ReportBody};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::conditions::Conditions;
use super::control::Order;
use super::core::{Core, Effect};
use super::shared::{self, SharedIdentity, SharedOutbox};
use super::{Agent, IDENTITY_LOOK, asked_to_end, orders, snapshot};
use crate::clock::{Clock as _, HostClock};
use crate::events;
use crate::files;
use crate::identity::Identity;
use crate::job::{Allowed, Watch};
use crate::link::HostLink;

/// How often local subscribers hear of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How often the state is saved when nothing but time has passed.
const SAVE_EVERY: chrono::Duration = chrono::Duration::minutes(10);

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
    conditions: watch::Receiver<Conditions>,
    progress: watch::Sender<Option<JobProgress>>,
    wake_reporter: Arc<Notify>,
    drained: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
    leaving: bool,
    saved_at: DateTime<Utc>,
}

impl<'a> Driver<'a> {
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
                Ok(()) = self.conditions.changed() => self.publish_status(),
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
        let plans = self.core.plans().to_vec();
        let mut effects = self.look_at_commands(&plans, now);
        let conditions = *self.conditions.borrow_and_update();
        let (more, again) = self.core.tick(conditions, now);
        effects.extend(more);
        if !effects.is_empty() || !self.unrecorded.is_empty() || now - self.saved_at > SAVE_EVERY {
            self.commit(effects);
        }
        (again - now).to_std().unwrap_or(Duration::ZERO)
    }

    /// The list is read anew while a plan names a command, so that allowing one needs no restart.
    fn look_at_commands(&mut self, plans: &[AppliedPlan], now: DateTime<Utc>) -> Vec<Effect> {
        let mut options = plans.iter().map(|applied| &applied.plan.options);
        if !options.any(|options| options.pre_command.is_some() || options.post_command.is_some()) {
            return Vec::new();
        }
        let allowed = Allowed::load(&self.agent.places.commands_file());
        self.core.allow(allowed.map(|allowed| allowed.names()).map_err(|error| crate::chain::chain(&error)), now)
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
        let revoked: Vec<String> = self
            .core
            .plans()
            .iter()
            .map(|applied| &applied.plan)
            .filter(|plan| desired.plans.iter().all(|applied| applied.plan.id != plan.id))
            .map(|plan| plan.name.clone())
            .collect();
        let now = self.clock.now();
        let mut effects = self.look_at_commands(&desired.plans, now);
        effects.extend(self.core.desired(desired, now));
        revoked.iter().for_each(|name| events::tell(Told::PlanRevoked, name));
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
                    if let Some((event, text)) = events::of_report(&body, |plan| self.name_of(plan)) {
                        events::tell(event, &text);
                    }
                    self.unrecorded.push_back((now, body));
                }
                Effect::Run { .. } | Effect::PostCommand { .. } | Effect::Stop(_) | Effect::Leave => {
                    actions.push(effect);
                }
            }
        }
        tokio::task::block_in_place(|| self.save_and_record(now));
        for action in actions {
            match action {
                Effect::Run { job, plan } => self.start_engine(job, *plan),
                Effect::PostCommand { job, plan } => self.run_post_command(&job, *plan),
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

    fn status(&self, now: DateTime<Utc>) -> StatusSnapshot {
        let customer = shared::lock(&self.identity).enrolled.as_ref().map(|e| e.customer.clone());
        let around = snapshot::Surroundings {
            customer: customer.unwrap_or_default(),
            link: self.link_state.borrow().clone(),
            scan: self.agent.journal.last(),
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

    /// A plan by name; one that is applied no more by its id.
    fn name_of(&self, plan: PlanId) -> String {
        self.core.plan(plan).map_or_else(|| plan.to_string(), |applied| applied.plan.name.clone())
    }

    /// Subscribers hear how a job ended.
    fn tell_of_end(&self, body: &ReportBody) {
        let ReportBody::JobFinished(result) = body else { return };
        let message = super::words::of_result(result);
        tracing::debug!(job = %result.job, outcome = ?result.outcome, summary = message, "Backup ended");
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
}
