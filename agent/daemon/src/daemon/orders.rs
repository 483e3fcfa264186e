//! What a local caller may order, and what is answered.
//!
//! Invariant: rights come from the caller's account and the host's policy, never from the message.

use chrono::{DateTime, Duration, Utc};
use nightkeep_engine::progress::StopKind;
use nightkeep_wire::control::{Answer, ControlError, ControlErrorCode, Op, Reply};
use nightkeep_wire::desired::{AppliedPlan, EndUserRights};
use nightkeep_wire::report::Cause;

use super::core::{Core, Effect, Started, Which};

/// The longest pause an administrator may order at once.
const PAUSE_MAX: Duration = Duration::days(30);

/// Who orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Root, or the account the daemon runs as.
    pub(crate) administrator: bool,
    /// The account's name, for the record.
    pub(crate) name: String,
}

/// Carries out an order. Status and subscriptions are answered by the driver, who has the whole picture.
pub(crate) fn obey(core: &mut Core, op: &Op, caller: &Caller, now: DateTime<Utc>) -> (Answer, Vec<Effect>) {
    let obeyed = match op {
        Op::Start { plan } => start(core, plan.as_deref(), caller, now),
        Op::Stop { plan } => stop(core, plan.as_deref(), caller, now),
        Op::Pause { for_seconds } => pause(core, *for_seconds, caller, now),
        Op::Resume => resume(core, caller, now),
        Op::Status | Op::Subscribe => Ok((Reply::Done, Vec::new())),
        Op::Unknown => Err(error(ControlErrorCode::BadRequest, "the daemon does not know this order: update it")),
    };
    match obeyed {
        Ok((reply, effects)) => (Answer::Ok(reply), effects),
        Err(error) => (Answer::Error(error), Vec::new()),
    }
}

type Obeyed = Result<(Reply, Vec<Effect>), ControlError>;

fn start(core: &mut Core, plan: Option<&str>, caller: &Caller, now: DateTime<Utc>) -> Obeyed {
    allowed(caller, rights(core).start, "start backups")?;
    let applied = find(core, plan)?;
    let (id, plan_name) = (applied.plan.id, applied.plan.name.clone());
    core.can_start(id).map_err(|reason| error(ControlErrorCode::Unavailable, reason))?;
    let (started, effects) = core.start(id, Cause::Manual, now);
    match started {
        Started::New(job) | Started::Already(job) => Ok((Reply::Started { job, plan: id, plan_name }, effects)),
        Started::QueueFull => Err(error(ControlErrorCode::Unavailable, "too many jobs are waiting: try again later")),
    }
}

fn stop(core: &mut Core, plan: Option<&str>, caller: &Caller, now: DateTime<Utc>) -> Obeyed {
    allowed(caller, rights(core).stop, "stop backups")?;
    let which = match plan {
        Some(_) => Which::Plan(find(core, plan)?.plan.id),
        None => Which::All,
    };
    // At the machine a stop interrupts, so that the next run goes on from there; a technician's stop discards.
    let (jobs, effects) = core.stop(which, StopKind::Interrupt, now);
    Ok((Reply::Stopping { jobs }, effects))
}

fn pause(core: &mut Core, for_seconds: u64, caller: &Caller, now: DateTime<Utc>) -> Obeyed {
    let rights = rights(core);
    allowed(caller, rights.pause, "pause backups")?;
    let span = i64::try_from(for_seconds).ok().and_then(Duration::try_seconds).filter(|span| *span <= PAUSE_MAX);
    let span = span.filter(|span| *span > Duration::zero());
    let span = span.ok_or_else(|| refuse_pause("a pause lasts from one second to 30 days"))?;
    if !caller.administrator {
        let longest = Duration::seconds(rights.pause_seconds_max.into());
        if span > longest {
            let hours = nightkeep_rules::words::span(longest);
            return Err(refuse_pause(format!("backups may be paused for {hours} at most: choose a shorter pause")));
        }
        let since = now - Duration::days(1);
        core.state.user_pauses.retain(|at| *at > since);
        if core.state.user_pauses.len() >= rights.pauses_per_day_max as usize {
            let times = nightkeep_rules::words::count(rights.pauses_per_day_max.into(), "pause", "pauses");
            return Err(refuse_pause(format!("{times} a day are allowed: ask an administrator for another")));
        }
        core.state.user_pauses.push_back(now);
    }
    let until = now + span;
    Ok((Reply::Paused { until }, core.pause(until, caller, now)))
}

fn resume(core: &mut Core, caller: &Caller, now: DateTime<Utc>) -> Obeyed {
    let ordered_from_above = core.state.pause.as_ref().is_some_and(|pause| pause.by_administrator);
    allowed(caller, rights(core).pause && !ordered_from_above, "end this pause")?;
    Ok((Reply::Done, core.resume(&caller.name, now)))
}

/// A plan by id or name; without either, the only one.
pub(crate) fn find<'a>(core: &'a Core, wanted: Option<&str>) -> Result<&'a AppliedPlan, ControlError> {
    let plans = core.plans();
    if plans.is_empty() {
        return Err(error(ControlErrorCode::NoPlan, "no plan is applied to this machine: apply one in the console"));
    }
    let Some(wanted) = wanted else {
        let [only] = plans else {
            return Err(error(ControlErrorCode::PlanUnknown, format!("name one of the plans: {}", names(plans))));
        };
        return Ok(only);
    };
    let by_name = |applied: &&AppliedPlan| applied.plan.name.to_lowercase() == wanted.to_lowercase();
    let by_id = plans.iter().find(|applied| applied.plan.id.to_string() == wanted);
    by_id.or_else(|| plans.iter().find(by_name)).ok_or_else(|| {
        let message = format!("there is no plan {wanted:?} on this machine; there is {}", names(plans));
        error(ControlErrorCode::PlanUnknown, message)
    })
}

fn names(plans: &[AppliedPlan]) -> String {
    plans.iter().map(|applied| format!("{:?}", applied.plan.name)).collect::<Vec<_>>().join(", ")
}

fn rights(core: &Core) -> EndUserRights {
    core.desired.as_ref().map(|desired| desired.settings.end_user.clone()).unwrap_or_default()
}

fn allowed(caller: &Caller, right: bool, what: &str) -> Result<(), ControlError> {
    if caller.administrator || right {
        return Ok(());
    }
    let message = format!("{} may not {what} on this machine: ask an administrator", caller.name);
    Err(error(ControlErrorCode::NotAllowed, message))
}

fn refuse_pause(message: impl Into<String>) -> ControlError {
    error(ControlErrorCode::PauseNotAllowed, message)
}

pub(crate) fn error(code: ControlErrorCode, message: impl Into<String>) -> ControlError {
    ControlError { code, message: message.into() }
}
