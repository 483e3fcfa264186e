//! From verdicts and conditions to causes: what ought to have a ticket now.
//!
//! Invariant: a machine is part of at most one cause, and a thousand machines that cannot reach one storage are one cause.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use nightkeep_rules::status::Silence;
use nightkeep_rules::words;
use nightkeep_wire::CustomerId;
use nightkeep_wire::status::{Bucket, Overlay};

use crate::cause::{CauseKey, Topic};
use crate::input::{Condition, MachineInput};
use crate::monitor::Severity;
use crate::options::Timing;
use crate::rows::{error_severity, not_protected_severity};
use crate::ticket::{MACHINES_LISTED_MAX, Priority, SUMMARY_CHARS_MAX, TicketContent};

/// Something that holds now and concerns tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Its identity.
    pub key: CauseKey,
    /// What a ticket about it says.
    pub content: TicketContent,
    /// The same as long as nothing worth a note changes.
    pub fingerprint: String,
    /// Whether it has held long enough to open a ticket; one that is open stays open either way.
    pub ripe: bool,
    /// Time between two occurrences of the plan concerned.
    pub plan_interval: Option<Duration>,
}

/// All causes. `open` are the keys of tickets that are open: a group that has one keeps together.
pub fn causes(
    machines: &[MachineInput<'_>],
    conditions: &[Condition],
    open: &BTreeSet<CauseKey>,
    timing: &Timing,
    now: DateTime<Utc>,
) -> Vec<Cause> {
    let machines: Vec<&MachineInput<'_>> = machines.iter().filter(|m| !m.in_maintenance).collect();
    // A machine with a ticket of its own keeps it: whatever it shares with others by now, its ticket is not cleared.
    let is_own = |m: &MachineInput<'_>| shared_topic(m).is_none() || open.contains(&CauseKey::Machine(m.machine));
    let (own, sharing): (Vec<_>, Vec<_>) = machines.into_iter().partition(|m| is_own(m));
    let shared = gather_shared(&sharing, conditions, open, timing);
    let own = own.into_iter().filter_map(|m| own_cause(m, timing, now));
    let shared = shared.into_iter().filter_map(|(key, members)| shared_cause(key, &members, timing, now));
    shared.chain(own).collect()
}

/// What is part of a shared cause.
#[derive(Default)]
struct Members<'a> {
    machines: Vec<&'a MachineInput<'a>>,
    conditions: Vec<&'a Condition>,
}

fn shared_topic(machine: &MachineInput<'_>) -> Option<Topic> {
    match machine.verdict.bucket {
        Bucket::Error | Bucket::NotProtected => machine.verdict.error_class.and_then(Topic::of_error),
        Bucket::WithoutAgent | Bucket::WithoutPlan | Bucket::Warning | Bucket::Ok => None,
    }
}

fn gather_shared<'a>(
    machines: &[&'a MachineInput<'a>],
    conditions: &'a [Condition],
    open: &BTreeSet<CauseKey>,
    timing: &Timing,
) -> BTreeMap<CauseKey, Members<'a>> {
    let topics = machines.iter().filter_map(|m| Some((shared_topic(m)?, Some(m.customer))));
    let topics = topics.chain(conditions.iter().map(|c| (c.topic, c.customer)));
    let mut customers: BTreeMap<Topic, BTreeSet<Option<CustomerId>>> = BTreeMap::new();
    for (topic, customer) in topics {
        customers.entry(topic).or_default().insert(customer);
    }
    let everywhere: BTreeSet<Topic> =
        customers.iter().filter(|(topic, hit)| is_everywhere(**topic, hit, open, timing)).map(|(t, _)| *t).collect();
    let key = |topic, customer: Option<CustomerId>| match customer {
        Some(customer) if !everywhere.contains(&topic) || open.contains(&CauseKey::Customer(customer, topic)) => {
            CauseKey::Customer(customer, topic)
        }
        Some(_) | None => CauseKey::Everywhere(topic),
    };
    let mut groups: BTreeMap<CauseKey, Members<'a>> = BTreeMap::new();
    for machine in machines {
        if let Some(topic) = shared_topic(machine) {
            groups.entry(key(topic, Some(machine.customer))).or_default().machines.push(machine);
        }
    }
    for condition in conditions {
        groups.entry(key(condition.topic, condition.customer)).or_default().conditions.push(condition);
    }
    groups
}

fn is_everywhere(topic: Topic, hit: &BTreeSet<Option<CustomerId>>, open: &BTreeSet<CauseKey>, timing: &Timing) -> bool {
    let many = hit.iter().flatten().count() >= usize::try_from(timing.customers_for_everywhere).unwrap_or(usize::MAX);
    let host_knows = hit.contains(&None);
    topic.can_be_everywhere() && (many || host_knows || open.contains(&CauseKey::Everywhere(topic)))
}

