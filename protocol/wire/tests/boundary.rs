//! Text from outside: what is accepted, what is refused with which words, and that nothing panics.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{NaiveTime, Weekday};
use nightkeep_wire::bytes::{SealingPublicKey, TokenSecret};
use nightkeep_wire::control::{Line, Request};
use nightkeep_wire::desired::DesiredState;
use nightkeep_wire::exclusions::ExclusionList;
use nightkeep_wire::gateway::ObjectName;
use nightkeep_wire::id::{ContentHash, Nonce, SpkiPin};
use nightkeep_wire::machine::OsFamily;
use nightkeep_wire::plan::{Items, LimitWindow, Plan, PolicyRule, Retries, Selection, ZoneChoice};
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::report::{PauseState, REPORT_TEXT_BYTES_MAX, Report, ReportBatch, ReportBody, bounded_text};
use nightkeep_wire::signing::{CLOCK_SKEW_MAX_MS, SignedParts, is_fresh};
use nightkeep_wire::token::{EnrolmentToken, TokenError};
use nightkeep_wire::{IncarnationId, MachineId, RecoveryPointId, VaultId};
use proptest::prelude::*;

fn token() -> EnrolmentToken {
    EnrolmentToken {
        host_url: "https://backup.example:8443".into(),
        pin: SpkiPin([7; 32]),
        secret: TokenSecret::new([9; 32]),
    }
}

#[test]
fn a_token_survives_mail_programs() {
    let text = token().encode();
    assert!(text.starts_with("nk1."));
    assert_eq!(text.parse(), Ok(token()));
    let folded = format!("  {}\r\n {}\n", &text[..40], &text[40..]);
    assert_eq!(folded.parse(), Ok(token()));
}

