//! What the machine itself has to say: battery, metered networks, several plans at once, its own list of commands.

use super::*;

const METERED: Conditions = Conditions { metered: Some(true), ..CALM };

fn battery(charge_percent: u8) -> Conditions {
    Conditions { on_battery: Some(true), charge_percent: Some(charge_percent), ..CALM }
}

fn numbered(n: u128, cron: &str) -> Plan {
    let schedule = Schedule { random_delay_max_seconds: 0, ..Schedule::cron(cron) };
    Plan { id: PlanId::from_uuid(Uuid::from_u128(n)), name: format!("plan {n}"), schedule, ..Plan::default_plan() }
}

fn held(core: &Core, now: DateTime<Utc>) -> Option<String> {
    core.held(&core.plans()[0].clone(), now)
}

fn missed(effects: &[Effect]) -> Vec<(DateTime<Utc>, MissedReason)> {
    let missed = |body: &&ReportBody| {
        let ReportBody::Missed(missed) = body else { return None };
        Some((missed.occurrence, missed.reason))
    };
    reports(effects).iter().filter_map(missed).collect()
}

#[test]
fn a_due_run_waits_for_a_network_that_is_not_metered_and_tells_so_and_then_serves_the_same_occurrence() {
    let mut core = core();
    assert!(started(&core.tick(METERED, at(23, 0)).0).is_none());
    assert_eq!(held(&core, at(23, 0)).as_deref(), Some("a network that is not metered"));
    for minute in 0..240 {
        assert!(started(&core.tick(METERED, at(23, minute)).0).is_none());
    }
    let job = started(&core.tick(CALM, at(27, 1)).0).expect("it starts at home");
    assert_eq!((job.cause, job.occurrence), (Cause::CatchUp, Some(at(23, 0))));
    assert_eq!(held(&core, at(27, 1)), None);
}

#[test]
fn a_scheduled_run_is_interrupted_once_when_the_network_becomes_metered_and_goes_on_at_home() {
    let mut core = core();
    let job = started(&core.tick(CALM, at(23, 0)).0).expect("it starts");
    assert_eq!(stops(&core.tick(METERED, at(23, 5)).0), [StopKind::Interrupt]);
    assert!(stops(&core.tick(METERED, at(23, 6)).0).is_empty(), "asked once");
    let effects = core.finished(job.without_point(Outcome::Interrupted, None, at(23, 6)), at(23, 6));
    assert_eq!(finished(&effects), [Outcome::Interrupted]);
    assert!(started(&core.tick(METERED, at(23, 30)).0).is_none());
    let again = started(&core.tick(CALM, at(23, 31)).0).expect("it goes on");
    assert_eq!(again.occurrence, Some(at(23, 0)));
}

#[test]
fn a_battery_below_the_plans_charge_holds_back_and_a_nearly_empty_one_interrupts() {
    let mut core = core();
    assert!(started(&core.tick(battery(29), at(23, 0)).0).is_none());
    started(&core.tick(battery(30), at(23, 1)).0).expect("30 percent are enough");
    assert!(stops(&core.tick(battery(15), at(23, 2)).0).is_empty());
    assert_eq!(stops(&core.tick(battery(14), at(23, 3)).0), [StopKind::Interrupt]);
}

#[test]
fn what_a_person_asked_for_starts_and_goes_on_whatever_the_conditions_are() {
    let mut core = core();
    let bad = Conditions { metered: Some(true), ..battery(3) };
    core.tick(bad, at(12, 0));
    let (_, effects) = core.start(Plan::DEFAULT_ID, Cause::Manual, at(12, 1));
    assert!(started(&effects).is_some());
    assert!(stops(&core.tick(bad, at(12, 2)).0).is_empty());
}

