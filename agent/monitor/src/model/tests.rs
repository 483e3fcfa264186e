//! Faces by status.

use super::*;
use nightkeep_wire::control::{ControlErrorCode, LastRun};
use nightkeep_wire::progress::{JobProgress, Phase};
use nightkeep_wire::report::{JobKind, Outcome};
use nightkeep_wire::{JobId, MachineId, PlanId};
use uuid::Uuid;

/// 2026-03-02, so many hours after midnight UTC.
fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_409_600 + hours * 3600, 0).unwrap_or_default()
}

fn utc() -> FixedOffset {
    FixedOffset::east_opt(0).unwrap_or_else(|| unreachable!("zero is an offset"))
}

fn plan(n: u128, name: &str) -> PlanStatus {
    let last = LastRun { finished: at(-1), outcome: Outcome::Ok, recovery_point: None, message: String::new() };
    let id = PlanId::from_uuid(Uuid::from_u128(n));
    PlanStatus {
        id,
        name: name.to_owned(),
        last: Some(last),
        newest_point: None,
        next_start: Some(at(23)),
        held: None,
        problem: None,
    }
}

fn status(bucket: Bucket) -> StatusSnapshot {
    StatusSnapshot {
        at: at(12),
        hostname: "pc".to_owned(),
        agent_version: "0.1.0".to_owned(),
        machine: Some(MachineId::from_uuid(Uuid::from_u128(1))),
        state: None,
        customer: None,
        link: Link::Online { host: "https://host".to_owned(), last_contact: at(12) },
        bucket,
        reason: "the newest recovery point is 13 h old".to_owned(),
        overlays: Vec::new(),
        plans: vec![plan(1, "Everything")],
        running: Vec::new(),
        paused_until: None,
        reports_waiting: 0,
        scan: None,
        warnings: Vec::new(),
    }
}

