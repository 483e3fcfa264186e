//! Monitors and tickets as tables: what shows where, what becomes a ticket when, and how tickets live.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{DateTime, Duration, Utc};
use nightkeep_monitoring::*;
use nightkeep_rules::status::{Silence, Verdict};
use nightkeep_wire::machine::MachineClass::{self, Server, Workstation};
use nightkeep_wire::report::ErrorClass;
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{ClientId, CustomerId, MachineId, TicketId};
use uuid::Uuid;

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-20T12:00:00Z").unwrap().to_utc() + Duration::hours(hours)
}

fn verdict(bucket: Bucket) -> Verdict {
    let failed = bucket == Bucket::Error;
    Verdict {
        bucket,
        reason: format!("it is {bucket}"),
        overlays: vec![],
        last_backup: None,
        last_outcome: None,
        next_backup: None,
        newest_point: None,
        missed_in_a_row: 0,
        missed_alarm: false,
        errors_in_a_row: u32::from(failed),
        error_class: failed.then_some(ErrorClass::Machine),
        awaits_first_backup: false,
        silence: None,
        plans: vec![],
    }
}

fn failed(class: ErrorClass) -> Verdict {
    Verdict { error_class: Some(class), ..verdict(Bucket::Error) }
}

fn missed() -> Verdict {
    Verdict { missed_in_a_row: 3, missed_alarm: true, ..verdict(Bucket::Warning) }
}

fn pending() -> Verdict {
    Verdict { awaits_first_backup: true, ..verdict(Bucket::NotProtected) }
}

fn silent(silence: Silence) -> Verdict {
    Verdict { silence: Some(silence), ..verdict(Bucket::Ok) }
}

/// Machine `n` of customer `customer`, in its bucket since five hours ago.
fn machine(n: u128, customer: u128, class: MachineClass, verdict: &Verdict) -> MachineInput<'_> {
    MachineInput {
        machine: MachineId::from_uuid(Uuid::from_u128(n)),
        customer: CustomerId::from_uuid(Uuid::from_u128(customer)),
        client: ClientId::from_uuid(Uuid::from_u128(customer)),
        name: "box",
        client_name: "Bakery",
        class,
        enrolled_at: at(-1000),
        verdict,
        bucket_since: at(-5),
        in_maintenance: false,
        plan_interval: Some(Duration::hours(24)),
    }
}

fn condition(customer: Option<u128>, topic: Topic, severity: Severity) -> Condition {
    Condition {
        customer: customer.map(|n| CustomerId::from_uuid(Uuid::from_u128(n))),
        name: "Bakery".into(),
        topic,
        severity,
        since: at(-5),
        text: format!("{}: act", topic.label()),
    }
}

/// A host with its ledger, scanning hour by hour.
#[derive(Default)]
struct Desk {
    ledger: Vec<TicketRecord>,
    options: Options,
    ids: u128,
}

