//! What monitors and tickets are made from.

use chrono::{DateTime, Duration, Utc};
use nightkeep_rules::status::Verdict;
use nightkeep_wire::machine::MachineClass;
use nightkeep_wire::{ClientId, CustomerId, MachineId};

use crate::cause::Topic;
use crate::monitor::Severity;

/// A machine in service. Retired ones are left out; their tickets are resolved.
#[derive(Debug, Clone)]
pub struct MachineInput<'a> {
    /// The machine.
    pub machine: MachineId,
    /// Its customer, whose vault it writes into.
    pub customer: CustomerId,
    /// Its client in the RMM's tree.
    pub client: ClientId,
    /// Its name.
    pub name: &'a str,
    /// Name of the client.
    pub client_name: &'a str,
    /// Its class.
    pub class: MachineClass,
    /// When it was enrolled.
    pub enrolled_at: DateTime<Utc>,
    /// The verdict of this scan.
    pub verdict: &'a Verdict,
    /// Since when the machine has been in the verdict's bucket without a break.
    pub bucket_since: DateTime<Utc>,
    /// In maintenance its tickets are left as they are.
    pub in_maintenance: bool,
    /// Time between two occurrences of its most frequent plan; decides how long a ticket can be reopened.
    pub plan_interval: Option<Duration>,
}

/// Something that is not bound to one machine, found by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The customer; none when it concerns the whole host.
    pub customer: Option<CustomerId>,
    /// Name of the customer's client, or of the host.
    pub name: String,
    /// What it is about.
    pub topic: Topic,
    /// How bad.
    pub severity: Severity,
    /// Since when.
    pub since: DateTime<Utc>,
    /// One sentence that names the remedy.
    pub text: String,
}
