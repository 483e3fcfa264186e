//! From causes and the ledger to the next steps of tickets.
//!
//! Invariant: at most one open ticket per cause. Steps, once stored, are not produced again. A ticket that a person has
//! taken is never closed by us.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use nightkeep_wire::{MachineId, TicketId};

use crate::cause::CauseKey;
use crate::group::{Cause, causes};
use crate::input::{Condition, MachineInput};
use crate::options::{Options, TicketOptions};
use crate::ticket::{Action, Step, TicketRecord, TicketState};

/// Compares what holds with the ledger and says what to do. `ledger` has all open tickets and those resolved in the last
/// 60 days; `new_id` gives ids for new ones.
pub fn reconcile(
    machines: &[MachineInput<'_>],
    conditions: &[Condition],
    ledger: &[TicketRecord],
    options: &Options,
    now: DateTime<Utc>,
    mut new_id: impl FnMut() -> TicketId,
) -> Vec<Step> {
    if !options.enabled {
        return Vec::new();
    }
    let open: BTreeSet<CauseKey> = ledger.iter().filter(|t| is_open(t)).map(|t| t.cause).collect();
    let causes = causes(machines, conditions, &open, &options.timing, now);
    let wanted: BTreeMap<CauseKey, &Cause> = causes.iter().map(|cause| (cause.key, cause)).collect();
    let frozen: BTreeSet<MachineId> = machines.iter().filter(|m| m.in_maintenance).map(|m| m.machine).collect();
    let gone = ledger.iter().filter(|t| is_open(t) && !wanted.contains_key(&t.cause) && !is_frozen(t, &frozen));
    let cleared: Vec<Step> = gone.filter_map(|t| clear(t, machines, &options.tickets, now)).collect();
    let raised = causes.iter().filter_map(|cause| raise(cause, ledger, &options.tickets, now, &mut new_id));
    raised.chain(cleared).collect()
}

fn is_open(ticket: &TicketRecord) -> bool {
    match ticket.state {
        TicketState::Open { .. } => true,
        TicketState::Resolved { .. } => false,
    }
}

/// A shared cause whose machines are all in maintenance is not told from one that is gone; only a machine's own is.
fn is_frozen(ticket: &TicketRecord, frozen: &BTreeSet<MachineId>) -> bool {
    match ticket.cause {
        CauseKey::Machine(machine) => frozen.contains(&machine),
        CauseKey::Customer(..) | CauseKey::Everywhere(_) => false,
    }
}

fn raise(
    cause: &Cause,
    ledger: &[TicketRecord],
    options: &TicketOptions,
    now: DateTime<Utc>,
    new_id: &mut impl FnMut() -> TicketId,
) -> Option<Step> {
    let of_cause = || ledger.iter().filter(|t| t.cause == cause.key);
    if let Some(ticket) = of_cause().find(|t| is_open(t)) {
        return update(ticket, cause);
    }
    if !cause.ripe || !options.create {
        return None;
    }
    let last = of_cause().filter_map(|t| Some((resolved_at(t)?, t))).max_by_key(|(at, _)| *at);
    match last {
        Some((at, ticket)) if can_reopen(ticket, at, options, now) => Some(reopen(ticket, cause, now)),
        Some(_) | None => Some(open(cause, new_id(), now)),
    }
}

fn resolved_at(ticket: &TicketRecord) -> Option<DateTime<Utc>> {
    match ticket.state {
        TicketState::Resolved { at } => Some(at),
        TicketState::Open { .. } => None,
    }
}

fn can_reopen(ticket: &TicketRecord, resolved: DateTime<Utc>, options: &TicketOptions, now: DateTime<Utc>) -> bool {
    let Some(reopen) = options.reopen else { return false };
    let occurrences = ticket.plan_interval() * i32::try_from(reopen.occurrences).unwrap_or(i32::MAX);
    now - resolved <= Duration::days(reopen.days.into()).max(occurrences)
}

fn open(cause: &Cause, id: TicketId, now: DateTime<Utc>) -> Step {
    let record = TicketRecord {
        id,
        cause: cause.key,
        state: TicketState::Open { at: now },
        revision: 1,
        fingerprint: cause.fingerprint.clone(),
        human: false,
        cleared_noted: false,
        plan_interval_seconds: cause.plan_interval.map(|interval| interval.num_seconds()),
    };
    Step { record, action: Action::Open { content: cause.content.clone() } }
}

fn reopen(ticket: &TicketRecord, cause: &Cause, now: DateTime<Utc>) -> Step {
    let record = TicketRecord {
        state: TicketState::Open { at: now },
        revision: ticket.revision + 1,
        fingerprint: cause.fingerprint.clone(),
        cleared_noted: false,
        ..ticket.clone()
    };
    let note = format!("It came back: {}", cause.content.body);
    Step { record, action: Action::Reopen { content: cause.content.clone(), note } }
}

fn update(ticket: &TicketRecord, cause: &Cause) -> Option<Step> {
    if ticket.fingerprint == cause.fingerprint && !ticket.cleared_noted {
        return None;
    }
    let record = TicketRecord {
        revision: ticket.revision + 1,
        fingerprint: cause.fingerprint.clone(),
        cleared_noted: false,
        ..ticket.clone()
    };
    let note = cause.content.body.clone();
    Some(Step { record, action: Action::Update { content: cause.content.clone(), note } })
}

/// The cause is gone. The ticket is resolved, or gets a note once where it is not ours to close.
fn clear(
    ticket: &TicketRecord,
    machines: &[MachineInput<'_>],
    options: &TicketOptions,
    now: DateTime<Utc>,
) -> Option<Step> {
    let note = cleared_note(ticket.cause, machines);
    let next = TicketRecord { revision: ticket.revision + 1, ..ticket.clone() };
    if options.resolve && !ticket.human {
        let record = TicketRecord { state: TicketState::Resolved { at: now }, ..next };
        return Some(Step { record, action: Action::Resolve { note } });
    }
    let record = TicketRecord { cleared_noted: true, ..next };
    (!ticket.cleared_noted).then_some(Step { record, action: Action::Note { note } })
}

fn cleared_note(cause: CauseKey, machines: &[MachineInput<'_>]) -> String {
    match cause {
        CauseKey::Machine(id) => match machines.iter().find(|m| m.machine == id) {
            Some(machine) => {
                format!("Cleared: {} is {}; {}", machine.name, machine.verdict.bucket, machine.verdict.reason)
            }
            None => "Cleared: the machine is no longer in service".to_owned(),
        },
        CauseKey::Customer(_, topic) | CauseKey::Everywhere(topic) => format!("Cleared: no more \"{}\"", topic.label()),
    }
}
