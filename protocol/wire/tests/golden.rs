//! The messages as they are on the wire. A change here is a change of protocol: ask of it whether an old reader, a new
//! reader and an old writer still understand each other.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use nightkeep_wire::bytes::{Sealed, SealingPublicKey, SigningPublicKey, TokenSecret};
use nightkeep_wire::control::{self, Answer, ControlError, ControlErrorCode, Event, Line, Op, Reply, Request};
use nightkeep_wire::desired::{AppliedPlan, Command, CommandAction, DesiredState, MachineSettings};
use nightkeep_wire::enrol::{EnrollRequest, EnrollResponse, EnrollState, VaultGrant};
use nightkeep_wire::gateway::{Grant, GrantOutcome, GrantRequest, GrantResponse, GrantWish, ListResponse, ObjectEntry};
use nightkeep_wire::id::ContentHash;
use nightkeep_wire::machine::{MachineClass, MachineFacts, MachineState, OsFacts, OsFamily};
use nightkeep_wire::plan::Plan;
use nightkeep_wire::problem::{Problem, ProblemCode};
use nightkeep_wire::progress::{JobProgress, Phase};
use nightkeep_wire::report::*;
use nightkeep_wire::status::{Bucket, Overlay};
use nightkeep_wire::{CommandId, IncarnationId, JobId, MachineId, PlanId, VaultId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

/// Writes and reads exactly this, and reads it still when every object of it has fields of a later version.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T, expected: Value) {
    assert_eq!(serde_json::to_value(message).unwrap(), expected);
    assert_eq!(&serde_json::from_value::<T>(expected.clone()).unwrap(), message);
    assert_eq!(&serde_json::from_value::<T>(with_later_fields(expected)).unwrap(), message, "unknown fields");
}

