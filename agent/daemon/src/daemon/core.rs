//! What the daemon decides: which job runs next, what an order or a command does, what is reported.
//!
//! ```text
//!            due / order / command            turn comes
//! (nothing) ------------------------> queued ------------> running ---> ended (one result each)
//!                                        |  stop, revoke      |  stop, pause, revoke, end of daemon
//!                                        '--> cancelled       '--> engine is asked to end
//! ```
//! Invariant: no I/O and no clock here; one transition takes (state, event, now) to (state, effects), and every job that
//! was reported as started is reported as finished exactly once.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use nightkeep_engine::progress::StopKind;
use nightkeep_rules::schedule::{NextAction, RunRecord, StartHistory, Timetable, next_action, start_delay};
use nightkeep_wire::desired::{AppliedPlan, Command, CommandAction, DesiredState};
use nightkeep_wire::machine::MachineFacts;
use nightkeep_wire::report::{
    Cause, CommandDone, CommandOutcome, JobKind, JobResult, JobStarted, Outcome, PauseState, PlanState, ReportBody,
};
use nightkeep_wire::{JobId, MachineId, PlanId};
use uuid::Uuid;

use super::conditions::Conditions;
use super::missed;
use super::orders::Caller;
use super::state::{AgentState, PauseMemory};
use crate::job::{Job, unsupported};

/// The longest time between two looks at the schedule: clocks jump and machines sleep.
const LOOK_AGAIN: Duration = Duration::seconds(60);

/// So often in a row a job that somebody asked for is taken up again after the process ended under it.
const RESUMES_MAX: usize = 5;

/// What the driver has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Record a report.
    Report(ReportBody),
    /// Start the engine.
    Run {
        /// The job.
        job: Job,
        /// Its plan.
        plan: Box<AppliedPlan>,
    },
    /// Ask the engine to end.
    Stop(StopKind),
    /// Run the post command of a job that the process ended under.
    PostCommand {
        /// The job.
        job: Job,
        /// Its plan.
        plan: Box<AppliedPlan>,
    },
    /// Leave the host once every report is acknowledged.
    Leave,
}

/// The daemon's decisions for one enrolled machine.
pub(crate) struct Core {
    pub(crate) machine: MachineId,
    pub(crate) facts: MachineFacts,
    pub(crate) desired: Option<DesiredState>,
    pub(crate) state: AgentState,
    /// Whether the machine has a vault to write to.
    pub(crate) has_vault: bool,
    pub(crate) queue_max: usize,
    /// Names of the commands that plans may run here, or why none can be.
    pub(crate) commands: Result<BTreeSet<String>, String>,
    /// As they were at the last look.
    conditions: Conditions,
    /// How the running job is reported when the engine says that it was stopped.
    stopping: Option<Outcome>,
}

impl Core {
    pub(crate) fn new(
        machine: MachineId,
        facts: MachineFacts,
        desired: Option<DesiredState>,
        state: AgentState,
        queue_max: usize,
    ) -> Self {
        Self {
            machine,
            facts,
            desired,
            state,
            has_vault: false,
            queue_max,
            commands: Ok(BTreeSet::new()),
            conditions: Conditions::default(),
            stopping: None,
        }
    }

    /// The daemon starts: a job that was running when the process ended was interrupted.
    pub(crate) fn started(&mut self, now: DateTime<Utc>) -> Vec<Effect> {
        self.state.note_online(now);
        let mut effects = Vec::new();
        if let Some(job) = self.state.running.take() {
            let result = job.without_point(Outcome::Interrupted, None, now);
            effects.push(self.ended(result));
            if let Some(plan) = self.plan(job.plan).filter(|applied| applied.plan.options.post_command.is_some()) {
                effects.push(Effect::PostCommand { plan: Box::new(plan.clone()), job: job.clone() });
            }
            self.take_up_again(&job);
        }
        let facts = blake3::hash(&serde_json::to_vec(&self.facts).unwrap_or_default()).to_hex().to_string();
        if self.state.facts_told.as_ref() != Some(&facts) {
            self.state.facts_told = Some(facts);
            effects.push(Effect::Report(ReportBody::Facts(Box::new(self.facts.clone()))));
        }
        effects
    }

