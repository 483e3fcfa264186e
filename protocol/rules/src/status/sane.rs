//! Facts as they come from outside, made safe to reason about.
//!
//! Invariant: after this every time lies between 1900 and 2300, and no result is dated further ahead than a clock may be
//! wrong. The newest point keeps its date, because a point from the future is news.

use chrono::{DateTime, Utc};

use super::facts::{Agent, Facts, Pause, PlanFacts, RunResult, Running};
use crate::span::{CLOCK_TOLERANCE, Span, sane};

pub(super) fn sane_facts<'a>(facts: &Facts<'a>, now: DateTime<Utc>) -> Facts<'a> {
    let spans = |spans: &[Span]| spans.iter().map(|s| Span::new(sane(s.from), sane(s.until))).collect();
    Facts {
        class: facts.class,
        thresholds: facts.thresholds.clone(),
        zone: facts.zone,
        agent: sane_agent(facts.agent),
        plans: facts.plans.iter().map(|plan| sane_plan(plan, now)).collect(),
        online: spans(&facts.online),
        maintenance: spans(&facts.maintenance),
        pause: facts.pause.map(|pause| Pause { from: sane(pause.from), until: pause.until.map(sane) }),
    }
}

fn sane_agent(agent: Agent) -> Agent {
    match agent {
        Agent::Absent => Agent::Absent,
        Agent::Unregistered => Agent::Unregistered,
        Agent::Enrolled { at, last_heard } => Agent::Enrolled { at: sane(at), last_heard: last_heard.map(sane) },
    }
}

fn sane_plan<'a>(plan: &PlanFacts<'a>, now: DateTime<Utc>) -> PlanFacts<'a> {
    let results = plan.results.iter().filter(|r| r.finished <= now + CLOCK_TOLERANCE);
    PlanFacts {
        plan: plan.plan,
        applied_at: sane(plan.applied_at),
        refused: plan.refused.clone(),
        results: results.map(sane_result).collect(),
        running: plan.running.map(sane_running),
        newest_point: plan.newest_point.map(sane),
        next_start: plan.next_start.map(sane),
    }
}

fn sane_result(result: &RunResult) -> RunResult {
    RunResult { started: sane(result.started), finished: sane(result.finished), ..result.clone() }
}

fn sane_running(running: Running) -> Running {
    Running {
        started: sane(running.started),
        percent: running.percent.map(|percent| percent.min(100)),
        progressed_at: sane(running.progressed_at),
        ready_about: running.ready_about.map(sane),
    }
}
