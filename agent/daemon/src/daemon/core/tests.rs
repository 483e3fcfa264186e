//! The daemon's decisions under a virtual clock.

mod machine;

use super::*;
use crate::daemon::orders::{Caller, obey};
use nightkeep_wire::control::{Answer, ControlErrorCode, Op, Reply};
use nightkeep_wire::desired::{EndUserRights, MachineSettings};
use nightkeep_wire::machine::{MachineClass, MachineState, OsFacts, OsFamily};
use nightkeep_wire::plan::{Plan, Schedule};
use nightkeep_wire::report::{MissedReason, PlanState};
use nightkeep_wire::{CommandId, RecoveryPointId};

const CALM: Conditions = Conditions { on_battery: None, charge_percent: None, metered: None, vpn: None };

/// Monday 2026-03-02, so many hours and minutes after midnight UTC.
fn at(hours: i64, minutes: i64) -> DateTime<Utc> {
    let monday = DateTime::from_timestamp(1_772_409_600, 0).unwrap_or_default();
    monday + Duration::hours(hours) + Duration::minutes(minutes)
}

fn facts() -> MachineFacts {
    MachineFacts {
        hostname: "pc".to_owned(),
        os: OsFacts { family: OsFamily::Linux, name: "Debian".to_owned(), version: "12".to_owned() },
        arch: "x86_64".to_owned(),
        class: MachineClass::Workstation,
        hardware_fingerprint: "f".to_owned(),
        agent_version: "0.1.0".to_owned(),
        zone: "UTC".to_owned(),
        boot_id: None,
        booted_at: None,
        virtual_machine: false,
        used_bytes: None,
        abilities: Vec::new(),
    }
}

/// Daily at 23:00 without a delay.
fn nightly() -> Plan {
    let schedule = Schedule { random_delay_max_seconds: 0, ..Schedule::cron("0 0 23 * * *") };
    Plan { schedule, ..Plan::default_plan() }
}

fn wanting(plans: Vec<Plan>, commands: Vec<Command>) -> DesiredState {
    let plans = plans.into_iter().map(|plan| AppliedPlan { plan, revision: 1, applied_at: at(0, 0) }).collect();
    DesiredState {
        version: 1,
        state: MachineState::Active,
        vault: None,
        plans,
        commands,
        settings: MachineSettings::default(),
        exclusions: None,
    }
}

fn command(n: u128, action: CommandAction) -> Command {
    Command { id: CommandId::from_uuid(Uuid::from_u128(n)), issued_at: at(0, 0), expires_at: None, action }
}

/// A core with the nightly plan and a vault, at Monday 12:00.
fn core() -> Core {
    let machine = MachineId::from_uuid(Uuid::from_u128(1));
    let mut core = Core::new(machine, facts(), Some(wanting(vec![nightly()], Vec::new())), AgentState::default(), 4);
    core.has_vault = true;
    core.started(at(12, 0));
    core
}

fn reports(effects: &[Effect]) -> Vec<&ReportBody> {
    effects.iter().filter_map(report).collect()
}

fn report(effect: &Effect) -> Option<&ReportBody> {
    match effect {
        Effect::Report(body) => Some(body),
        Effect::Run { .. } | Effect::Stop(_) | Effect::PostCommand { .. } | Effect::Leave => None,
    }
}

fn started(effects: &[Effect]) -> Option<Job> {
    effects.iter().find_map(|effect| match effect {
        Effect::Run { job, .. } => Some(job.clone()),
        Effect::Report(_) | Effect::Stop(_) | Effect::PostCommand { .. } | Effect::Leave => None,
    })
}

fn stops(effects: &[Effect]) -> Vec<StopKind> {
    let kind = |effect: &Effect| match effect {
        Effect::Stop(kind) => Some(*kind),
        Effect::Report(_) | Effect::Run { .. } | Effect::PostCommand { .. } | Effect::Leave => None,
    };
    effects.iter().filter_map(kind).collect()
}

fn finished(effects: &[Effect]) -> Vec<Outcome> {
    let outcome = |body: &&ReportBody| {
        let ReportBody::JobFinished(result) = body else { return None };
        Some(result.outcome)
    };
    reports(effects).iter().filter_map(outcome).collect()
}

fn done(effects: &[Effect]) -> Vec<CommandOutcome> {
    let outcome = |body: &&ReportBody| {
        let ReportBody::CommandDone(done) = body else { return None };
        Some(done.outcome)
    };
    reports(effects).iter().filter_map(outcome).collect()
}

fn success(job: &Job, now: DateTime<Utc>) -> JobResult {
    JobResult {
        recovery_point: Some(RecoveryPointId::from_bytes(&[7; 16])),
        ..job.without_point(Outcome::Ok, None, now)
    }
}