    /// The schedule takes up what it brought by itself; what somebody asked for would be forgotten. A run that brings
    /// the process down again and again is not repeated for ever.
    fn take_up_again(&mut self, job: &Job) {
        let runs = self.state.plans.get(&job.plan).map(|memory| memory.records()).unwrap_or_default();
        let interrupted = |run: &&RunRecord| matches!(run.ended, Some((_, Outcome::Interrupted)));
        if asked_for(job.cause) && runs.iter().rev().take_while(interrupted).count() < RESUMES_MAX {
            self.state.queue.push_front(new_job(job.plan, job.cause, None));
        }
    }

    /// Time has passed: due plans are queued, missed ones told, the next job begins. Also answers when to look again.
    pub(crate) fn tick(&mut self, conditions: Conditions, now: DateTime<Utc>) -> (Vec<Effect>, DateTime<Utc>) {
        self.state.note_online(now);
        self.conditions = conditions;
        let mut effects: Vec<Effect> = self.interrupt_by_conditions().into_iter().collect();
        let mut again = now + LOOK_AGAIN;
        for applied in self.plans().to_vec() {
            effects.extend(missed::judge(&mut self.state, &applied, &self.facts.zone, now).map(Effect::Report));
            match self.action(&applied, now) {
                Some(NextAction::Start { occurrence, cause }) if self.may_start(&applied) => {
                    self.enqueue(new_job(applied.plan.id, cause, Some(occurrence)));
                }
                Some(NextAction::WaitUntil { start, .. }) => again = again.min(start.max(now + Duration::seconds(1))),
                Some(NextAction::Start { .. } | NextAction::Running | NextAction::Never) | None => {}
            }
        }
        effects.extend(self.run_next(now));
        (effects, again)
    }

    /// In the queue, what somebody asked for comes first, in the order of asking; then what the schedule brought, the oldest
    /// occurrence first, and by the plan's id where several have the same.
    fn enqueue(&mut self, job: Job) {
        let turn = |job: &Job| (job.occurrence.filter(|_| !asked_for(job.cause)), job.plan);
        let behind = |other: &&Job| asked_for(other.cause) || (!asked_for(job.cause) && turn(other) <= turn(&job));
        let position = self.state.queue.iter().take_while(behind).count();
        self.state.queue.insert(position, job);
    }

    /// What the schedule brought ends while it may not go on; the schedule brings it again.
    fn interrupt_by_conditions(&mut self) -> Option<Effect> {
        let running = self.state.running.as_ref().filter(|job| !asked_for(job.cause) && self.stopping.is_none())?;
        let reason = self.conditions.interrupt(&self.plan(running.plan)?.plan.options)?;
        tracing::info!(job = %running.id, reason, "The running job is interrupted");
        self.stop_running(StopKind::Interrupt, Outcome::Interrupted)
    }

    /// The machine's own list of commands has changed: plans that name some may be taken over or refused now.
    pub(crate) fn allow(&mut self, commands: Result<BTreeSet<String>, String>, now: DateTime<Utc>) -> Vec<Effect> {
        if self.commands == commands {
            return Vec::new();
        }
        self.commands = commands;
        self.tell_plans(now)
    }

    /// A new desired state: plans that came or went, commands.
    pub(crate) fn desired(&mut self, desired: DesiredState, now: DateTime<Utc>) -> Vec<Effect> {
        let commands = desired.commands.clone();
        self.desired = Some(desired);
        let mut effects = self.drop_revoked(now);
        effects.extend(self.tell_plans(now));
        for command in commands {
            if !self.state.knows_command(command.id) {
                self.state.note_command(command.id);
                effects.extend(self.command(&command, now));
            }
        }
        effects.extend(self.run_next(now));
        effects
    }

    /// The engine has ended the running job.
    pub(crate) fn finished(&mut self, mut result: JobResult, now: DateTime<Utc>) -> Vec<Effect> {
        let stopping = self.stopping.take();
        if result.outcome == Outcome::Interrupted
            && let Some(outcome) = stopping
        {
            result.outcome = outcome;
        }
        self.state.running = None;
        let mut effects = vec![self.ended(result)];
        effects.extend(self.run_next(now));
        effects
    }