#[test]
fn a_run_whose_turn_comes_under_other_conditions_is_left_to_the_schedule() {
    let mut core = core();
    core.desired(wanting(vec![nightly(), numbered(7, "0 0 23 * * *")], Vec::new()), at(12, 0));
    let first = started(&core.tick(CALM, at(23, 0)).0).expect("one starts");
    assert_eq!(core.state.queue.len(), 1);
    if let Some(desired) = &mut core.desired {
        desired.plans.iter_mut().for_each(|applied| applied.plan.options.network.stop_on_metered = false);
    }
    core.tick(METERED, at(23, 5));
    let effects = core.finished(success(&first, at(23, 10)), at(23, 10));
    assert!(started(&effects).is_none() && core.state.queue.is_empty());
    let other = started(&core.tick(CALM, at(23, 14)).0).expect("the schedule brings it again");
    assert_eq!(other.occurrence, Some(at(23, 0)));
    assert_ne!(other.plan, first.plan);
}

#[test]
fn overlapping_plans_run_one_after_the_other_the_oldest_occurrence_first_and_a_person_before_them() {
    let mut core = core();
    // In another order than that of their turns.
    let plans = vec![
        numbered(9, "0 30 22 * * *"),
        numbered(3, "0 0 22 * * *"),
        numbered(8, "0 0 21 * * *"),
        numbered(2, "0 0 22 * * *"),
        numbered(5, "0 0 0 1 1 *"),
    ];
    core.desired(wanting(plans.clone(), Vec::new()), at(12, 0));
    // It wakes at 23:00, when four of them are due.
    let mut running = started(&core.tick(CALM, at(23, 0)).0).expect("one starts");
    let (answer, _) = core.start(plans[4].id, Cause::Manual, at(23, 1));
    assert!(matches!(answer, Started::New(_)));
    let mut order = vec![running.plan];
    for minute in 2..6 {
        let effects = core.finished(success(&running, at(23, minute)), at(23, minute));
        running = started(&effects).expect("the next one follows at once");
        order.push(running.plan);
    }
    assert_eq!(order, [8u128, 5, 2, 3, 9].map(|n| PlanId::from_uuid(Uuid::from_u128(n))));
}

#[test]
fn an_occurrence_that_waits_for_its_turn_is_not_missed_and_runs_although_the_next_one_has_come() {
    let mut core = core();
    core.desired(wanting(vec![numbered(1, "0 0 12 * * *"), numbered(2, "0 5 * * * *")], Vec::new()), at(11, 30));
    core.state.online.clear();
    let mut told = Vec::new();
    for minute in 10..60 {
        told.extend(core.tick(CALM, at(11, minute)).0);
        if let Some(job) = core.state.running.clone() {
            core.finished(success(&job, at(11, minute)), at(11, minute));
        }
    }
    let long = started(&core.tick(CALM, at(12, 0)).0).expect("the long one starts");
    for minute in 1..300 {
        told.extend(core.tick(CALM, at(12, minute)).0);
    }
    assert_eq!(missed(&told), []);
    let effects = core.finished(success(&long, at(17, 0)), at(17, 0));
    let waited = started(&effects).expect("its turn comes");
    assert_eq!((waited.plan, waited.occurrence), (PlanId::from_uuid(Uuid::from_u128(2)), Some(at(12, 5))));
    core.finished(success(&waited, at(17, 1)), at(17, 1));
    for minute in 1..=10 {
        assert_eq!(missed(&core.tick(CALM, at(17, minute)).0), []);
    }
    assert!(core.state.running.is_some(), "the occurrence after that is served as usual");
}

#[test]
fn a_machine_that_comes_up_catches_up_after_its_own_part_of_the_delay() {
    let mut core = core();
    let mut plan = nightly();
    plan.schedule.random_delay_max_seconds = 1800;
    let part = start_delay(core.machine, plan.id, 1800) / 6;
    core.desired(wanting(vec![plan], Vec::new()), at(12, 0));
    core.tick(CALM, at(12, 1));
    let wake = at(5 * 24 + 12, 0);
    let (effects, again) = core.tick(CALM, wake);
    assert!(part > Duration::seconds(1) && started(&effects).is_none());
    assert_eq!(again, wake + part.min(LOOK_AGAIN));
    core.tick(CALM, wake + part - Duration::seconds(1));
    assert!(core.state.running.is_none());
    let job = started(&core.tick(CALM, wake + part).0).expect("it catches up");
    assert_eq!(job.cause, Cause::CatchUp);
}