fn with_later_fields(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: serde_json::Map<_, _> =
                fields.into_iter().map(|(name, value)| (name, with_later_fields(value))).collect();
            fields.insert("added_later".into(), json!({"deep": [1, null]}));
            Value::Object(fields)
        }
        Value::Array(values) => Value::Array(values.into_iter().map(with_later_fields).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn facts() -> MachineFacts {
    MachineFacts {
        hostname: "anna-pc".into(),
        os: OsFacts { family: OsFamily::Linux, name: "Debian GNU/Linux".into(), version: "12".into() },
        arch: "x86_64".into(),
        class: MachineClass::Workstation,
        hardware_fingerprint: "4f1c".into(),
        agent_version: "0.1.0".into(),
        zone: "Europe/Berlin".into(),
        boot_id: Some("b00t".into()),
        booted_at: None,
        virtual_machine: false,
        used_bytes: Some(118_000_000_000),
        abilities: vec![],
    }
}

fn facts_json() -> Value {
    json!({
        "hostname": "anna-pc",
        "os": {"family": "linux", "name": "Debian GNU/Linux", "version": "12"},
        "arch": "x86_64",
        "class": "workstation",
        "hardware_fingerprint": "4f1c",
        "agent_version": "0.1.0",
        "zone": "Europe/Berlin",
        "boot_id": "b00t",
        "booted_at": null,
        "virtual_machine": false,
        "used_bytes": 118_000_000_000_u64,
        "abilities": []
    })
}

fn grant() -> VaultGrant {
    VaultGrant {
        vault_id: VaultId([0xab; 16]),
        location: "nightkeep+https://host/abababababababababababababababab".into(),
        public_key: SealingPublicKey([1; 32]),
        epoch: 1,
        maintenance_key: SigningPublicKey([2; 32]),
        secrets_sealed: Sealed(vec![3; 6]),
    }
}

fn grant_json() -> Value {
    json!({
        "vault_id": "abababababababababababababababab",
        "location": "nightkeep+https://host/abababababababababababababababab",
        "public_key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "epoch": 1,
        "maintenance_key": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
        "secrets_sealed": "AwMDAwMD"
    })
}

#[test]
fn enrolment() {
    let request = EnrollRequest {
        version: 1,
        secret: TokenSecret::new([0; 32]),
        facts: facts(),
        signing_key: SigningPublicKey([0xff; 32]),
        sealing_key: SealingPublicKey([0; 32]),
        incarnation: IncarnationId::from_uuid(uuid(5)),
    };
    let expected = json!({
        "version": 1,
        "secret": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "facts": facts_json(),
        "signing_key": "//////////////////////////////////////////8=",
        "sealing_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "incarnation": "00000000-0000-0000-0000-000000000005"
    });
    golden(&request, expected);
    let response = EnrollResponse {
        machine_id: MachineId::from_uuid(uuid(7)),
        state: EnrollState::Active,
        customer: "Bakery".into(),
        client: "Bakery".into(),
        location: "Main street".into(),
        vault: Some(grant()),
        poll_wait_seconds: 55,
    };
    let expected = json!({
        "machine_id": "00000000-0000-0000-0000-000000000007",
        "state": "active",
        "customer": "Bakery",
        "client": "Bakery",
        "location": "Main street",
        "vault": grant_json(),
        "poll_wait_seconds": 55
    });
    golden(&response, expected);
}

fn default_plan_json() -> Value {
    json!({
        "schema": 1,
        "id": "6e696768-746b-7000-8000-000000000001",
        "name": "Entire machine to Cloud Storage",
        "items": {"selection": {"kind": "entire_machine"}, "include": [], "exclude": [], "default_exclusions": true},
        "schedule": {
            "enabled": true,
            "cron": "0 0 23 * * Mon-Fri",
            "zone": "machine",
            "start_window_seconds": null,
            "random_delay_max_seconds": 1800,
            "catch_up": "when_possible"
        },
        "retention": {
            "monthly_months": 6, "weekly_weeks": 4, "daily_days": 7, "keep_at_least": 3,
            "keep_forever": false, "weekly_anchor": "on_day"
        },
        "location": {"kind": "cloud_storage"},
        "encryption": {"kind": "managed"},
        "options": {
            "vss": "preferred",
            "compression": "normal",
            "priority": "low",
            "upload_bytes_per_second_max": null,
            "download_bytes_per_second_max": null,
            "cpu_percent_max": null,
            "prevent_sleep": true,
            "battery": {"run": true, "charge_percent_min": 30, "charge_percent_stop": 15},
            "network": {"on_metered": false, "stop_on_metered": true, "on_vpn": true},
            "reattempts": {"enabled": true, "tries": 30, "interval_seconds": 30},
            "task_failure": {"enabled": false, "tries": 1, "interval_seconds": 3600},
            "no_backup_alert_days": null,
            "windows_event_log": {"enabled": false, "level": "errors_and_warnings"},
            "pre_command": null,
            "post_command": null,
            "pre_command_failure": "fail",
            "limit_windows": []
        }
    })
}

#[test]
fn item_72_the_default_plan_is_entire_machine_on_working_days_at_23() {
    golden(&Plan::default_plan(), default_plan_json());
}

#[test]
fn desired_state() {
    let state = DesiredState {
        version: 9,
        state: MachineState::Active,
        vault: Some(grant()),
        plans: vec![AppliedPlan { plan: Plan::default_plan(), revision: 2, applied_at: at("2026-11-20T08:00:00Z") }],
        commands: vec![
            Command {
                id: CommandId::from_uuid(uuid(1)),
                issued_at: at("2026-11-20T09:00:00Z"),
                expires_at: None,
                action: CommandAction::Start { plan: Plan::DEFAULT_ID },
            },
            Command {
                id: CommandId::from_uuid(uuid(2)),
                issued_at: at("2026-11-20T09:00:01Z"),
                expires_at: Some(at("2026-11-21T09:00:01Z")),
                action: CommandAction::Stop { job: Some(JobId::from_uuid(uuid(3))), plan: None },
            },
        ],
        settings: MachineSettings::default(),
        exclusions: None,
    };
    let expected = json!({
        "version": 9,
        "state": "active",
        "vault": grant_json(),
        "plans": [{"plan": default_plan_json(), "revision": 2, "applied_at": "2026-11-20T08:00:00Z"}],
        "commands": [
            {
                "id": "00000000-0000-0000-0000-000000000001",
                "issued_at": "2026-11-20T09:00:00Z",
                "expires_at": null,
                "action": {"kind": "start", "plan": "6e696768-746b-7000-8000-000000000001"}
            },
            {
                "id": "00000000-0000-0000-0000-000000000002",
                "issued_at": "2026-11-20T09:00:01Z",
                "expires_at": "2026-11-21T09:00:01Z",
                "action": {"kind": "stop", "job": "00000000-0000-0000-0000-000000000003", "plan": null}
            }
        ],
        "settings": {
            "class": null,
            "poll_wait_seconds": 55,
            "progress_interval_seconds": 2,
            "end_user": {
                "start": true, "stop": true, "pause": true, "pause_seconds_max": 14400, "pauses_per_day_max": 1
            },
            "upload_bytes_per_second_max": null
        },
        "exclusions": null
    });
    golden(&state, expected);
}

fn report(body: ReportBody) -> Report {
    Report {
        machine: MachineId::from_uuid(uuid(7)),
        incarnation: IncarnationId::from_uuid(uuid(5)),
        sequence: 12,
        at: at("2026-11-20T22:31:00Z"),
        body,
    }
}

fn report_json(body: Value) -> Value {
    json!({
        "machine": "00000000-0000-0000-0000-000000000007",
        "incarnation": "00000000-0000-0000-0000-000000000005",
        "sequence": 12,
        "at": "2026-11-20T22:31:00Z",
        "body": body
    })
}

#[test]
fn a_finished_job() {
    let result = JobResult {
        job: JobId::from_uuid(uuid(3)),
        plan: Some(Plan::DEFAULT_ID),
        kind: JobKind::Backup,
        cause: Cause::Schedule,
        occurrence: Some(at("2026-11-20T22:00:00Z")),
        started: at("2026-11-20T22:12:00Z"),
        finished: at("2026-11-20T22:31:00Z"),
        civil: Some(CivilStamp {
            zone: "Europe/Berlin".into(),
            offset_seconds: 3600,
            date: "2026-11-20".parse().unwrap(),
        }),
        outcome: Outcome::Warning,
        recovery_point: Some("0011aabbccddeeff".parse().unwrap()),
        set: Some(BackupSet::Daily),
        stats: JobStats { files: 3, bytes: 10, ..JobStats::default() },
        findings: vec![Finding {
            path_lossy: "/home/anna/mail.pst".into(),
            kind: FindingKind::Unreadable,
            message: "permission denied".into(),
        }],
        finding_count: 1,
        error: None,
        error_class: None,
        bootable: false,
    };
    let expected = json!({
        "kind": "job_finished",
        "job": "00000000-0000-0000-0000-000000000003",
        "plan": "6e696768-746b-7000-8000-000000000001",
        // The tag of the body and the job's own kind are different fields.
        "job_kind": "backup",
        "cause": "schedule",
        "occurrence": "2026-11-20T22:00:00Z",
        "started": "2026-11-20T22:12:00Z",
        "finished": "2026-11-20T22:31:00Z",
        "civil": {"zone": "Europe/Berlin", "offset_seconds": 3600, "date": "2026-11-20"},
        "outcome": "warning",
        "recovery_point": "0011aabbccddeeff",
        "set": "daily",
        "stats": {
            "files": 3, "dirs": 0, "bytes": 10, "files_new": 0, "files_changed": 0, "files_unchanged": 0,
            "bytes_read": 0, "bytes_new": 0, "bytes_stored": 0, "objects": 0
        },
        "findings": [{"path_lossy": "/home/anna/mail.pst", "kind": "unreadable", "message": "permission denied"}],
        "finding_count": 1,
        "error": null,
        "error_class": null,
        "bootable": false
    });
    golden(&report(ReportBody::JobFinished(Box::new(result))), report_json(expected));
}

#[test]
fn the_other_reports() {
    let plan = Plan::DEFAULT_ID;
    let plan_json = "6e696768-746b-7000-8000-000000000001";
    let started = JobStarted {
        job: JobId::from_uuid(uuid(3)),
        plan: Some(plan),
        kind: JobKind::Backup,
        cause: Cause::CatchUp,
        occurrence: None,
        started: at("2026-11-20T22:12:00Z"),
    };
    let expected = json!({
        "kind": "job_started", "job": "00000000-0000-0000-0000-000000000003", "plan": plan_json,
        "job_kind": "backup", "cause": "catch_up", "occurrence": null, "started": "2026-11-20T22:12:00Z"
    });
    golden(&report(ReportBody::JobStarted(started)), report_json(expected));

    let missed =
        Missed { plan, occurrence: at("2026-11-20T22:00:00Z"), reason: MissedReason::MachineOff, online_seconds: 0 };
    let expected = json!({
        "kind": "missed", "plan": plan_json, "occurrence": "2026-11-20T22:00:00Z", "reason": "machine_off",
        "online_seconds": 0
    });
    golden(&report(ReportBody::Missed(missed)), report_json(expected));

    let done = CommandDone {
        command: CommandId::from_uuid(uuid(1)),
        outcome: CommandOutcome::Refused,
        job: None,
        message: Some("no such plan".into()),
    };
    let expected = json!({
        "kind": "command_done", "command": "00000000-0000-0000-0000-000000000001", "outcome": "refused",
        "job": null, "message": "no such plan"
    });
    golden(&report(ReportBody::CommandDone(done)), report_json(expected));

    let state = PlanState { plan, revision: 2, accepted: true, message: None, next_occurrence: None, next_start: None };
    let expected = json!({
        "kind": "plan_state", "plan": plan_json, "revision": 2, "accepted": true, "message": null,
        "next_occurrence": null, "next_start": null
    });
    golden(&report(ReportBody::PlanState(state)), report_json(expected));

    let pause = PauseState { until: Some(at("2026-11-21T02:00:00Z")), by: "anna".into() };
    let expected = json!({"kind": "pause", "until": "2026-11-21T02:00:00Z", "by": "anna"});
    golden(&report(ReportBody::Pause(pause)), report_json(expected));

    let mut expected = facts_json();
    expected["kind"] = "facts".into();
    golden(&report(ReportBody::Facts(Box::new(facts()))), report_json(expected));
}

#[test]
fn the_gateway() {
    let wish = GrantRequest {
        objects: vec![GrantWish { name: "p/00/ab".parse().unwrap(), len: 5, hash: ContentHash([0x11; 32]) }],
    };
    let expected = json!({"objects": [{"name": "p/00/ab", "len": 5, "hash": "11".repeat(32)}]});
    golden(&wish, expected);
    let name = |text: &str| text.parse().unwrap();
    let grants = GrantResponse {
        grants: vec![
            Grant {
                name: name("p/00/ab"),
                outcome: GrantOutcome::Url {
                    url: "https://host/api/agent/v1/vault/object/p/00/ab?grant=x".into(),
                    expires: at("2026-11-20T22:15:00Z"),
                },
            },
            Grant { name: name("p/00/ac"), outcome: GrantOutcome::Exists },
            Grant {
                name: name("g/1"),
                outcome: GrantOutcome::Refused {
                    code: ProblemCode::NotAllowed,
                    reason: "agents do not write g/1".into(),
                },
            },
        ],
    };
    let expected = json!({"grants": [
        {
            "name": "p/00/ab", "result": "url",
            "url": "https://host/api/agent/v1/vault/object/p/00/ab?grant=x", "expires": "2026-11-20T22:15:00Z"
        },
        {"name": "p/00/ac", "result": "exists"},
        {"name": "g/1", "result": "refused", "code": "not-allowed", "reason": "agents do not write g/1"}
    ]});
    golden(&grants, expected);
    let list = ListResponse { objects: vec![ObjectEntry { name: name("cfg/vault"), len: 200 }], more: false };
    golden(&list, json!({"objects": [{"name": "cfg/vault", "len": 200}], "more": false}));
}

fn progress() -> JobProgress {
    JobProgress {
        job: JobId::from_uuid(uuid(3)),
        plan: Some(PlanId::from_uuid(uuid(4))),
        kind: JobKind::Backup,
        phase: Phase::BackingUp,
        started: at("2026-11-20T22:12:00Z"),
        at: at("2026-11-20T22:13:00Z"),
        files_done: 42,
        files_total: Some(100),
        bytes_done: 1,
        bytes_total: None,
        percent: Some(42),
    }
}

fn progress_json() -> Value {
    json!({
        "job": "00000000-0000-0000-0000-000000000003",
        "plan": "00000000-0000-0000-0000-000000000004",
        "job_kind": "backup",
        "phase": "backing_up",
        "started": "2026-11-20T22:12:00Z",
        "at": "2026-11-20T22:13:00Z",
        "files_done": 42,
        "files_total": 100,
        "bytes_done": 1,
        "bytes_total": null,
        "percent": 42
    })
}

#[test]
fn local_control() {
    golden(&Request { id: 1, op: Op::Status }, json!({"id": 1, "op": "status"}));
    golden(&Request { id: 2, op: Op::Start { plan: None } }, json!({"id": 2, "op": "start", "plan": null}));
    golden(&Request { id: 3, op: Op::Pause { for_seconds: 60 } }, json!({"id": 3, "op": "pause", "for_seconds": 60}));
    let answer = |id, result| Line::Response(control::Response { id, result });
    golden(&answer(1, Answer::Ok(Reply::Done)), json!({"id": 1, "ok": {"reply": "done"}}));
    let refused = ControlError {
        code: ControlErrorCode::NotAllowed,
        message: "only an administrator may pause backups on a server".into(),
    };
    let expected = json!({
        "id": 3,
        "error": {"code": "not_allowed", "message": "only an administrator may pause backups on a server"}
    });
    golden(&answer(3, Answer::Error(refused)), expected);
    let mut expected = progress_json();
    expected["event"] = "progress".into();
    golden(&Line::Event(Event::Progress(progress())), expected);
}

#[test]
fn a_status_snapshot() {
    let snapshot = control::StatusSnapshot {
        at: at("2026-11-20T22:13:00Z"),
        hostname: "anna-pc".into(),
        agent_version: "0.1.0".into(),
        machine: Some(MachineId::from_uuid(uuid(7))),
        state: Some(MachineState::Active),
        customer: Some("Bakery".into()),
        link: control::Link::Online { host: "https://host".into(), last_contact: at("2026-11-20T22:12:30Z") },
        bucket: Bucket::NotProtected,
        reason: "first backup is running".into(),
        overlays: vec![Overlay::BackingUp { percent: Some(42) }, Overlay::FirstBackup { ready_about: None }],
        plans: vec![],
        running: vec![progress()],
        paused_until: None,
        reports_waiting: 2,
        scan: None,
        warnings: Vec::new(),
    };
    let expected = json!({
        "at": "2026-11-20T22:13:00Z",
        "hostname": "anna-pc",
        "agent_version": "0.1.0",
        "machine": "00000000-0000-0000-0000-000000000007",
        "state": "active",
        "customer": "Bakery",
        "link": {"kind": "online", "host": "https://host", "last_contact": "2026-11-20T22:12:30Z"},
        "bucket": "not_protected",
        "reason": "first backup is running",
        "overlays": [{"kind": "backing_up", "percent": 42}, {"kind": "first_backup", "ready_about": null}],
        "plans": [],
        "running": [progress_json()],
        "paused_until": null,
        "reports_waiting": 2
    });
    golden(&snapshot, expected);
}

#[test]
fn a_problem() {
    let expected = json!({
        "type": "https://nightkeep.invalid/problems/sequence-gap",
        "title": "Report number out of order",
        "status": 409,
        "detail": "report 9 came where 7 was expected: send from 7 on",
        "code": "sequence-gap",
        "expected": 7
    });
    golden(&Problem::sequence_gap(7, 9), expected);
}

#[test]
fn what_a_newer_host_adds_is_read_as_unknown() {
    let command: CommandAction = serde_json::from_value(json!({"kind": "defrost", "degrees": 3})).unwrap();
    assert_eq!(command, CommandAction::Unknown);
    let body: ReportBody = serde_json::from_value(json!({"kind": "weather", "sunny": true})).unwrap();
    assert_eq!(body, ReportBody::Unknown);
    let code: ProblemCode = serde_json::from_value(json!("teapot")).unwrap();
    assert_eq!(code, ProblemCode::Unknown);
    let request: Request = serde_json::from_value(json!({"id": 4, "op": "dance"})).unwrap();
    assert_eq!(request.op, Op::Unknown);
    let line: Line = serde_json::from_value(json!({"event": "party", "at": 5})).unwrap();
    assert_eq!(line, Line::Event(Event::Unknown));
    let selection = json!({"kind": "mailboxes"});
    let mut plan = default_plan_json();
    plan["items"]["selection"] = selection;
    let plan: Plan = serde_json::from_value(plan).unwrap();
    assert!(plan.validate().is_err(), "a plan that is not understood must not run");
}