#[test]
fn a_bad_token_is_refused_with_a_remedy_and_without_its_text() {
    let good = token().encode();
    let parse = |text: &str| text.parse::<EnrolmentToken>().unwrap_err();
    assert_eq!(parse(" \n"), TokenError::Empty);
    assert_eq!(parse("hello"), TokenError::WrongPrefix);
    assert_eq!(parse("nk2.abc"), TokenError::NewerForm { found: "nk2.".into() });
    assert_eq!(parse(&good[..good.len() - 7]), TokenError::Damaged);
    assert_eq!(parse(&"n".repeat(5000)), TokenError::TooLong);
    let plain_http = EnrolmentToken { host_url: "http://x".into(), ..token() }.encode();
    assert_eq!(parse(&plain_http), TokenError::BadField { field: "host address" });
    let with_path = EnrolmentToken { host_url: "https://x/y@z".into(), ..token() }.encode();
    assert_eq!(parse(&with_path), TokenError::BadField { field: "host address" });
    for error in [parse(&good[..good.len() - 7]), parse(&plain_http)] {
        assert!(!error.to_string().contains(&good[8..24]));
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let text = format!("{:?} {}", token(), token());
    assert!(text.contains("hidden") && !text.contains("9, 9"), "{text}");
}

#[test]
fn the_signed_bytes_of_a_request_are_fixed() {
    let parts = SignedParts {
        method: "GET",
        path_and_query: "/api/agent/v1/desired?version=3&wait=55",
        time_unix_ms: 1_795_000_000_000,
        nonce: Nonce([0xaa; 16]),
        body_hash: ContentHash([0; 32]),
    };
    let expected = format!(
        "nightkeep request v1\nGET\n/api/agent/v1/desired?version=3&wait=55\n1795000000000\n{}\n{}",
        "aa".repeat(16),
        "00".repeat(32)
    );
    assert_eq!(String::from_utf8(parts.to_bytes()).unwrap(), expected);
}

#[test]
fn a_request_is_fresh_for_fifteen_minutes_either_way() {
    let now = 10 * CLOCK_SKEW_MAX_MS;
    assert!(is_fresh(now - CLOCK_SKEW_MAX_MS, now) && is_fresh(now + CLOCK_SKEW_MAX_MS, now));
    assert!(!is_fresh(now - CLOCK_SKEW_MAX_MS - 1, now) && !is_fresh(now + CLOCK_SKEW_MAX_MS + 1, now));
}

#[test]
fn object_names_stay_inside_their_vault() {
    for good in ["cfg/vault", "p/0a/0a1b", "s/018f3c1e-0000-7000-8000-000000000001/00000001", "a.b_c-d"] {
        assert!(good.parse::<ObjectName>().is_ok(), "{good}");
    }
    let long = "a".repeat(201);
    for bad in ["", "/p/a", "p//a", "p/../g", "..", ".", "p/.hidden", "p/a/", "P/a", "p\\a", "p/a b", "p/ä", &long] {
        assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        assert!(serde_json::from_value::<ObjectName>(bad.into()).is_err(), "{bad}");
    }
}

#[test]
fn keys_of_another_length_are_refused() {
    let error = SealingPublicKey::parse("AQID").unwrap_err();
    assert_eq!(error.to_string(), "sealing key has 3 bytes, expected 32");
}

#[test]
fn every_problem_code_has_one_text_and_an_error_status() {
    for code in ProblemCode::ALL {
        assert!((400..600).contains(&code.status()), "{code}");
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        assert_eq!(serde_json::from_value::<ProblemCode>(code.as_str().into()).unwrap(), *code);
    }
}

#[test]
fn shipped_plans_are_valid_and_survive_toml() {
    for plan in [Plan::default_plan(), Plan::server_plan(), Plan::user_profiles_plan()] {
        plan.validate().unwrap();
        assert_eq!(Plan::from_toml(&plan.to_toml().unwrap()).unwrap(), plan);
    }
}

#[test]
fn item_77_only_a_plan_that_selects_by_rules_can_be_imported() {
    let with = |selection| Plan { items: Items::new(selection), ..Plan::default_plan() }.is_importable();
    assert!(with(Selection::EntireMachine));
    assert!(with(Selection::PolicyRules { rules: vec![PolicyRule::SystemVolume, PolicyRule::UserProfiles] }));
    assert!(!with(Selection::Paths { paths: vec!["/srv".into()] }));
    assert!(!with(Selection::Unknown));
}

#[test]
fn a_short_plan_in_toml_gets_the_defaults() {
    let text = r#"
        id = "018f3c1e-0000-7000-8000-000000000001"
        name = "Documents"
        [items]
        exclude = ["*.iso"]
        [items.selection]
        kind = "paths"
        paths = ["/srv/documents", 'D:\Documents']
        [schedule]
        cron = "0 30 12 * * *"
        zone = "Europe/Berlin"
    "#;
    let plan = Plan::from_toml(text).unwrap();
    assert_eq!(plan.retention.daily_days, 7);
    assert_eq!(plan.schedule.random_delay_max_seconds, 1800);
    assert_eq!(plan.schedule.zone, ZoneChoice::Named("Europe/Berlin".into()));
    assert!(plan.items.default_exclusions);
    assert!(!plan.is_importable());
}

/// Changes the default plan and expects a complaint about this field.
fn refused(field: &str, change: impl Fn(&mut Plan)) {
    let mut plan = Plan::default_plan();
    change(&mut plan);
    let text = plan.validate().expect_err(field).to_string();
    assert!(text.contains(field), "{text}");
}

#[test]
fn a_plan_that_cannot_run_is_refused_with_its_field() {
    refused("schema", |p| p.schema = 2);
    refused("name", |p| p.name = " ".into());
    refused("items.selection.rules", |p| p.items = Items::new(Selection::PolicyRules { rules: vec![] }));
    refused("items.selection.rules", |p| {
        let rules = vec![PolicyRule::Variable { path: "C:\\x".into() }];
        p.items = Items::new(Selection::PolicyRules { rules });
    });
    refused("items.selection.paths", |p| p.items = Items::new(Selection::Paths { paths: vec!["relative".into()] }));
    refused("items.exclude", |p| p.items.exclude = vec![String::new()]);
    refused("schedule.cron", |p| p.schedule.cron = "0 23 * * Mon-Fri".into());
    refused("schedule.cron", |p| p.schedule.cron = "0 0 25 * * *".into());
    refused("schedule.zone", |p| p.schedule.zone = ZoneChoice::Named("Europe/Bielefeld".into()));
    refused("retention.keep_at_least", |p| p.retention.keep_at_least = 0);
    refused("retention.monthly_months", |p| p.retention.monthly_months = 0);
    refused("location.url", |p| p.location = nightkeep_wire::plan::Location::Vault { url: "ftp://x".into() });
    refused("options.pre_command", |p| p.options.pre_command = Some("../sh -c x".into()));
    refused("options.post_command", |p| p.options.post_command = Some("x".repeat(65)));
    refused("options.battery.charge_percent_stop", |p| p.options.battery.charge_percent_stop = 101);
    refused("options.download_bytes_per_second_max", |p| p.options.download_bytes_per_second_max = Some(1023));
    refused("options.cpu_percent_max", |p| p.options.cpu_percent_max = Some(0));
    refused("options.task_failure", |p| {
        p.options.task_failure = Retries { enabled: true, tries: 3, interval_seconds: 0 };
    });
}

#[test]
fn a_window_of_limits_that_means_nothing_is_refused_and_named_by_its_hours() {
    let window = || LimitWindow {
        weekdays: vec![Weekday::Mon],
        from: NaiveTime::from_hms_opt(8, 0, 0).unwrap(),
        until: NaiveTime::from_hms_opt(18, 0, 0).unwrap(),
        upload_bytes_per_second_max: Some(50_000),
        download_bytes_per_second_max: None,
        cpu_percent_max: Some(25),
    };
    let mut plan = Plan::default_plan();
    plan.options.limit_windows = vec![window()];
    assert!(plan.validate().is_ok());
    let same = Plan::from_toml(&plan.to_toml().unwrap()).unwrap();
    assert_eq!(same, plan);
    type Spoil = fn(&mut LimitWindow);
    let spoilt: [Spoil; 4] = [
        |w| w.until = w.from,
        |w| w.upload_bytes_per_second_max = Some(1),
        |w| w.download_bytes_per_second_max = Some(1),
        |w| w.cpu_percent_max = Some(101),
    ];
    for spoil in spoilt {
        let mut bad = window();
        spoil(&mut bad);
        refused("options.limit_windows: the window 08:00 to", |p| p.options.limit_windows = vec![bad.clone()]);
    }
    refused("options.limit_windows", |p| p.options.limit_windows = vec![window(); 21]);
    // As a person writes it, in the host's API.
    let short = r#"{"from": "22:00", "until": "06:00"}"#;
    let parsed: LimitWindow = serde_json::from_str(short).unwrap();
    assert_eq!((parsed.weekdays.len(), parsed.from.format("%H").to_string()), (0, "22".to_owned()));
    let unknown_day = r#"{"weekdays": ["Someday"], "from": "22:00", "until": "06:00"}"#;
    assert!(serde_json::from_str::<LimitWindow>(unknown_day).is_err());
}

#[test]
fn all_problems_of_a_plan_are_told_at_once() {
    let mut plan = Plan::default_plan();
    plan.name.clear();
    plan.retention.keep_at_least = 0;
    let text = plan.validate().unwrap_err().to_string();
    assert!(text.contains("name:") && text.contains("retention.keep_at_least:"), "{text}");
}

#[test]
fn the_default_exclusions_name_our_own_state_on_every_system() {
    let list = ExclusionList::builtin();
    for os in [OsFamily::Linux, OsFamily::Macos, OsFamily::Windows] {
        let patterns: Vec<_> = list.patterns(os).collect();
        assert!(patterns.len() > 5, "{os:?}");
        assert!(patterns.iter().any(|p| p.to_lowercase().contains("nightkeep")), "{os:?}");
    }
    assert!(list.patterns(OsFamily::Windows).all(|p| !p.contains('\\')));
}

#[test]
fn a_report_beyond_its_bounds_is_named() {
    let report = |sequence, by: String| Report {
        machine: MachineId::from_uuid(uuid::Uuid::nil()),
        incarnation: IncarnationId::from_uuid(uuid::Uuid::nil()),
        sequence,
        at: chrono::DateTime::UNIX_EPOCH,
        body: ReportBody::Pause(PauseState { until: None, by }),
    };
    let long = "ä".repeat(REPORT_TEXT_BYTES_MAX);
    assert_eq!(report(1, "anna".into()).check_bounds(), Ok(()));
    assert_eq!(report(1, bounded_text(&long)).check_bounds(), Ok(()));
    assert_eq!(report(0, "anna".into()).check_bounds().unwrap_err().field, "sequence");
    let absurd = chrono::DateTime::<chrono::Utc>::MAX_UTC;
    assert_eq!(Report { at: absurd, ..report(1, String::new()) }.check_bounds().unwrap_err().field, "at");
    let error = report(7, long).check_bounds().unwrap_err().to_string();
    assert_eq!(error, "report 7: by is beyond its limit of 1024");
}

proptest! {
    #[test]
    fn cut_texts_fit_and_begin_as_they_did(text in ".{0,800}") {
        let cut = bounded_text(&text);
        prop_assert!(cut.len() <= REPORT_TEXT_BYTES_MAX);
        prop_assert!(text.starts_with(cut.trim_end_matches('…')) || cut == text);
    }

    /// Parsers of outside text answer, whatever comes.
    #[test]
    fn parsers_never_panic(text in "\\PC{0,200}", tail in ".{0,120}") {
        let _ = format!("nk1.{tail}").parse::<EnrolmentToken>();
        let _ = text.parse::<EnrolmentToken>();
        let _ = text.parse::<MachineId>();
        let _ = text.parse::<VaultId>();
        let _ = text.parse::<RecoveryPointId>();
        let _ = text.parse::<ObjectName>();
        let _ = Plan::from_toml(&text);
        let _ = Plan::from_json(&text);
        let mut plan = Plan::default_plan();
        plan.schedule.cron = text.clone();
        plan.schedule.zone = ZoneChoice::from(tail.clone());
        plan.items.exclude = vec![text.clone()];
        let _ = plan.validate();
        let _ = serde_json::from_str::<Line>(&text);
        let _ = serde_json::from_str::<Request>(&text);
        let _ = serde_json::from_str::<DesiredState>(&text);
        let _ = serde_json::from_str::<ReportBatch>(&text);
    }

    #[test]
    fn a_schedule_of_random_fields_is_accepted_or_refused(fields in prop::collection::vec("[0-9*/,\\-]{1,5}|Mon|Jan-Mar|[?L#W]", 6)) {
        let mut plan = Plan::default_plan();
        plan.schedule.cron = fields.join(" ");
        let _ = plan.validate();
    }

    #[test]
    fn ids_survive_their_text_form(bytes in any::<[u8; 16]>()) {
        let machine = MachineId::from_uuid(uuid::Uuid::from_bytes(bytes));
        prop_assert_eq!(machine.to_string().parse::<MachineId>().unwrap(), machine);
        let vault = VaultId(bytes);
        prop_assert_eq!(vault.to_string().parse::<VaultId>().unwrap(), vault);
    }

    #[test]
    fn every_token_survives_its_text_form(pin in any::<[u8; 32]>(), secret in any::<[u8; 32]>(), host in "[a-z0-9.-]{1,40}(:[0-9]{1,5})?") {
        let token = EnrolmentToken {
            host_url: format!("https://{host}"),
            pin: SpkiPin(pin),
            secret: TokenSecret::new(secret),
        };
        prop_assert_eq!(token.encode().parse::<EnrolmentToken>().unwrap(), token);
    }
}