    /// The daemon is asked to end: the running job is interrupted, what waits goes on waiting.
    pub(crate) fn shut_down(&mut self) -> Vec<Effect> {
        self.stop_running(StopKind::Interrupt, Outcome::Interrupted).into_iter().collect()
    }

    /// Queues a run of a plan, or answers the job that already serves it.
    pub(crate) fn start(&mut self, plan: PlanId, cause: Cause, now: DateTime<Utc>) -> (Started, Vec<Effect>) {
        if let Some(job) = self.job_of(plan) {
            return (Started::Already(job), Vec::new());
        }
        if self.state.queue.len() >= self.queue_max {
            return (Started::QueueFull, Vec::new());
        }
        let job = new_job(plan, cause, None);
        let id = job.id;
        self.enqueue(job);
        (Started::New(id), self.run_next(now))
    }

    /// Ends jobs of one plan, or one job, or all. Answers which.
    pub(crate) fn stop(&mut self, which: Which, kind: StopKind, now: DateTime<Utc>) -> (Vec<JobId>, Vec<Effect>) {
        let (gone, stay): (Vec<Job>, Vec<Job>) = self.state.queue.drain(..).partition(|job| which.means(job));
        self.state.queue = stay.into();
        let mut stopped: Vec<JobId> = gone.iter().map(|job| job.id).collect();
        let mut effects: Vec<Effect> =
            gone.iter().map(|job| self.ended(job.without_point(Outcome::Cancelled, None, now))).collect();
        if let Some(running) = self.state.running.as_ref().filter(|job| which.means(job)) {
            stopped.push(running.id);
            effects.extend(self.stop_running(kind, Outcome::Cancelled));
        }
        (stopped, effects)
    }

    /// Starts no scheduled job before `until`, and interrupts what runs; it goes on afterwards.
    pub(crate) fn pause(&mut self, until: DateTime<Utc>, caller: &Caller, now: DateTime<Utc>) -> Vec<Effect> {
        let going_on = self.state.pause.as_ref().filter(|pause| pause.until > now);
        let from = going_on.map_or(now, |pause| pause.from);
        self.state.pause =
            Some(PauseMemory { from, until, by: caller.name.clone(), by_administrator: caller.administrator });
        self.state.queue.retain(|job| asked_for(job.cause));
        let told = Effect::Report(ReportBody::Pause(PauseState { until: Some(until), by: caller.name.clone() }));
        self.stop_running(StopKind::Interrupt, Outcome::Interrupted).into_iter().chain([told]).collect()
    }

    /// Ends a pause.
    pub(crate) fn resume(&mut self, by: &str, now: DateTime<Utc>) -> Vec<Effect> {
        if self.state.paused_until(now).is_none() {
            return Vec::new();
        }
        if let Some(pause) = &mut self.state.pause {
            pause.until = now;
        }
        vec![Effect::Report(ReportBody::Pause(PauseState { until: None, by: by.to_owned() }))]
    }

    /// Plans applied to the machine.
    pub(crate) fn plans(&self) -> &[AppliedPlan] {
        self.desired.as_ref().map_or(&[], |desired| &desired.plans)
    }

    /// One of them.
    pub(crate) fn plan(&self, id: PlanId) -> Option<&AppliedPlan> {
        self.plans().iter().find(|applied| applied.plan.id == id)
    }

    /// Why this agent cannot run a plan; none when it can.
    pub(crate) fn refusal(&self, applied: &AppliedPlan) -> Option<String> {
        if let Err(error) = applied.plan.validate() {
            return Some(error.to_string());
        }
        if let Err(error) = Timetable::new(&applied.plan.schedule, &self.facts.zone) {
            return Some(error.to_string());
        }
        unsupported(&applied.plan, &self.commands)
    }

    /// What the schedule says about a plan; none when the plan cannot be run.
    pub(crate) fn action(&self, applied: &AppliedPlan, now: DateTime<Utc>) -> Option<NextAction> {
        let plan = &applied.plan;
        if self.refusal(applied).is_some() || self.job_of(plan.id).is_some() {
            return self.job_of(plan.id).map(|_| NextAction::Running);
        }
        let timetable = Timetable::new(&plan.schedule, &self.facts.zone).ok()?;
        let delay = start_delay(self.machine, plan.id, plan.schedule.random_delay_max_seconds);
        let history = StartHistory {
            applied_at: applied.applied_at,
            runs: self.state.plans.get(&plan.id).map(|memory| memory.records()).unwrap_or_default(),
            paused_until: self.state.paused_until(now),
            up_since: self.state.up_since(),
        };
        Some(next_action(plan, &timetable, delay, &history, now))
    }

