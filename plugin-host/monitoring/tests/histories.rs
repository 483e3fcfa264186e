//! Random histories of a fleet: whatever happens, the ledger stays sound.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use nightkeep_monitoring::*;
use nightkeep_rules::status::Verdict;
use nightkeep_wire::machine::MachineClass;
use nightkeep_wire::report::ErrorClass;
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{ClientId, CustomerId, MachineId, TicketId};
use proptest::prelude::*;
use uuid::Uuid;

const MACHINES: u128 = 8;

/// What one scan finds on one machine.
#[derive(Debug, Clone, Copy)]
struct Found {
    bucket: Bucket,
    class: Option<ErrorClass>,
    missed: bool,
    maintenance: bool,
    present: bool,
}

fn found() -> impl Strategy<Value = Found> {
    let classes = vec![None, Some(ErrorClass::Machine), Some(ErrorClass::Storage), Some(ErrorClass::Quota)];
    let bucket = prop::sample::select(Bucket::ALL.to_vec());
    (bucket, prop::sample::select(classes), any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.95))
        .prop_map(|(bucket, class, missed, maintenance, present)| Found { bucket, class, missed, maintenance, present })
}

#[derive(Debug, Clone)]
struct Scan {
    hours: i64,
    fleet: Vec<Found>,
    taken_by_person: bool,
}

fn scan() -> impl Strategy<Value = Scan> {
    let fleet = prop::collection::vec(found(), MACHINES as usize);
    (1i64..400, fleet, prop::bool::weighted(0.1)).prop_map(|(hours, fleet, taken_by_person)| Scan {
        hours,
        fleet,
        taken_by_person,
    })
}

fn verdict(found: &Found) -> Verdict {
    Verdict {
        bucket: found.bucket,
        reason: "because".into(),
        overlays: vec![],
        last_backup: None,
        last_outcome: None,
        next_backup: None,
        newest_point: None,
        missed_in_a_row: 3,
        missed_alarm: found.missed,
        errors_in_a_row: 2,
        error_class: found.class,
        awaits_first_backup: false,
        silence: None,
        plans: vec![],
    }
}

fn machines<'a>(fleet: &[Found], verdicts: &'a [Verdict], since: DateTime<Utc>) -> Vec<MachineInput<'a>> {
    let all = (0..MACHINES).zip(fleet).zip(verdicts).filter(|((_, found), _)| found.present);
    all.map(|((n, found), verdict)| MachineInput {
        machine: MachineId::from_uuid(Uuid::from_u128(n)),
        customer: CustomerId::from_uuid(Uuid::from_u128(n % 4)),
        client: ClientId::from_uuid(Uuid::from_u128(n % 4)),
        name: "box",
        client_name: "Bakery",
        class: if n % 2 == 0 { MachineClass::Server } else { MachineClass::Workstation },
        enrolled_at: since - Duration::days(30),
        verdict,
        bucket_since: since,
        in_maintenance: found.maintenance,
        plan_interval: Some(Duration::days(1)),
    })
    .collect()
}

fn is_open(ticket: &TicketRecord) -> bool {
    matches!(ticket.state, TicketState::Open { .. })
}

/// Stores the steps as a host does; checks what each of them may do.
fn store(ledger: &mut BTreeMap<TicketId, TicketRecord>, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        let before = ledger.insert(step.record.id, step.record.clone());
        let was_open = before.as_ref().is_some_and(is_open);
        match &step.action {
            Action::Open { .. } => prop_assert!(before.is_none() && is_open(&step.record)),
            Action::Update { .. } | Action::Note { .. } => prop_assert!(was_open && is_open(&step.record)),
            Action::Resolve { .. } => {
                prop_assert!(was_open && !is_open(&step.record));
                prop_assert!(!step.record.human, "a person's ticket was closed");
            }
            Action::Reopen { .. } => prop_assert!(!was_open && is_open(&step.record)),
        }
        let revision = before.map_or(0, |ticket| ticket.revision);
        prop_assert_eq!(step.record.revision, revision + 1);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_open_ticket_per_cause_and_nothing_to_do_twice(scans in prop::collection::vec(scan(), 1..20)) {
        let options = Options::default();
        let mut ledger: BTreeMap<TicketId, TicketRecord> = BTreeMap::new();
        let mut now = DateTime::from_timestamp(1_795_176_000, 0).unwrap();
        let mut ids = 0;
        let mut new_id = || {
            ids += 1;
            TicketId::from_uuid(Uuid::from_u128(ids))
        };
        for scan in scans {
            now += Duration::hours(scan.hours);
            let verdicts: Vec<Verdict> = scan.fleet.iter().map(verdict).collect();
            let fleet = machines(&scan.fleet, &verdicts, now - Duration::hours(100));
            let tickets = |ledger: &BTreeMap<_, TicketRecord>| ledger.values().cloned().collect::<Vec<_>>();
            let steps = reconcile(&fleet, &[], &tickets(&ledger), &options, now, &mut new_id);
            store(&mut ledger, &steps)?;
            let again = reconcile(&fleet, &[], &tickets(&ledger), &options, now, &mut new_id);
            prop_assert!(again.is_empty(), "{:?}", again);
            let mut open: Vec<CauseKey> = ledger.values().filter(|t| is_open(t)).map(|t| t.cause).collect();
            let count = open.len();
            open.sort();
            open.dedup();
            prop_assert_eq!(open.len(), count, "two open tickets for one cause");
            if scan.taken_by_person && let Some(ticket) = ledger.values_mut().find(|t| is_open(t)) {
                ticket.human = true;
            }
        }
        // Once all is well, only what people took is still open.
        let well = Found { bucket: Bucket::Ok, class: None, missed: false, maintenance: false, present: true };
        let verdicts = vec![verdict(&well); MACHINES as usize];
        let fleet = machines(&[well; MACHINES as usize], &verdicts, now);
        let tickets: Vec<_> = ledger.values().cloned().collect();
        let steps = reconcile(&fleet, &[], &tickets, &options, now + Duration::hours(1), &mut new_id);
        store(&mut ledger, &steps)?;
        prop_assert!(ledger.values().filter(|t| is_open(t)).all(|t| t.human));
    }
}