fn administrator() -> Caller {
    Caller { administrator: true, name: "root".to_owned() }
}

fn user() -> Caller {
    Caller { administrator: false, name: "eva".to_owned() }
}

#[test]
fn a_plan_runs_at_its_time_once() {
    let mut core = core();
    let (effects, again) = core.tick(CALM, at(22, 59));
    assert!(effects.is_empty());
    assert_eq!(again, at(23, 0));
    let (effects, _) = core.tick(CALM, at(23, 0));
    let job = started(&effects).expect("it starts");
    assert_eq!((job.cause, job.occurrence), (Cause::Schedule, Some(at(23, 0))));
    assert!(started(&core.tick(CALM, at(23, 1)).0).is_none(), "it runs already");
    core.finished(success(&job, at(23, 10)), at(23, 10));
    assert!(started(&core.tick(CALM, at(23, 11)).0).is_none(), "the occurrence was served");
    assert!(started(&core.tick(CALM, at(47, 0)).0).is_some(), "the next one comes");
}

#[test]
fn a_machine_that_slept_catches_up_once_and_tells_what_it_missed() {
    let mut core = core();
    core.tick(CALM, at(12, 1));
    // Monday to Friday 23:00 pass; it wakes on Saturday at noon.
    let wake = at(5 * 24 + 12, 0);
    let (effects, _) = core.tick(CALM, wake);
    let missed: Vec<_> = reports(&effects)
        .into_iter()
        .filter_map(|body| {
            let ReportBody::Missed(missed) = body else { return None };
            Some((missed.occurrence, missed.reason))
        })
        .collect();
    let expected: Vec<_> = (0..4).map(|day| (at(day * 24 + 23, 0), MissedReason::MachineOff)).collect();
    assert_eq!(missed, expected);
    let job = started(&effects).expect("it catches up");
    assert_eq!((job.cause, job.occurrence), (Cause::CatchUp, Some(at(4 * 24 + 23, 0))));
    core.finished(success(&job, wake + Duration::minutes(5)), wake + Duration::minutes(5));
    let (effects, _) = core.tick(CALM, wake + Duration::minutes(6));
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn a_job_that_was_running_when_the_process_was_killed_is_reported_as_interrupted_and_goes_on() {
    let mut before = core();
    let job = started(&before.tick(CALM, at(23, 0)).0).expect("it starts");
    let state = before.state.clone();
    let mut after = Core::new(before.machine, facts(), before.desired.clone(), state, 4);
    after.has_vault = true;
    let effects = after.started(at(23, 20));
    assert_eq!(finished(&effects), [Outcome::Interrupted]);
    assert!(finished(&after.started(at(23, 20))).is_empty(), "told once");
    let again = started(&after.tick(CALM, at(23, 22)).0).expect("taken up again");
    assert_ne!(again.id, job.id);
    assert_eq!(again.occurrence, Some(at(23, 0)));
}

#[test]
fn what_somebody_asked_for_is_taken_up_again_after_a_kill_but_not_for_ever() {
    let mut core = core();
    core.start(Plan::DEFAULT_ID, Cause::Command, at(12, 5));
    for n in 0..RESUMES_MAX + 2 {
        let now = at(12, 10 + i64::try_from(n).unwrap_or(0));
        assert_eq!(core.state.running.is_some(), n < RESUMES_MAX, "after {n} kills");
        core.started(now);
        core.tick(CALM, now);
    }
}

#[test]
fn a_command_is_carried_out_once_however_often_it_is_listed() {
    let mut core = core();
    let start = command(1, CommandAction::Start { plan: Plan::DEFAULT_ID });
    let wanted = wanting(vec![nightly()], vec![start]);
    let effects = core.desired(wanted.clone(), at(12, 5));
    assert_eq!(done(&effects), [CommandOutcome::Done]);
    assert_eq!(started(&effects).map(|job| job.cause), Some(Cause::Command));
    let effects = core.desired(wanted, at(12, 6));
    assert!(reports(&effects).is_empty() && started(&effects).is_none());
}

#[test]
fn a_second_start_is_answered_with_the_job_that_runs() {
    let mut core = core();
    let first = core.desired(
        wanting(vec![nightly()], vec![command(1, CommandAction::Start { plan: Plan::DEFAULT_ID })]),
        at(12, 5),
    );
    let job = started(&first).expect("it starts").id;
    let second = core.desired(
        wanting(vec![nightly()], vec![command(2, CommandAction::Start { plan: Plan::DEFAULT_ID })]),
        at(12, 6),
    );
    assert!(started(&second).is_none());
    assert!(matches!(reports(&second)[..], [ReportBody::CommandDone(done)] if done.job == Some(job)));
}

#[test]
fn a_technicians_stop_discards_and_a_users_stop_interrupts_and_neither_starts_again_by_itself() {
    for (technician, kind) in [(true, StopKind::Discard), (false, StopKind::Interrupt)] {
        let mut core = core();
        let job = started(&core.tick(CALM, at(23, 0)).0).expect("it starts");
        let effects = if technician {
            let stop = command(1, CommandAction::Stop { job: None, plan: Some(Plan::DEFAULT_ID) });
            core.desired(wanting(vec![nightly()], vec![stop]), at(23, 5))
        } else {
            obey(&mut core, &Op::Stop { plan: None }, &user(), at(23, 5)).1
        };
        assert_eq!(stops(&effects), [kind]);
        let stopped = job.without_point(Outcome::Interrupted, None, at(23, 6));
        assert_eq!(finished(&core.finished(stopped, at(23, 6))), [Outcome::Cancelled]);
        assert!(started(&core.tick(CALM, at(24, 0)).0).is_none());
        assert!(started(&core.tick(CALM, at(47, 0)).0).is_some(), "the schedule is untouched");
    }
}

#[test]
fn a_pause_interrupts_and_afterwards_the_run_goes_on() {
    let mut core = core();
    let job = started(&core.tick(CALM, at(23, 0)).0).expect("it starts");
    let (answer, effects) = obey(&mut core, &Op::Pause { for_seconds: 3600 }, &user(), at(23, 10));
    assert_eq!(answer, Answer::Ok(Reply::Paused { until: at(24, 10) }));
    assert_eq!(stops(&effects), [StopKind::Interrupt]);
    core.finished(job.without_point(Outcome::Interrupted, None, at(23, 11)), at(23, 11));
    assert!(started(&core.tick(CALM, at(23, 30)).0).is_none());
    let (effects, _) = core.tick(CALM, at(24, 10));
    assert_eq!(started(&effects).and_then(|job| job.occurrence), Some(at(23, 0)));
}

#[test]
fn a_user_pauses_within_the_policy_and_an_administrator_beyond() {
    let mut core = core();
    let mut pause =
        |seconds, caller: &Caller| match obey(&mut core, &Op::Pause { for_seconds: seconds }, caller, at(12, 5)).0 {
            Answer::Ok(_) => None,
            Answer::Error(error) => Some(error.code),
        };
    assert_eq!(pause(5 * 3600, &user()), Some(ControlErrorCode::PauseNotAllowed), "longer than four hours");
    assert_eq!(pause(4 * 3600, &user()), None);
    assert_eq!(pause(3600, &user()), Some(ControlErrorCode::PauseNotAllowed), "twice a day");
    assert_eq!(pause(24 * 3600, &administrator()), None);
    assert_eq!(pause(0, &administrator()), Some(ControlErrorCode::PauseNotAllowed));
    assert_eq!(pause(u64::MAX, &administrator()), Some(ControlErrorCode::PauseNotAllowed));
}

#[test]
fn a_user_ends_a_pause_of_users_but_not_one_of_an_administrator() {
    for (by, ends) in [(user(), true), (administrator(), false)] {
        let mut core = core();
        obey(&mut core, &Op::Pause { for_seconds: 3600 }, &by, at(12, 5));
        let (answer, _) = obey(&mut core, &Op::Resume, &user(), at(12, 6));
        assert_eq!(matches!(answer, Answer::Ok(_)), ends, "{by:?}");
        assert_eq!(core.state.paused_until(at(12, 7)).is_none(), ends);
        assert!(matches!(obey(&mut core, &Op::Resume, &administrator(), at(12, 8)).0, Answer::Ok(_)));
    }
}

#[test]
fn on_a_server_users_look_and_do_not_touch() {
    let mut core = core();
    if let Some(desired) = &mut core.desired {
        desired.settings.end_user = EndUserRights::read_only();
    }
    for op in [Op::Start { plan: None }, Op::Stop { plan: None }, Op::Pause { for_seconds: 60 }] {
        let (answer, effects) = obey(&mut core, &op, &user(), at(12, 5));
        assert!(matches!(answer, Answer::Error(error) if error.code == ControlErrorCode::NotAllowed), "{op:?}");
        assert!(effects.is_empty());
        assert!(matches!(obey(&mut core, &op, &administrator(), at(12, 5)).0, Answer::Ok(_)), "{op:?}");
    }
}

#[test]
fn a_plan_is_named_by_id_or_name_and_the_error_says_which_there_are() {
    let mut core = core();
    let start = |core: &mut Core, plan: Option<&str>| {
        let op = Op::Start { plan: plan.map(str::to_owned) };
        obey(core, &op, &administrator(), at(12, 5)).0
    };
    for good in [None, Some("entire MACHINE to cloud storage"), Some(&*Plan::DEFAULT_ID.to_string())] {
        assert!(matches!(start(&mut core, good), Answer::Ok(Reply::Started { .. })), "{good:?}");
    }
    let Answer::Error(error) = start(&mut core, Some("other")) else { panic!("there is no such plan") };
    assert_eq!(error.code, ControlErrorCode::PlanUnknown);
    assert!(error.message.contains("\"other\"") && error.message.contains("Entire machine"), "{}", error.message);
}

#[test]
fn a_revoked_plan_stops_its_job_and_a_new_one_is_told_once() {
    let mut core = core();
    let told = core.desired(wanting(vec![nightly()], Vec::new()), at(12, 1));
    let is_taken_over = |body: &&ReportBody| matches!(body, ReportBody::PlanState(PlanState { accepted: true, next_start, .. }) if *next_start == Some(at(23, 0)));
    assert!(matches!(&reports(&told)[..], [body] if is_taken_over(body)), "{told:?}");
    assert!(core.desired(wanting(vec![nightly()], Vec::new()), at(12, 2)).is_empty());
    started(&core.tick(CALM, at(23, 0)).0).expect("it starts");
    let effects = core.desired(wanting(Vec::new(), Vec::new()), at(23, 5));
    assert_eq!(stops(&effects), [StopKind::Interrupt]);
}

#[test]
fn a_plan_this_build_cannot_run_is_refused_with_the_reason_and_never_started() {
    let mut core = core();
    let mut plan = nightly();
    plan.encryption = nightkeep_wire::plan::Encryption::Password { domain: "private".to_owned() };
    let start = command(1, CommandAction::Start { plan: plan.id });
    let effects = core.desired(wanting(vec![plan], vec![start]), at(12, 5));
    assert_eq!(done(&effects), [CommandOutcome::Refused]);
    let refused =
        |body: &&ReportBody| matches!(body, ReportBody::PlanState(state) if !state.accepted && state.message.is_some());
    assert!(reports(&effects).iter().any(refused));
    assert!(started(&core.tick(CALM, at(23, 0)).0).is_none());
}

#[test]
fn expired_and_unknown_commands_are_refused() {
    let mut core = core();
    let mut late = command(1, CommandAction::Start { plan: Plan::DEFAULT_ID });
    late.expires_at = Some(at(12, 0));
    let unknown = command(2, CommandAction::Unknown);
    let effects = core.desired(wanting(vec![nightly()], vec![late, unknown]), at(12, 5));
    assert_eq!(done(&effects), [CommandOutcome::Refused, CommandOutcome::Refused]);
    assert!(started(&effects).is_none());
}

#[test]
fn nothing_starts_without_a_vault_or_on_a_battery_that_the_plan_spares() {
    let mut core = core();
    core.has_vault = false;
    assert!(started(&core.tick(CALM, at(23, 0)).0).is_none());
    core.has_vault = true;
    if let Some(desired) = &mut core.desired {
        desired.plans[0].plan.options.battery.run = false;
    }
    assert!(started(&core.tick(Conditions { on_battery: Some(true), ..CALM }, at(23, 1)).0).is_none());
    assert!(started(&core.tick(Conditions { on_battery: Some(false), ..CALM }, at(23, 2)).0).is_some());
}

#[test]
fn one_job_runs_at_a_time_and_the_queue_is_bounded() {
    let mut core = core();
    let plans: Vec<Plan> =
        (1..=7).map(|n| Plan { id: PlanId::from_uuid(Uuid::from_u128(n)), name: n.to_string(), ..nightly() }).collect();
    core.desired(wanting(plans.clone(), Vec::new()), at(12, 0));
    let outcomes: Vec<_> = plans.iter().map(|plan| core.start(plan.id, Cause::Manual, at(12, 1)).0).collect();
    assert_eq!(outcomes.iter().filter(|o| matches!(o, Started::New(_))).count(), 5, "one runs and four wait");
    assert_eq!(outcomes.iter().filter(|o| **o == Started::QueueFull).count(), 2);
    let first = core.state.running.clone().expect("one runs");
    let effects = core.finished(success(&first, at(12, 2)), at(12, 2));
    assert_eq!(started(&effects).map(|job| job.plan), Some(plans[1].id));
}

#[test]
fn leaving_stops_everything_and_is_acknowledged_first() {
    let mut core = core();
    started(&core.tick(CALM, at(23, 0)).0).expect("it starts");
    let effects = core.desired(wanting(vec![nightly()], vec![command(1, CommandAction::Unenroll)]), at(23, 5));
    assert_eq!(done(&effects), [CommandOutcome::Done]);
    assert!(matches!(effects.last(), Some(Effect::Leave)));
    assert_eq!(stops(&effects), [StopKind::Interrupt]);
}