    /// The real minute of a plan's next start.
    pub(crate) fn next_start(&self, applied: &AppliedPlan, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.action(applied, now)? {
            NextAction::WaitUntil { start, .. } => Some(start),
            NextAction::Start { .. } => Some(now),
            NextAction::Running | NextAction::Never => None,
        }
    }

    /// What a due run of this plan waits for.
    pub(crate) fn held(&self, applied: &AppliedPlan, now: DateTime<Utc>) -> Option<String> {
        let due = matches!(self.action(applied, now), Some(NextAction::Start { .. }));
        self.conditions.hold_back(&applied.plan.options).filter(|_| due)
    }

    fn may_start(&self, applied: &AppliedPlan) -> bool {
        let held = self.conditions.hold_back(&applied.plan.options);
        if let Some(reason) = &held {
            tracing::debug!(plan = applied.plan.name, reason, "A due run waits");
        }
        held.is_none() && self.has_vault && self.state.queue.len() < self.queue_max
    }

    fn job_of(&self, plan: PlanId) -> Option<JobId> {
        let jobs = self.state.running.iter().chain(&self.state.queue);
        jobs.filter(|job| job.plan == plan).map(|job| job.id).next()
    }

    fn run_next(&mut self, now: DateTime<Utc>) -> Vec<Effect> {
        if self.state.running.is_some() || !self.has_vault {
            return Vec::new();
        }
        while let Some(mut job) = self.state.queue.pop_front() {
            let Some(plan) = self.plan(job.plan).cloned() else { continue };
            // It was queued under other conditions; the schedule brings it again when they have passed.
            if !asked_for(job.cause) && self.conditions.hold_back(&plan.plan.options).is_some() {
                continue;
            }
            job.started = Some(now);
            self.state.running = Some(job.clone());
            let started = JobStarted {
                job: job.id,
                plan: Some(job.plan),
                kind: JobKind::Backup,
                cause: job.cause,
                occurrence: job.occurrence,
                started: now,
            };
            let told = Effect::Report(ReportBody::JobStarted(started));
            return vec![told, Effect::Run { job, plan: Box::new(plan) }];
        }
        Vec::new()
    }

    fn stop_running(&mut self, kind: StopKind, outcome: Outcome) -> Option<Effect> {
        self.state.running.as_ref()?;
        // What a person stopped stays stopped, also when a pause or the end of the daemon comes on top.
        if self.stopping != Some(Outcome::Cancelled) {
            self.stopping = Some(outcome);
        }
        Some(Effect::Stop(kind))
    }

    /// Remembers a result and makes its report.
    fn ended(&mut self, result: JobResult) -> Effect {
        if let Some(plan) = result.plan {
            let message = super::words::of_result(&result);
            self.state.plans.entry(plan).or_default().note(&result, message);
        }
        Effect::Report(ReportBody::JobFinished(Box::new(result)))
    }

    /// Jobs of plans that are no longer applied end; what they made stays.
    fn drop_revoked(&mut self, now: DateTime<Utc>) -> Vec<Effect> {
        let jobs = self.state.running.iter().chain(&self.state.queue);
        let gone: Vec<PlanId> = jobs.map(|job| job.plan).filter(|plan| self.plan(*plan).is_none()).collect();
        let mut effects = Vec::new();
        for plan in gone {
            effects.extend(self.stop(Which::Plan(plan), StopKind::Interrupt, now).1);
        }
        effects
    }

