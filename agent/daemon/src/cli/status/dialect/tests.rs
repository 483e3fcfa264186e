//! Every dialect by a table of buckets.

#![expect(clippy::unwrap_used, reason = "an example of the test that does not parse has failed it")]

use super::*;
use nightkeep_wire::MachineId;
use nightkeep_wire::control::{LastRun, Link, PlanStatus};
use nightkeep_wire::plan::Plan;
use uuid::Uuid;

fn at(hour: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::Duration::hours(hour)
}

fn status(bucket: Bucket) -> StatusSnapshot {
    let last = LastRun {
        finished: at(10),
        outcome: Outcome::Ok,
        recovery_point: Some("0123456789abcdef".parse().unwrap()),
        message: "backup done".to_owned(),
    };
    StatusSnapshot {
        at: at(12),
        hostname: "pc".to_owned(),
        agent_version: "0.1.0".to_owned(),
        machine: Some(MachineId::from_uuid(Uuid::from_u128(1))),
        state: None,
        customer: None,
        link: Link::NotEnrolled,
        bucket,
        reason: "why | so".to_owned(),
        overlays: Vec::new(),
        plans: vec![PlanStatus {
            id: Plan::DEFAULT_ID,
            name: "A \"plan\"".to_owned(),
            last: Some(last),
            newest_point: Some(at(10)),
            next_start: Some(at(34)),
            held: None,
            problem: None,
        }],
        running: Vec::new(),
        paused_until: None,
        reports_waiting: 0,
        scan: None,
        warnings: Vec::new(),
    }
}

#[test]
fn exit_codes_are_the_dialects_own() {
    use Dialect::{Automate, Checkmk, Datto, Nagios, Ninja, Nsight, Prometheus, Tactical};
    let table = [
        (Bucket::Ok, [0, 0, 0, 0, 0, 0, 0, 0]),
        (Bucket::Warning, [1, 0, 0, 1, 1, 1001, 0, 1]),
        (Bucket::Error, [2, 0, 0, 1, 1, 1001, 0, 2]),
        (Bucket::NotProtected, [2, 0, 0, 1, 1, 1001, 0, 2]),
        (Bucket::WithoutPlan, [1, 0, 0, 1, 1, 1001, 0, 1]),
    ];
    for (bucket, codes) in table {
        let dialects = [Nagios, Checkmk, Prometheus, Datto, Ninja, Nsight, Automate, Tactical];
        for (dialect, code) in dialects.into_iter().zip(codes) {
            assert_eq!(of(dialect, &status(bucket)).code, code, "{bucket} in {dialect:?}");
        }
    }
}

#[test]
fn a_machine_of_no_host_is_unknown_and_a_first_backup_is_no_alarm() {
    let lost = StatusSnapshot { machine: None, ..status(Bucket::WithoutPlan) };
    assert_eq!(of(Dialect::Nagios, &lost).code, 3);
    let overlays = vec![Overlay::FirstBackup { ready_about: None }];
    let first = StatusSnapshot { overlays, ..status(Bucket::NotProtected) };
    assert_eq!(of(Dialect::Nagios, &first).code, 1);
}

#[test]
fn lines_have_the_form_their_readers_expect() {
    let of = |dialect| of(dialect, &status(Bucket::Error)).text;
    assert_eq!(of(Dialect::Nagios), "CRITICAL: Error, why / so | 'age'=7200s;;;0;");
    assert_eq!(of(Dialect::Checkmk), "2 \"Nightkeep Backup\" age=7200 CRITICAL: Error, why | so");
    assert_eq!(of(Dialect::Datto), "<-Start Result->\nSTATUS=CRITICAL: Error, why | so\n<-End Result->");
    assert_eq!(of(Dialect::Automate), "Status=CRITICAL\nCRITICAL: Error, why | so");
    assert!(of(Dialect::Prometheus).contains("nightkeep_backup_last_result{plan=\"A \\\"plan\\\"\"} 0\n"));
}

#[test]
fn after_a_failed_run_the_age_of_the_newest_point_is_still_told() {
    let mut failed = status(Bucket::Error);
    let last = failed.plans[0].last.as_mut().unwrap();
    (last.finished, last.outcome, last.recovery_point) = (at(11), Outcome::Error, None);
    assert!(of(Dialect::Nagios, &failed).text.ends_with("| 'age'=7200s;;;0;"));
    assert!(of(Dialect::Checkmk, &failed).text.contains("age=7200 "));
    let newest = "nightkeep_backup_last_success_timestamp_seconds{plan=\"A \\\"plan\\\"\"} 36000\n";
    assert!(of(Dialect::Prometheus, &failed).text.contains(newest));
}

#[test]
fn a_path_of_windows_does_not_break_a_checkmk_line() {
    let lost = StatusSnapshot { reason: r"C:\new is gone".to_owned(), ..status(Bucket::Error) };
    assert_eq!(of(Dialect::Checkmk, &lost).text, "2 \"Nightkeep Backup\" age=7200 CRITICAL: Error, C:/new is gone");
    assert!(unknown(Dialect::Checkmk, r"C:\new").text.ends_with("UNKNOWN: C:/new"));
}

#[test]
fn without_a_daemon_monitoring_hears_unknown() {
    assert_eq!(unknown(Dialect::Nagios, "no\ndaemon"), Said { text: "UNKNOWN: no daemon".to_owned(), code: 3 });
    assert_eq!(unknown(Dialect::Datto, "x").code, 1);
    assert_eq!(unknown(Dialect::Nsight, "x").code, 1001);
    assert!(unknown(Dialect::Prometheus, "x").text.contains("nightkeep_agent_up 0"));
}
