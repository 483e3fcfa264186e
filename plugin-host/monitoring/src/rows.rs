//! The rows of the monitors' table: what each of the eight shows now.
//!
//! Invariant: with the master switch off there is nothing to write; the table keeps what it had.

use chrono::{DateTime, Utc};
use nightkeep_rules::status::Silence;
use nightkeep_wire::report::ErrorClass;
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{ClientId, CustomerId, MachineId};
use serde::{Deserialize, Serialize};

use crate::input::{Condition, MachineInput};
use crate::monitor::{Monitor, Severity};
use crate::options::Options;

/// One alert in one monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The monitor.
    pub monitor: Monitor,
    /// Whom it is about.
    pub subject: Subject,
    /// How bad.
    pub severity: Severity,
    /// Since when.
    pub since: DateTime<Utc>,
    /// One sentence.
    pub text: String,
}

/// Whom an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// One machine.
    Machine {
        /// The machine.
        machine: MachineId,
        /// Its client.
        client: ClientId,
    },
    /// A customer.
    Customer {
        /// The customer.
        customer: CustomerId,
    },
    /// The whole host.
    Host,
}

/// All rows of all monitors; none means that the table must not be touched.
pub fn rows(machines: &[MachineInput<'_>], conditions: &[Condition], options: &Options) -> Option<Vec<Row>> {
    if !options.enabled {
        return None;
    }
    let of_machines = machines.iter().filter(|m| !m.in_maintenance).flat_map(machine_rows);
    Some(conditions.iter().map(condition_row).chain(of_machines).collect())
}

fn condition_row(condition: &Condition) -> Row {
    Row {
        monitor: Monitor::of_clients(condition.severity),
        subject: condition.customer.map_or(Subject::Host, |customer| Subject::Customer { customer }),
        severity: condition.severity,
        since: condition.since,
        text: condition.text.clone(),
    }
}

fn machine_rows(input: &MachineInput<'_>) -> Vec<Row> {
    let verdict = input.verdict;
    let row = |monitor, severity, text: String| Row {
        monitor,
        subject: Subject::Machine { machine: input.machine, client: input.client },
        severity,
        since: input.bucket_since,
        text,
    };
    let mut rows = Vec::new();
    if let Some((monitor, severity)) = by_bucket(input) {
        rows.push(row(monitor, severity, verdict.reason.clone()));
    }
    if verdict.missed_alarm && !verdict.awaits_first_backup {
        let count = nightkeep_rules::words::count(verdict.missed_in_a_row.into(), "backup was", "backups were");
        rows.push(row(Monitor::MachinesMissed, Severity::Error, format!("{count} missed in a row")));
    }
    match verdict.silence {
        Some(Silence::ChaseOrRetire { days } | Silence::Listed { days }) => {
            let text = format!("the machine was not heard for {days} days");
            rows.push(row(Monitor::MachinesWarnings, Severity::Warning, text));
        }
        None => {}
    }
    rows
}

fn by_bucket(input: &MachineInput<'_>) -> Option<(Monitor, Severity)> {
    match input.verdict.bucket {
        Bucket::WithoutAgent | Bucket::WithoutPlan | Bucket::Ok => None,
        Bucket::NotProtected if input.verdict.awaits_first_backup => None,
        Bucket::NotProtected => Some((Monitor::MachinesNotProtected, not_protected_severity(input))),
        Bucket::Error => {
            let severity = error_severity(input);
            Some((Monitor::of_machines(severity), severity))
        }
        Bucket::Warning => Some((Monitor::MachinesWarnings, Severity::Warning)),
    }
}

pub(crate) fn not_protected_severity(input: &MachineInput<'_>) -> Severity {
    if input.class.always_on() { Severity::Critical } else { Severity::Error }
}

/// A damaged vault endangers points that exist already; any other failure only the next one.
pub(crate) fn error_severity(input: &MachineInput<'_>) -> Severity {
    if input.verdict.error_class == Some(ErrorClass::VaultDamaged) { Severity::Critical } else { Severity::Error }
}