    /// Tells the host about plans that are new or changed: taken over, or why not.
    fn tell_plans(&mut self, now: DateTime<Utc>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for applied in self.plans().to_vec() {
            let refusal = self.refusal(&applied);
            let told = Some((applied.revision, refusal.is_none()));
            if self.state.plans.get(&applied.plan.id).is_some_and(|memory| memory.told == told) {
                continue;
            }
            let (next_occurrence, next_start) = match self.action(&applied, now) {
                Some(NextAction::WaitUntil { start, occurrence }) => (Some(occurrence), Some(start)),
                Some(NextAction::Start { occurrence, .. }) => (Some(occurrence), Some(now)),
                Some(NextAction::Running | NextAction::Never) | None => (None, None),
            };
            self.state.plans.entry(applied.plan.id).or_default().told = told;
            effects.push(Effect::Report(ReportBody::PlanState(PlanState {
                plan: applied.plan.id,
                revision: applied.revision,
                accepted: refusal.is_none(),
                message: refusal,
                next_occurrence,
                next_start,
            })));
        }
        effects
    }

    fn command(&mut self, command: &Command, now: DateTime<Utc>) -> Vec<Effect> {
        let done = |outcome, job, message: Option<&str>| {
            let message = message.map(str::to_owned);
            Effect::Report(ReportBody::CommandDone(CommandDone { command: command.id, outcome, job, message }))
        };
        if command.expires_at.is_some_and(|expires| expires <= now) {
            return vec![done(CommandOutcome::Refused, None, Some("it came too late: its time had run out"))];
        }
        match &command.action {
            CommandAction::Start { plan } => {
                if let Err(reason) = self.can_start(*plan) {
                    return vec![done(CommandOutcome::Refused, None, Some(&reason))];
                }
                let (started, effects) = self.start(*plan, Cause::Command, now);
                let answer = match started {
                    Started::New(job) => done(CommandOutcome::Done, Some(job), None),
                    Started::Already(job) => done(CommandOutcome::Done, Some(job), Some("it was already under way")),
                    Started::QueueFull => done(CommandOutcome::Refused, None, Some("too many jobs are waiting")),
                };
                [answer].into_iter().chain(effects).collect()
            }
            CommandAction::Stop { job, plan } => {
                let which = match (job, plan) {
                    (Some(job), _) => Which::Job(*job),
                    (None, Some(plan)) => Which::Plan(*plan),
                    (None, None) => Which::All,
                };
                let (stopped, mut effects) = self.stop(which, StopKind::Discard, now);
                let message = stopped.is_empty().then_some("nothing was running");
                effects.push(done(CommandOutcome::Done, stopped.first().copied(), message));
                effects
            }
            CommandAction::Unenroll => {
                let mut effects = self.stop(Which::All, StopKind::Interrupt, now).1;
                effects.extend([done(CommandOutcome::Done, None, None), Effect::Leave]);
                effects
            }
            CommandAction::Unknown => {
                vec![done(CommandOutcome::Refused, None, Some("this agent does not know the command: update it"))]
            }
        }
    }

    /// Whether a run of the plan can be asked for, and if not, why.
    pub(crate) fn can_start(&self, plan: PlanId) -> Result<(), String> {
        let Some(applied) = self.plan(plan) else { return Err("the plan is not applied to this machine".to_owned()) };
        if let Some(refusal) = self.refusal(applied) {
            return Err(refusal);
        }
        if !self.has_vault {
            return Err("the machine waits for approval in the console and has no vault yet".to_owned());
        }
        Ok(())
    }
}

/// What became of a wish to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// A new job.
    New(JobId),
    /// A job of that plan waits or runs already.
    Already(JobId),
    /// No more jobs may wait.
    QueueFull,
}

/// Which jobs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Plan(PlanId),
    Job(JobId),
}

impl Which {
    fn means(&self, job: &Job) -> bool {
        match self {
            Self::All => true,
            Self::Plan(plan) => job.plan == *plan,
            Self::Job(id) => job.id == *id,
        }
    }
}

fn new_job(plan: PlanId, cause: Cause, occurrence: Option<DateTime<Utc>>) -> Job {
    Job { id: JobId::from_uuid(Uuid::now_v7()), plan, cause, occurrence, started: None }
}

/// Somebody asked for it, the schedule did not bring it.
fn asked_for(cause: Cause) -> bool {
    match cause {
        Cause::Manual | Cause::Command => true,
        Cause::Schedule | Cause::CatchUp | Cause::Unknown => false,
    }
}

#[cfg(test)]
mod tests;
