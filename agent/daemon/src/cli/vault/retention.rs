//! `explain`, `forget`, `undelete`: what is kept, and deciding otherwise.

use anyhow::Context as _;
use chrono::{DateTime, NaiveTime, Utc};
use nightkeep_rules::retention::{self, Decision, Point as RulePoint, Rules};
use nightkeep_vault::codec::Time;
use nightkeep_vault::collect::{self, Candidate, RetireOptions};
use nightkeep_vault::id::MachineId;
use nightkeep_vault::record::point::{BackupSet, CivilTime};
use nightkeep_vault::record::retention::Action;
use nightkeep_vault::vault::{Health, ListedPoint, Vault, is_point_prefix};
use nightkeep_wire::plan::Retention;
use nightkeep_wire::report::BackupSet as PlanSet;
use serde::Serialize;
use std::collections::BTreeSet;

use super::{init, open, text};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::vault_args::{ExplainArgs, PointsArgs, VaultFlags};

#[derive(Serialize)]
struct ExplainDocument {
    on: String,
    points: Vec<ExplainedPoint>,
}

#[derive(Serialize)]
struct ExplainedPoint {
    id: String,
    machine: String,
    set: &'static str,
    started: Option<String>,
    kept: bool,
    reason: String,
}

/// Says of every point what the default rules decide on a day, and why.
pub(super) fn explain(args: &ExplainArgs, json: bool) -> anyhow::Result<Exit> {
    let vault = open::owner_uncached(&args.vault)?;
    let now = match args.on {
        None => Utc::now(),
        Some(day) => end_of_day(day).context("that day does not exist in this machine's zone")?,
    };
    let machines: BTreeSet<MachineId> =
        open::machines(&vault, &args.vault)?.into_iter().map(|record| record.machine).collect();
    let rules = Rules::from(Retention::default());
    let mut explained = Vec::new();
    let options = RetireOptions::new(Time { seconds: now.timestamp(), nanoseconds: 0 });
    collect::plan_retirement(&vault, &options, &mut |candidates| {
        let (points, decisions) = decide(candidates, &rules, now);
        let about = candidates.iter().zip(&points).zip(&decisions);
        let about = about.filter(|((candidate, _), _)| machines.contains(&candidate.listed.point.header.machine));
        explained.extend(
            about.map(|((candidate, point), decision)| explained_point(candidate.listed, point, decision, &rules, now)),
        );
        vec![None; candidates.len()]
    })?;
    if json {
        output::json(&ExplainDocument { on: now.to_rfc3339(), points: explained });
        return Ok(Exit::Done);
    }
    for point in explained {
        let (id, set, machine) = (&point.id, point.set, &point.machine);
        let started = point.started.as_deref().unwrap_or("?");
        output::line(format_args!("{id}  {started}  {set:<8} {machine}: {}", point.reason));
    }
    Ok(Exit::Done)
}

fn end_of_day(day: chrono::NaiveDate) -> Option<DateTime<Utc>> {
    let end = day.and_time(NaiveTime::from_hms_opt(23, 59, 59)?);
    Some(end.and_local_timezone(chrono::Local).latest()?.to_utc())
}