impl Desk {
    fn scan(&mut self, machines: &[MachineInput<'_>], conditions: &[Condition], now: DateTime<Utc>) -> Vec<Action> {
        let ids = &mut self.ids;
        let new_id = || {
            *ids += 1;
            TicketId::from_uuid(Uuid::from_u128(*ids))
        };
        let steps = reconcile(machines, conditions, &self.ledger, &self.options, now, new_id);
        for step in &steps {
            match self.ledger.iter_mut().find(|t| t.id == step.record.id) {
                Some(known) => {
                    assert_eq!(step.record.revision, known.revision + 1);
                    *known = step.record.clone();
                }
                None => self.ledger.push(step.record.clone()),
            }
        }
        let again =
            reconcile(machines, conditions, &self.ledger, &self.options, now, || unreachable!("a second ticket"));
        assert!(again.is_empty(), "a second scan of the same facts does {again:?}");
        steps.into_iter().map(|step| step.action).collect()
    }

    fn words(&mut self, machines: &[MachineInput<'_>], now: i64) -> Vec<&'static str> {
        self.scan(machines, &[], at(now)).iter().map(word).collect()
    }
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Open { .. } => "open",
        Action::Update { .. } => "update",
        Action::Note { .. } => "note",
        Action::Resolve { .. } => "resolve",
        Action::Reopen { .. } => "reopen",
    }
}

#[test]
fn item_84_the_eight_monitors_have_their_exact_names() {
    let names: Vec<_> = Monitor::ALL.iter().map(|m| m.name()).collect();
    let expected = [
        "Nightkeep Backup - Clients - Critical Issues",
        "Nightkeep Backup - Clients - Non Critical Issues",
        "Nightkeep Backup - Clients - Warnings",
        "Nightkeep Backup - Machines - Critical Issues",
        "Nightkeep Backup - Machines - Non Critical Issues",
        "Nightkeep Backup - Machines - Warnings",
        "Nightkeep Backup - Machines - Missed Backups",
        "Nightkeep Backup - Machines - Not protected",
    ];
    assert_eq!(names, expected);
}

#[test]
fn each_verdict_shows_in_its_monitors() {
    let table: [(Verdict, &[(Monitor, Severity)]); 10] = [
        (verdict(Bucket::Ok), &[]),
        (verdict(Bucket::WithoutAgent), &[]),
        (verdict(Bucket::WithoutPlan), &[]),
        (verdict(Bucket::Warning), &[(Monitor::MachinesWarnings, Severity::Warning)]),
        (verdict(Bucket::Error), &[(Monitor::MachinesNonCritical, Severity::Error)]),
        (failed(ErrorClass::VaultDamaged), &[(Monitor::MachinesCritical, Severity::Critical)]),
        (verdict(Bucket::NotProtected), &[(Monitor::MachinesNotProtected, Severity::Critical)]),
        (pending(), &[]),
        (missed(), &[(Monitor::MachinesWarnings, Severity::Warning), (Monitor::MachinesMissed, Severity::Error)]),
        (silent(Silence::Listed { days: 15 }), &[(Monitor::MachinesWarnings, Severity::Warning)]),
    ];
    for (verdict, expected) in &table {
        let found = rows(&[machine(1, 1, Server, verdict)], &[], &Options::default()).unwrap();
        let found: Vec<_> = found.iter().map(|row| (row.monitor, row.severity)).collect();
        assert_eq!(found, *expected, "{verdict:?}");
    }
}

#[test]
fn conditions_show_in_the_monitors_of_clients() {
    for (severity, monitor) in [
        (Severity::Critical, Monitor::ClientsCritical),
        (Severity::Error, Monitor::ClientsNonCritical),
        (Severity::Warning, Monitor::ClientsWarnings),
    ] {
        let found = rows(&[], &[condition(Some(1), Topic::Quota, severity)], &Options::default()).unwrap();
        assert_eq!((found.len(), found[0].monitor), (1, monitor));
    }
}

#[test]
fn in_maintenance_a_machine_shows_nothing() {
    let verdict = verdict(Bucket::Error);
    let resting = MachineInput { in_maintenance: true, ..machine(1, 1, Server, &verdict) };
    assert_eq!(rows(&[resting], &[], &Options::default()).unwrap(), []);
}

#[test]
fn item_21_the_master_switch_stops_rows_and_tickets_together_and_replays_nothing() {
    let (bad, good) = (verdict(Bucket::Error), verdict(Bucket::Ok));
    let mut desk = Desk { options: Options { enabled: false, ..Options::default() }, ..Desk::default() };
    assert_eq!(rows(&[machine(1, 1, Server, &bad)], &[], &desk.options), None);
    assert!(desk.words(&[machine(1, 1, Server, &bad)], 0).is_empty());
    desk.options.enabled = true;
    assert!(desk.words(&[machine(1, 1, Server, &good)], 1).is_empty(), "what began and ended meanwhile is no ticket");
}

#[test]
fn what_becomes_a_ticket_and_when() {
    struct Row {
        name: &'static str,
        class: MachineClass,
        verdict: Verdict,
        hours: i64,
        opens: bool,
    }
    let row = |name, class, verdict, hours, opens| Row { name, class, verdict, hours, opens };
    let twice = Verdict { errors_in_a_row: 2, ..verdict(Bucket::Error) };
    let overdue = Verdict { errors_in_a_row: 0, error_class: None, ..verdict(Bucket::Error) };
    let rows = [
        row("server error", Server, verdict(Bucket::Error), 0, true),
        row("workstation error, first", Workstation, verdict(Bucket::Error), 40, false),
        row("workstation error, second", Workstation, twice, 0, true),
        row("server overdue", Server, overdue, 0, true),
        row("warning", Server, verdict(Bucket::Warning), 900, false),
        row("server not protected, 23 h", Server, verdict(Bucket::NotProtected), 23, false),
        row("server not protected, 24 h", Server, verdict(Bucket::NotProtected), 24, true),
        row("workstation not protected, 71 h", Workstation, verdict(Bucket::NotProtected), 71, false),
        row("workstation not protected, 72 h", Workstation, verdict(Bucket::NotProtected), 72, true),
        row("first backup pending", Server, pending(), 900, false),
        row("missed", Workstation, missed(), 0, true),
        row("without plan", Server, verdict(Bucket::WithoutPlan), 900, false),
        row("silent for two weeks", Workstation, silent(Silence::Listed { days: 20 }), 0, false),
        row("silent for a month", Workstation, silent(Silence::ChaseOrRetire { days: 30 }), 0, true),
        row("storage, at once", Server, failed(ErrorClass::Storage), 0, false),
        row("storage, an hour", Server, failed(ErrorClass::Storage), 1, true),
    ];
    for row in rows {
        let input = MachineInput { bucket_since: at(-row.hours), ..machine(1, 1, row.class, &row.verdict) };
        let words = Desk::default().words(&[input], 0);
        assert_eq!(words, if row.opens { vec!["open"] } else { vec![] }, "{}", row.name);
    }
}

#[test]
fn a_new_machine_is_left_alone_for_three_days() {
    for verdict in [verdict(Bucket::Error), failed(ErrorClass::Credentials)] {
        let mut desk = Desk::default();
        let input = MachineInput { enrolled_at: at(-71), ..machine(1, 1, Server, &verdict) };
        assert!(desk.words(std::slice::from_ref(&input), 0).is_empty());
        assert_eq!(desk.words(&[input], 1), ["open"]);
    }
}

#[test]
fn a_ticket_opens_is_resolved_and_opened_again_within_a_week() {
    let (bad, good) = (verdict(Bucket::Error), verdict(Bucket::Ok));
    let mut desk = Desk::default();
    assert_eq!(desk.words(&[machine(1, 1, Server, &bad)], 0), ["open"]);
    assert!(desk.words(&[machine(1, 1, Server, &bad)], 24).is_empty(), "one open ticket, no repetition");
    assert_eq!(desk.words(&[machine(1, 1, Server, &good)], 25), ["resolve"]);
    assert_eq!(desk.words(&[machine(1, 1, Server, &bad)], 25 + 7 * 24), ["reopen"]);
    assert_eq!(desk.words(&[machine(1, 1, Server, &good)], 200), ["resolve"]);
    assert_eq!(desk.words(&[machine(1, 1, Server, &bad)], 201 + 7 * 24), ["open"]);
    assert_eq!(desk.ledger.len(), 2);
}

#[test]
fn a_weekly_plan_reopens_for_three_of_its_occurrences() {
    let (bad, good) = (verdict(Bucket::Error), verdict(Bucket::Ok));
    let weekly = |v| MachineInput { plan_interval: Some(Duration::days(7)), ..machine(1, 1, Server, v) };
    let mut desk = Desk::default();
    desk.words(&[weekly(&bad)], 0);
    desk.words(&[weekly(&good)], 1);
    assert_eq!(desk.words(&[weekly(&bad)], 20 * 24), ["reopen"]);
}

#[test]
fn another_trouble_of_the_same_machine_is_a_note_on_its_ticket() {
    let (bad, worse, good) = (verdict(Bucket::Error), verdict(Bucket::NotProtected), verdict(Bucket::Ok));
    let mut desk = Desk::default();
    assert_eq!(desk.words(&[machine(1, 1, Server, &bad)], 0), ["open"]);
    assert_eq!(desk.words(&[machine(1, 1, Server, &worse)], 1), ["update"]);
    let storage = failed(ErrorClass::Storage);
    assert_eq!(desk.words(&[machine(1, 1, Server, &storage)], 2), ["update"], "not cleared, though shared by now");
    assert_eq!(desk.words(&[machine(1, 1, Server, &good)], 3), ["resolve"]);
}

#[test]
fn a_ticket_that_a_person_took_is_never_closed() {
    let (bad, good) = (verdict(Bucket::Error), verdict(Bucket::Ok));
    let mut desk = Desk::default();
    desk.words(&[machine(1, 1, Server, &bad)], 0);
    desk.ledger[0].human = true;
    assert_eq!(desk.words(&[machine(1, 1, Server, &good)], 1), ["note"]);
    assert!(desk.words(&[machine(1, 1, Server, &good)], 2).is_empty(), "one note");
    assert_eq!(desk.words(&[machine(1, 1, Server, &bad)], 3), ["update"]);
}

#[test]
fn with_resolve_off_people_close_and_with_create_off_nothing_opens() {
    let (bad, good) = (verdict(Bucket::Error), verdict(Bucket::Ok));
    let mut desk = Desk::default();
    desk.options.tickets = TicketOptions::create_only();
    assert_eq!(desk.words(&[machine(1, 1, Server, &bad)], 0), ["open"]);
    assert_eq!(desk.words(&[machine(1, 1, Server, &good)], 1), ["note"]);
    desk.ledger[0].state = TicketState::Resolved { at: at(2) };
    assert_eq!(desk.words(&[machine(1, 1, Server, &bad)], 3), ["open"], "a new one, since reopening is off");
    let mut silent = Desk::default();
    silent.options.tickets.create = false;
    assert!(silent.words(&[machine(1, 1, Server, &bad)], 0).is_empty());
}

#[test]
fn maintenance_leaves_tickets_as_they_are() {
    let (bad, good) = (verdict(Bucket::Error), verdict(Bucket::Ok));
    let mut desk = Desk::default();
    desk.words(&[machine(1, 1, Server, &bad)], 0);
    for verdict in [&bad, &good] {
        let resting = MachineInput { in_maintenance: true, ..machine(1, 1, Server, verdict) };
        assert!(desk.words(&[resting], 1).is_empty());
    }
    assert_eq!(desk.words(&[machine(1, 1, Server, &good)], 2), ["resolve"]);
}

#[test]
fn a_retired_machine_takes_its_ticket_with_it() {
    let bad = verdict(Bucket::Error);
    let mut desk = Desk::default();
    desk.words(&[machine(1, 1, Server, &bad)], 0);
    assert_eq!(desk.words(&[], 1), ["resolve"]);
}

#[test]
fn a_thousand_machines_without_storage_are_one_ticket() {
    let (storage, good) = (failed(ErrorClass::Storage), verdict(Bucket::Ok));
    let fleet = |v| (0..1000).map(|n| machine(n, n % 10, Workstation, v)).collect::<Vec<_>>();
    let mut desk = Desk::default();
    let actions = desk.scan(&fleet(&storage), &[], at(0));
    let [Action::Open { content }] = actions.as_slice() else { panic!("{} actions", actions.len()) };
    assert_eq!(content.summary, "Backup: storage unreachable - all customers (1000 machines)");
    assert_eq!((content.machine_count, content.machines.len()), (1000, MACHINES_LISTED_MAX));
    assert_eq!(desk.ledger[0].cause, CauseKey::Everywhere(Topic::Storage));
    assert_eq!(desk.words(&fleet(&good), 1), ["resolve"]);
}

#[test]
fn a_wide_failure_that_grows_and_shrinks_stays_one_ticket() {
    let storage = failed(ErrorClass::Storage);
    let fleet = |n: u128| (0..n).map(|n| machine(n, n % 10, Workstation, &storage)).collect::<Vec<_>>();
    let mut desk = Desk::default();
    assert_eq!(desk.words(&fleet(100), 0), ["open"]);
    assert!(desk.words(&fleet(120), 1).is_empty(), "a few more are not worth a note");
    assert_eq!(desk.words(&fleet(200), 2), ["update"]);
    assert_eq!(desk.words(&fleet(1), 3), ["update"], "the last machine is still the same failure");
    assert_eq!(desk.words(&[], 4), ["resolve"]);
}

#[test]
fn what_one_customers_machines_share_is_one_ticket_of_that_customer() {
    let quota = failed(ErrorClass::Quota);
    let machines: Vec<_> = (0..30).map(|n| machine(n, n % 2, Server, &quota)).collect();
    let mut desk = Desk::default();
    assert_eq!(desk.words(&machines, 0), ["open", "open"]);
    let many: Vec<_> = (0..30).map(|n| machine(n, n % 15, Server, &quota)).collect();
    assert_eq!(Desk::default().words(&many, 0).len(), 15, "a quota is each customer's own");
}

#[test]
fn the_hosts_own_finding_and_the_machines_failures_are_one_ticket() {
    let storage = failed(ErrorClass::Storage);
    let machines: Vec<_> = (0..5).map(|n| machine(n, 1, Server, &storage)).collect();
    let down = condition(None, Topic::Storage, Severity::Critical);
    let mut desk = Desk::default();
    let actions = desk.scan(&machines, std::slice::from_ref(&down), at(0));
    let [Action::Open { content }] = actions.as_slice() else { panic!("{} actions", actions.len()) };
    assert_eq!((content.severity, content.priority), (Severity::Critical, Priority::High));
    assert!(content.body.starts_with("storage unreachable: act\nbox: "), "{}", content.body);
}

#[test]
fn a_condition_of_severity_warning_opens_no_ticket() {
    let near = condition(Some(1), Topic::Quota, Severity::Warning);
    assert!(Desk::default().scan(&[], &[near], at(0)).is_empty());
}

#[test]
fn keys_of_causes_survive_their_text_form() {
    let customer = CustomerId::from_uuid(Uuid::from_u128(3));
    let machine = MachineId::from_uuid(Uuid::from_u128(4));
    for key in [
        CauseKey::Machine(machine),
        CauseKey::Customer(customer, Topic::PlanSync),
        CauseKey::Everywhere(Topic::HostLink),
    ] {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    for bad in
        ["", "machine/", "machine/x", "customer/00000000-0000-0000-0000-000000000003", "everywhere/rain", "a/b/c/d"]
    {
        assert!(bad.parse::<CauseKey>().is_err(), "{bad}");
    }
}

#[test]
fn summaries_fit_into_ticketing_systems() {
    let bad = verdict(Bucket::Error);
    let long = "Ä".repeat(300);
    let input = MachineInput { name: &long, ..machine(1, 1, Server, &bad) };
    let actions = Desk::default().scan(&[input], &[], at(0));
    let [Action::Open { content }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(content.summary.chars().count(), SUMMARY_CHARS_MAX);
}

#[test]
fn the_weekly_mail_lists_warnings_and_silent_machines_per_customer() {
    let (warning, quiet, good) = (verdict(Bucket::Warning), silent(Silence::Listed { days: 20 }), verdict(Bucket::Ok));
    let found = digests(&[
        machine(1, 1, Server, &warning),
        machine(2, 1, Workstation, &quiet),
        machine(3, 2, Server, &good),
        machine(4, 3, Server, &warning),
    ]);
    let shape: Vec<_> = found.iter().map(|d| (d.warnings.len(), d.silent.len())).collect();
    assert_eq!(shape, [(1, 1), (1, 0)]);
    assert_eq!(found[0].silent[0].text, "not heard for 20 days");
}