#[test]
fn a_plan_with_a_command_is_refused_until_the_machine_lists_it_and_then_taken_over_without_a_restart() {
    let mut core = core();
    let mut plan = nightly();
    plan.options.pre_command = Some("stop-database".to_owned());
    plan.options.post_command = Some("start-database".to_owned());
    let states = |effects: &[Effect]| -> Vec<(bool, String)> {
        let state = |body: &&ReportBody| {
            let ReportBody::PlanState(state) = body else { return None };
            Some((state.accepted, state.message.clone().unwrap_or_default()))
        };
        reports(effects).iter().filter_map(state).collect()
    };
    let names = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
    let told = states(&core.desired(wanting(vec![plan], Vec::new()), at(12, 0)));
    assert!(matches!(&told[..], [(false, why)] if why.contains("\"stop-database\"") && why.contains("commands.toml")));
    assert!(started(&core.tick(CALM, at(23, 0)).0).is_none());
    assert!(states(&core.allow(names(&["stop-database"]), at(23, 1))).is_empty(), "still refused, told before");
    assert!(core.refusal(&core.plans()[0].clone()).is_some_and(|why| why.contains("start-database")));
    let told = states(&core.allow(names(&["stop-database", "start-database"]), at(23, 2)));
    assert!(matches!(&told[..], [(true, _)]), "{told:?}");
    assert!(core.allow(names(&["stop-database", "start-database"]), at(23, 3)).is_empty());
    assert!(started(&core.tick(CALM, at(23, 4)).0).is_some());
    let told = states(&core.allow(Err("it can be written by others".to_owned()), at(23, 5)));
    assert!(matches!(&told[..], [(false, why)] if why.contains("written by others")), "{told:?}");
}

#[test]
fn the_post_command_of_a_job_that_the_process_ended_under_is_run_at_the_next_start() {
    let mut before = core();
    let mut plan = nightly();
    plan.options.post_command = Some("start-database".to_owned());
    before.allow(Ok(["start-database".to_owned()].into()), at(12, 0));
    before.desired(wanting(vec![plan], Vec::new()), at(12, 0));
    let job = started(&before.tick(CALM, at(23, 0)).0).expect("it starts");
    let mut after = Core::new(before.machine, facts(), before.desired.clone(), before.state.clone(), 4);
    let effects = after.started(at(23, 20));
    let run = effects.iter().find_map(|effect| match effect {
        Effect::PostCommand { job, .. } => Some(job.id),
        Effect::Report(_) | Effect::Run { .. } | Effect::Stop(_) | Effect::Leave => None,
    });
    assert_eq!(run, Some(job.id));
    assert_eq!(finished(&effects), [Outcome::Interrupted]);
}

#[test]
fn a_clock_put_back_by_days_serves_every_day_that_comes_again_once() {
    let mut core = core();
    core.tick(CALM, at(12, 0));
    // For a while the clock is three days ahead, and the run of that day is caught up.
    let wrong = at(3 * 24 + 12, 30);
    let job = started(&core.tick(CALM, wrong).0).expect("it catches up");
    core.finished(success(&job, wrong + Duration::minutes(5)), wrong + Duration::minutes(5));
    let mut served = Vec::new();
    for minute in 13 * 60..5 * 24 * 60 {
        if let Some(job) = started(&core.tick(CALM, at(0, minute)).0) {
            served.extend(job.occurrence);
            core.finished(success(&job, at(0, minute)), at(0, minute));
        }
    }
    assert_eq!(served, (0..5).map(|day| at(day * 24 + 23, 0)).collect::<Vec<_>>());
}