fn shared_cause(key: CauseKey, members: &Members<'_>, timing: &Timing, now: DateTime<Utc>) -> Option<Cause> {
    let (topic, customer) = match key {
        CauseKey::Customer(customer, topic) => (topic, Some(customer)),
        CauseKey::Everywhere(topic) => (topic, None),
        CauseKey::Machine(_) => return None,
    };
    let severities =
        members.machines.iter().map(|m| error_severity(m)).chain(members.conditions.iter().map(|c| c.severity));
    let severity = severities.max()?;
    let loud = members.machines.iter().filter(|m| !is_quiet(m, timing, now)).map(|m| m.bucket_since);
    let grave = members.conditions.iter().filter(|c| c.severity > Severity::Warning).map(|c| c.since);
    let since = loud.chain(grave).min();
    let count = members.machines.len();
    let name = match (customer, members.machines.first(), members.conditions.first()) {
        (None, _, _) => "all customers",
        (Some(_), Some(machine), _) => machine.client_name,
        (Some(_), None, Some(condition)) => &condition.name,
        (Some(_), None, None) => "",
    };
    let hit = words::count(count as u64, "machine", "machines");
    let lines = members.conditions.iter().map(|c| c.text.clone());
    let lines = lines.chain(members.machines.iter().take(MACHINES_LISTED_MAX).map(|m| line(m, now)));
    let ripe = since.is_some_and(|since| now - since >= timing.shared_cause());
    Some(Cause {
        content: TicketContent {
            summary: cut(format!("Backup: {} - {name} ({hit})", topic.label())),
            body: lines.collect::<Vec<_>>().join("\n"),
            severity,
            priority: if severity == Severity::Warning { Priority::Medium } else { Priority::High },
            customer,
            machines: members.machines.iter().take(MACHINES_LISTED_MAX).map(|m| m.machine).collect(),
            machine_count: count,
        },
        // Machines come and go by the minute in a wide failure; a note is due when their number doubles.
        fingerprint: format!("{}/{}", severity.label(), (count as u64).checked_ilog2().map_or(0, |n| n + 1)),
        ripe,
        plan_interval: members.machines.iter().filter_map(|m| m.plan_interval).max(),
        key,
    })
}

fn own_cause(machine: &MachineInput<'_>, timing: &Timing, now: DateTime<Utc>) -> Option<Cause> {
    let trouble = trouble(machine, timing, now)?;
    Some(Cause {
        key: CauseKey::Machine(machine.machine),
        content: TicketContent {
            summary: cut(format!("Backup: {} {} - {}", machine.client_name, machine.name, trouble.headline)),
            body: line(machine, now),
            severity: trouble.severity,
            priority: trouble.priority,
            customer: Some(machine.customer),
            machines: vec![machine.machine],
            machine_count: 1,
        },
        fingerprint: format!("{}/{}", trouble.severity.label(), trouble.headline),
        ripe: trouble.ripe && !is_quiet(machine, timing, now),
        plan_interval: machine.plan_interval,
    })
}

struct Trouble {
    headline: &'static str,
    severity: Severity,
    priority: Priority,
    ripe: bool,
}

/// The one thing a ticket about this machine is about: a machine that nobody hears is chased before its backups are; then
/// the bucket; then misses.
fn trouble(machine: &MachineInput<'_>, timing: &Timing, now: DateTime<Utc>) -> Option<Trouble> {
    let verdict = machine.verdict;
    let always_on = machine.class.always_on();
    let priority = if always_on { Priority::High } else { Priority::Medium };
    if let Some(Silence::ChaseOrRetire { .. }) = verdict.silence {
        let headline = "not heard for a month: chase or retire?";
        return Some(Trouble { headline, severity: Severity::Warning, priority: Priority::Low, ripe: true });
    }
    match verdict.bucket {
        Bucket::WithoutAgent | Bucket::WithoutPlan => None,
        Bucket::NotProtected if verdict.awaits_first_backup => None,
        Bucket::NotProtected => {
            let ripe = now - machine.bucket_since >= timing.not_protected(always_on);
            Some(Trouble { headline: "not protected", severity: not_protected_severity(machine), priority, ripe })
        }
        Bucket::Error => {
            // Overdue without a failed run is an error too, and ripe at once: it took two occurrences.
            let failed = verdict.errors_in_a_row;
            let ripe = always_on || failed == 0 || failed >= timing.workstation_errors_in_a_row;
            Some(Trouble { headline: "backup failed", severity: error_severity(machine), priority, ripe })
        }
        Bucket::Warning | Bucket::Ok if verdict.missed_alarm => {
            Some(Trouble { headline: "missed backups", severity: Severity::Error, priority, ripe: true })
        }
        Bucket::Warning | Bucket::Ok => None,
    }
}

/// Nobody wants a ticket about a machine that is still being set up.
fn is_quiet(machine: &MachineInput<'_>, timing: &Timing, now: DateTime<Utc>) -> bool {
    now - machine.enrolled_at < timing.quiet_after_enrolment()
}

fn line(machine: &MachineInput<'_>, now: DateTime<Utc>) -> String {
    let verdict = machine.verdict;
    let mut line = format!("{}: {}", machine.name, verdict.reason);
    if verdict.missed_in_a_row > 0 {
        let missed = words::count(verdict.missed_in_a_row.into(), "backup", "backups");
        line.push_str(&format!("; {missed} missed in a row"));
    }
    let unheard = verdict.overlays.iter().find_map(|overlay| match overlay {
        Overlay::Offline { last_heard } => *last_heard,
        Overlay::BackingUp { .. } | Overlay::FirstBackup { .. } | Overlay::Paused { .. } | Overlay::Unknown => None,
    });
    if let Some(last_heard) = unheard {
        line.push_str(&format!("; not heard for {}", words::span(now - last_heard)));
    }
    line
}

fn cut(text: String) -> String {
    if text.chars().count() <= SUMMARY_CHARS_MAX {
        return text;
    }
    text.chars().take(SUMMARY_CHARS_MAX - 1).chain(['…']).collect()
}