/// What the rules say of the points of one source.
pub(super) fn decide(
    candidates: &[Candidate<'_>],
    rules: &Rules,
    now: DateTime<Utc>,
) -> (Vec<RulePoint>, Vec<Decision>) {
    let points: Vec<RulePoint> = candidates.iter().map(rule_point).collect();
    let decisions = retention::decide(&points, rules, now);
    (points, decisions)
}

fn rule_point(candidate: &Candidate<'_>) -> RulePoint {
    let header = &candidate.listed.point.header;
    let set = match header.set {
        BackupSet::Monthly => PlanSet::Monthly,
        BackupSet::Weekly => PlanSet::Weekly,
        BackupSet::Daily | BackupSet::None => PlanSet::Daily,
    };
    let began = CivilTime { at: candidate.began, ..header.started.clone() };
    // A moment beyond the calendar is one that never expires.
    let at = text::civil(&began).unwrap_or_else(|| DateTime::<Utc>::MAX_UTC.fixed_offset());
    let restorable = candidate.listed.health == Health::Sound;
    RulePoint { at, set, restorable, held: candidate.listed.retained.held }
}

fn explained_point(
    listed: &ListedPoint,
    point: &RulePoint,
    decision: &Decision,
    rules: &Rules,
    now: DateTime<Utc>,
) -> ExplainedPoint {
    ExplainedPoint {
        id: listed.point.id.to_string(),
        machine: listed.point.header.machine_name.clone(),
        set: text::set(listed.point.header.set),
        started: text::civil(&listed.point.header.started).map(|at| at.to_rfc3339()),
        kept: decision.keeps(),
        reason: retention::explain(point, decision, &rules.current, now),
    }
}

#[derive(Serialize)]
struct ChangedDocument {
    changed: Vec<String>,
}

/// Puts points into the trash.
pub(super) fn forget(args: &PointsArgs, json: bool) -> anyhow::Result<Exit> {
    let done = change(args, |listed| !listed.retained.trashed, Action::Trash, "visible")?;
    tell(&done, json, "is in the trash for 14 days; `undelete` brings it back, `prune` gives its space back afterwards")
}

/// Takes points out of the trash.
pub(super) fn undelete(args: &PointsArgs, json: bool) -> anyhow::Result<Exit> {
    let done = change(args, |listed| listed.retained.trashed, Action::Undelete, "in the trash")?;
    tell(&done, json, "is back")
}

fn tell(done: &[String], json: bool, what: &str) -> anyhow::Result<Exit> {
    if json {
        output::json(&ChangedDocument { changed: done.to_vec() });
    } else {
        done.iter().for_each(|id| output::line(format_args!("{id} {what}")));
    }
    Ok(Exit::Done)
}

/// Finds every named point first, so that a mistyped one changes nothing; then records the decision.
fn change(
    args: &PointsArgs,
    fits: impl Fn(&ListedPoint) -> bool,
    action: Action,
    where_: &str,
) -> anyhow::Result<Vec<String>> {
    let vault = open::owner_uncached(&args.vault)?;
    let candidates = candidates(&vault, &args.vault)?;
    let ids: Vec<String> = candidates.iter().map(|listed| listed.point.id.to_string()).collect();
    let mut chosen: Vec<&ListedPoint> = Vec::new();
    for text in &args.points {
        let wanted = text.to_ascii_lowercase();
        let matching = |(listed, id): (_, &String)| id.starts_with(&wanted).then_some(listed);
        let mut found: Vec<&ListedPoint> = if is_point_prefix(text) {
            candidates.iter().zip(&ids).filter_map(matching).filter(|listed| fits(listed)).collect()
        } else {
            return Err(Failure::usage(format!("'{text}' is no recovery point's id; `points` lists them")).into());
        };
        match (found.pop(), found.len()) {
            // Naming one twice is naming it once.
            (Some(listed), 0) if chosen.iter().any(|before| std::ptr::eq::<ListedPoint>(*before, listed)) => {}
            (Some(listed), 0) => chosen.push(listed),
            (None, _) => {
                let message = format!("no recovery point that is {where_} begins with '{text}'");
                return Err(Failure::new("no-point", message).into());
            }
            (Some(_), others) => {
                let message = format!("{} recovery points begin with '{text}'; give more of the id", others + 1);
                return Err(Failure::new("ambiguous-point", message).into());
            }
        }
    }
    if let Some(held) = chosen.iter().find(|listed| listed.retained.held && action == Action::Trash) {
        let message = format!("{} is under a hold and cannot be dropped; release the hold first", held.point.id);
        return Err(Failure::new("held", message).into());
    }
    let decided: Vec<_> = chosen.iter().map(|listed| (*listed, action, "command line")).collect();
    collect::retain_all(&vault, &decided, init::now())?;
    Ok(chosen.iter().map(|listed| listed.point.id.to_string()).collect())
}

fn candidates(vault: &Vault, flags: &VaultFlags) -> anyhow::Result<Vec<ListedPoint>> {
    let mut all = Vec::new();
    let mut machines = vault.machines()?;
    machines.retain(|machine| flags.machine.as_ref().is_none_or(|name| *name == machine.name));
    vault.points_of(&machines, &mut |_, points| {
        all.extend(points.points.into_iter().filter(|listed| !listed.retained.forgotten));
    })?;
    Ok(all)
}
