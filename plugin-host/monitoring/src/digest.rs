//! The weekly mail per customer: what is worth knowing and no ticket.

use std::collections::BTreeMap;

use nightkeep_rules::status::Silence;
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{CustomerId, MachineId};

use crate::input::MachineInput;

/// What a customer's weekly mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The customer.
    pub customer: CustomerId,
    /// Machines with warnings, by name.
    pub warnings: Vec<DigestLine>,
    /// Machines not heard for two weeks, by name.
    pub silent: Vec<DigestLine>,
}

/// One machine in the mail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DigestLine {
    /// Its name.
    pub name: String,
    /// The machine.
    pub machine: MachineId,
    /// One sentence.
    pub text: String,
}

/// The mails to send; customers with nothing to tell get none.
pub fn digests(machines: &[MachineInput<'_>]) -> Vec<Digest> {
    let mut digests: BTreeMap<CustomerId, Digest> = BTreeMap::new();
    for input in machines {
        let line = |text: String| DigestLine { name: input.name.to_owned(), machine: input.machine, text };
        let warning = (input.verdict.bucket == Bucket::Warning).then(|| line(input.verdict.reason.clone()));
        let silent = match input.verdict.silence {
            Some(Silence::Listed { days } | Silence::ChaseOrRetire { days }) => {
                Some(line(format!("not heard for {days} days")))
            }
            None => None,
        };
        if warning.is_none() && silent.is_none() {
            continue;
        }
        let empty = || Digest { customer: input.customer, warnings: Vec::new(), silent: Vec::new() };
        let digest = digests.entry(input.customer).or_insert_with(empty);
        digest.warnings.extend(warning);
        digest.silent.extend(silent);
    }
    let mut digests: Vec<Digest> = digests.into_values().collect();
    for digest in &mut digests {
        digest.warnings.sort();
        digest.silent.sort();
    }
    digests
}
