//! `repair`: a plan, and its execution. Rebuilds the index, withdraws what is damaged, deletes nothing.

use std::sync::Arc;

use nightkeep_vault::codec::Time;
use nightkeep_vault::record::quarantine::Verdict;
use nightkeep_vault::repair::{self, LostPoint, RepairPlan, Repaired};
use nightkeep_vault::scrub::{self, ScrubOptions};
use nightkeep_vault::store::ObjectName;
use nightkeep_vault::vault::Vault;
use serde::Serialize;

use super::check::{stopped, workers};
use super::progress::stop_on_signal;
use super::{open, text};
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::vault_args::RepairArgs;

#[derive(Serialize)]
struct Document {
    event: &'static str,
    dry_run: bool,
    packs_rebuilt: usize,
    segments_written: usize,
    verdicts: Vec<VerdictDocument>,
    lost_points: Vec<LostDocument>,
    run_again: bool,
}

#[derive(Serialize)]
struct VerdictDocument {
    object: String,
    verdict: &'static str,
}

#[derive(Serialize)]
struct LostDocument {
    recovery_point: String,
    machine: String,
    objects: Vec<String>,
}

/// Plans, says the plan, and executes it unless asked not to.
pub(super) fn run(args: &RepairArgs, json: bool) -> anyhow::Result<Exit> {
    let vault = Arc::new(open::owner_uncached(&args.vault)?);
    let found = if args.read_data { Some(scrub_all(&vault)?) } else { None };
    let plan = repair::plan(&vault, found.as_deref())?;
    if !json {
        tell_plan(&plan);
    }
    let done = if args.dry_run || plan.is_empty() { None } else { Some(repair::execute(&vault, &plan, now())?) };
    if json {
        output::json(&document(args, &plan, done.as_ref()))
    } else {
        tell_end(args, &plan, done.as_ref())
    }
    Ok(if plan.lost.is_empty() { Exit::Done } else { Exit::Partial })
}

fn scrub_all(vault: &Vault) -> anyhow::Result<Vec<(ObjectName, Verdict)>> {
    let stop = stop_on_signal();
    let options = ScrubOptions { workers: workers(), ..ScrubOptions::default() };
    let report = scrub::scrub(&**vault.store(), &options, &|_| stop.requested().is_none())?;
    if report.cursor.is_some() { Err(stopped().into()) } else { Ok(report.verdicts()) }
}

fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanoseconds: since.subsec_nanos() }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Sound => "sound",
        Verdict::Missing => "missing",
        Verdict::Damaged => "damaged",
    }
}

fn tell_plan(plan: &RepairPlan) {
    for (name, found) in &plan.verdicts {
        let what = match found {
            Verdict::Sound => "is there again and leaves quarantine",
            Verdict::Missing => "is missing: quarantine",
            Verdict::Damaged => "is damaged: quarantine",
        };
        output::line(format_args!("{name} {what}"));
    }
    if plan.packs() > 0 {
        output::line(format_args!(
            "{} packs are in no index and will be listed again",
            text::count(plan.packs() as u64)
        ));
    }
    for LostPoint { id, machine, packs, .. } in &plan.lost {
        output::note(format_args!("recovery point {id} of {machine} lost a part of its catalogue:"));
        for problem in packs {
            output::note(format_args!("  {}", problem.name));
        }
    }
}

fn tell_end(args: &RepairArgs, plan: &RepairPlan, done: Option<&Repaired>) {
    match done {
        None if plan.is_empty() => output::line("nothing to repair"),
        None => output::line("nothing was done; without --dry-run it would be"),
        Some(done) => {
            output::line(format_args!(
                "wrote {} index segments for {} packs; {} objects have a new verdict",
                done.segments, done.packs, done.verdicts
            ));
            if done.again {
                output::note("a collection ran meanwhile: run repair once more");
            }
            output::line("the next backup of each machine sends again what it still has");
        }
    }
    if !args.read_data {
        output::line("only listings were compared; --read-data finds what is damaged within");
    }
}

fn document(args: &RepairArgs, plan: &RepairPlan, done: Option<&Repaired>) -> Document {
    let verdicts = plan.verdicts.iter();
    let lost = |point: &LostPoint| LostDocument {
        recovery_point: point.id.to_string(),
        machine: point.machine.clone(),
        objects: point.packs.iter().map(|problem| problem.name.to_string()).collect(),
    };
    Document {
        event: "done",
        dry_run: args.dry_run,
        packs_rebuilt: plan.packs(),
        segments_written: done.map_or(0, |done| done.segments),
        verdicts: verdicts
            .map(|(name, v)| VerdictDocument { object: name.to_string(), verdict: verdict(*v) })
            .collect(),
        lost_points: plan.lost.iter().map(lost).collect(),
        run_again: done.is_some_and(|done| done.again),
    }
}