#[test]
fn a_long_reason_does_not_make_the_menu_wider_than_the_screen() {
    let widest = |reason: String| {
        let status = StatusSnapshot { reason, ..status(Bucket::Error) };
        let menu = super::face(&Seen::Status(Box::new(status)), None, reader(Language::English)).menu;
        let texts = menu.into_iter().filter_map(|item| if let Item::Text(text) = item { Some(text) } else { None });
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    assert_eq!(widest("ä".repeat(500)), 72);
    assert_eq!(widest("ä".repeat(72)), 72);
}

fn running() -> StatusSnapshot {
    let progress = JobProgress {
        job: JobId::from_uuid(Uuid::from_u128(9)),
        plan: None,
        kind: JobKind::Backup,
        phase: Phase::BackingUp,
        started: at(11),
        at: at(12),
        files_done: 1,
        files_total: None,
        bytes_done: 42,
        bytes_total: Some(100),
        percent: Some(42),
    };
    StatusSnapshot { running: vec![progress], ..status(Bucket::Ok) }
}

fn reader(language: Language) -> Reader {
    Reader { now: at(12), offset: utc(), language }
}

fn face_of(status: StatusSnapshot) -> Face {
    face(&Seen::Status(Box::new(status)), None, reader(Language::English))
}

fn labels(face: &Face) -> Vec<&str> {
    let label = |item| match item {
        &Item::Heading(ref text) | &Item::Text(ref text) | &Item::Button(ref text, _) | &Item::Group(ref text, _) => {
            text.as_str()
        }
        &Item::Separator => "--",
    };
    face.menu.iter().map(label).collect()
}

#[test]
fn a_quiet_day_shows_status_last_and_next_backup_and_what_can_be_done() {
    let face = face_of(status(Bucket::Ok));
    assert_eq!(face.mood, Mood::Ok);
    assert_eq!(
        labels(&face),
        [
            "Backup status: OK",
            "The newest recovery point is 13 h old",
            "Last backup: yesterday 23:00, done",
            "Next backup: today 23:00",
            "--",
            "Back up now",
            "Pause backups",
            "--",
            "Close the monitor",
        ]
    );
    assert_eq!(face.tooltip, "Backup status: OK\nLast backup: yesterday 23:00, done\nNext backup: today 23:00");
}

#[test]
fn in_german_everything_is_german() {
    let seen = |status| Seen::Status(Box::new(status));
    let of = |status| face(&seen(status), None, reader(Language::German));
    let quiet = of(status(Bucket::Ok));
    assert_eq!(
        labels(&quiet),
        [
            "Sicherungsstatus: OK",
            "Letzte Sicherung: gestern 23:00, erledigt",
            "Nächste Sicherung: heute 23:00",
            "--",
            "Jetzt sichern",
            "Sicherungen aussetzen",
            "--",
            "Anzeige beenden",
        ]
    );
    assert_eq!(of(running()).title, "Sicherung läuft, 42 %");
    let paused = of(StatusSnapshot { paused_until: Some(at(60)), ..status(Bucket::Ok) });
    assert_eq!(paused.title, "Sicherungen ausgesetzt bis Mittwoch 12:00");
    assert_eq!(Language::of(Some("de")), Language::German);
    assert_eq!(Language::of(Some("fr")), Language::English);
}

#[test]
fn a_running_backup_shows_its_share_and_can_be_stopped_but_not_started() {
    let face = face_of(running());
    assert_eq!((face.mood, face.title.as_str()), (Mood::Running, "Backing up, 42 %"));
    assert!(face.menu.contains(&Item::Button("Stop the backup".to_owned(), Action::Stop)));
    assert!(!labels(&face).contains(&"Back up now"));
}

#[test]
fn a_pause_is_told_with_its_end_and_can_be_ended() {
    let face = face_of(StatusSnapshot { paused_until: Some(at(16)), ..status(Bucket::Ok) });
    assert_eq!((face.mood, face.title.as_str()), (Mood::Paused, "Backups paused until today 16:00"));
    assert!(face.menu.contains(&Item::Button("Resume backups".to_owned(), Action::Resume)));
    assert!(!labels(&face).contains(&"Next backup: today 23:00"));
}

#[test]
fn each_bucket_has_its_mood() {
    let table = [
        (Bucket::Ok, Mood::Ok),
        (Bucket::Warning, Mood::Warning),
        (Bucket::Error, Mood::Error),
        (Bucket::NotProtected, Mood::NotProtected),
        (Bucket::WithoutPlan, Mood::NotProtected),
    ];
    for (bucket, mood) in table {
        assert_eq!(face_of(status(bucket)).mood, mood, "{bucket}");
    }
    assert_eq!(face_of(StatusSnapshot { machine: None, ..status(Bucket::WithoutPlan) }).mood, Mood::Unknown);
}

#[test]
fn several_plans_are_chosen_by_name_and_one_that_cannot_run_is_not_offered() {
    let broken = PlanStatus { problem: Some("no".to_owned()), ..plan(3, "Broken") };
    let plans = vec![plan(1, "Everything"), plan(2, "Documents"), broken];
    let face = face_of(StatusSnapshot { plans, ..status(Bucket::Ok) });
    let group = face.menu.iter().find_map(|item| match item {
        Item::Group(label, entries) if label == "Back up now" => Some(entries),
        Item::Group(..) | Item::Heading(_) | Item::Text(_) | Item::Button(..) | Item::Separator => None,
    });
    let names: Vec<&str> = group.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Everything", "Documents"]);
}

#[test]
fn without_a_plan_there_is_nothing_to_pause_and_without_a_daemon_nothing_to_order() {
    let face = face_of(StatusSnapshot { plans: Vec::new(), ..status(Bucket::WithoutPlan) });
    assert!(!labels(&face).contains(&"Pause backups"));
    let nobody = super::face(&Seen::Nobody, None, reader(Language::English));
    assert_eq!(labels(&nobody), ["Backup service not running", "--", "Close the monitor"]);
    assert_eq!(nobody.mood, Mood::Unknown);
}

#[test]
fn the_answer_to_an_order_is_shown_on_top() {
    let seen = Seen::Status(Box::new(status(Bucket::Ok)));
    let message = "one pause a day is allowed".to_owned();
    let refused = Notice::Refused(ControlError { code: ControlErrorCode::PauseNotAllowed, message });
    let top = |notice, language| labels(&super::face(&seen, Some(notice), reader(language)))[0].to_owned();
    assert_eq!(top(&refused, Language::English), "One pause a day is allowed");
    assert_eq!(top(&refused, Language::German), "So lange oder so oft dürfen Sicherungen nicht ausgesetzt werden");
    assert_eq!(top(&Notice::NoAnswer, Language::German), "Der Sicherungsdienst antwortet nicht");
}

#[test]
fn tomorrow_begins_at_local_midnight() {
    assert_eq!(until_tomorrow(at(12), utc()), 12 * 3600);
    let east = FixedOffset::east_opt(2 * 3600).unwrap_or_else(utc);
    assert_eq!(until_tomorrow(at(12), east), 10 * 3600);
    assert_eq!(until_tomorrow(at(22), east), 24 * 3600);
}
