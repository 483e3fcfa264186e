//! Reports are applied exactly once, whatever comes between.

mod support;

use nightkeep_database::{IncomingReport, ReportStop};
use nightkeep_wire::report::{Cause, JobKind, JobResult, JobStarted, JobStats, Outcome, Report, ReportBody};
use nightkeep_wire::{IncarnationId, JobId, MachineId};
use support::{World, at, blake};
use uuid::Uuid;

fn started(machine: MachineId, incarnation: IncarnationId, sequence: u64, job: JobId) -> IncomingReport {
    let body = ReportBody::JobStarted(JobStarted {
        job,
        plan: None,
        kind: JobKind::Backup,
        cause: Cause::Manual,
        occurrence: None,
        started: at(sequence as i64),
    });
    incoming(machine, incarnation, sequence, body)
}

fn finished(machine: MachineId, incarnation: IncarnationId, sequence: u64, job: JobId) -> IncomingReport {
    let body = ReportBody::JobFinished(Box::new(JobResult {
        job,
        plan: None,
        kind: JobKind::Backup,
        cause: Cause::Manual,
        occurrence: None,
        started: at(1),
        finished: at(60),
        civil: None,
        outcome: Outcome::Ok,
        recovery_point: "00112233aabbccdd".parse().ok(),
        set: None,
        stats: JobStats { files: 7, ..JobStats::default() },
        findings: vec![],
        finding_count: 0,
        error: None,
        error_class: None,
        bootable: false,
    }));
    incoming(machine, incarnation, sequence, body)
}

fn incoming(machine: MachineId, incarnation: IncarnationId, sequence: u64, body: ReportBody) -> IncomingReport {
    let report = Report { machine, incarnation, sequence, at: at(sequence as i64), body };
    let hash = *blake(format!("{report:?}").as_bytes());
    IncomingReport { report, hash }
}

fn job() -> JobId {
    JobId::from_uuid(Uuid::new_v4())
}

#[tokio::test]
async fn a_report_sent_twice_counts_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let batch =
        [started(machine.id, machine.incarnation, 1, job()), finished(machine.id, machine.incarnation, 2, job())];
    for (round, new) in [(1, 2), (2, 0)] {
        let outcome = world.database.apply_reports(machine.id, &batch, at(100)).await?;
        let outcome = outcome.ok_or_else(|| anyhow::anyhow!("no machine"))?;
        assert_eq!((outcome.applied_through, outcome.newly_applied, outcome.stop), (2, new, None), "round {round}");
    }
    assert_eq!(world.database.jobs(machine.id, 10).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_gap_keeps_what_came_before_and_names_what_is_expected() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let batch =
        [started(machine.id, machine.incarnation, 1, job()), started(machine.id, machine.incarnation, 3, job())];
    let outcome = world.database.apply_reports(machine.id, &batch, at(100)).await?;
    let outcome = outcome.ok_or_else(|| anyhow::anyhow!("no machine"))?;
    assert_eq!(outcome.applied_through, 1);
    assert_eq!(outcome.stop, Some(ReportStop::Gap { expected: 2, found: 3 }));
    Ok(())
}

#[tokio::test]
async fn the_same_number_with_other_content_is_a_clone() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let first = [started(machine.id, machine.incarnation, 1, job())];
    world.database.apply_reports(machine.id, &first, at(100)).await?;
    let other = [started(machine.id, machine.incarnation, 1, job())];
    let outcome = world.database.apply_reports(machine.id, &other, at(101)).await?;
    assert_eq!(outcome.and_then(|o| o.stop), Some(ReportStop::Conflict { sequence: 1 }));
    let known = world.database.machine(machine.id).await?.ok_or_else(|| anyhow::anyhow!("no machine"))?;
    assert_eq!(known.clone_alarm_at, Some(at(101)));
    Ok(())
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_nothing_and_the_next_try_applies_all() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let batch =
        [started(machine.id, machine.incarnation, 1, job()), finished(machine.id, machine.incarnation, 2, job())];
    world.database.apply_reports_and_crash(machine.id, &batch, at(100)).await?;
    assert!(world.database.jobs(machine.id, 10).await?.is_empty());
    let known = world.database.machine(machine.id).await?.ok_or_else(|| anyhow::anyhow!("no machine"))?;
    assert_eq!(known.applied_sequence, 0);
    let outcome = world.second_host().await?.apply_reports(machine.id, &batch, at(101)).await?;
    assert_eq!(outcome.map(|o| (o.applied_through, o.newly_applied)), Some((2, 2)));
    Ok(())
}

#[tokio::test]
async fn a_machine_that_lost_its_state_numbers_anew_and_its_old_numbering_never_comes_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let old = started(machine.id, machine.incarnation, 1, job());
    world.database.apply_reports(machine.id, std::slice::from_ref(&old), at(100)).await?;
    let new_life = IncarnationId::from_uuid(Uuid::new_v4());
    let outcome = world.database.apply_reports(machine.id, &[started(machine.id, new_life, 1, job())], at(101)).await?;
    assert_eq!(outcome.map(|o| (o.applied_through, o.stop)), Some((1, None)));
    let back = started(machine.id, machine.incarnation, 2, job());
    let outcome = world.database.apply_reports(machine.id, &[back], at(102)).await?;
    assert_eq!(outcome.and_then(|o| o.stop), Some(ReportStop::OtherIncarnation));
    Ok(())
}

#[tokio::test]
async fn two_hosts_that_get_the_same_batch_apply_it_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let batch: Vec<_> = (1..=20).map(|n| started(machine.id, machine.incarnation, n, job())).collect();
    let second = world.second_host().await?;
    let (one, two) = tokio::join!(
        world.database.apply_reports(machine.id, &batch, at(100)),
        second.apply_reports(machine.id, &batch, at(100))
    );
    let applied = |outcome: Option<nightkeep_database::ReportOutcome>| outcome.map_or(0, |o| o.newly_applied);
    assert_eq!(applied(one?) + applied(two?), 20);
    assert_eq!(world.database.jobs(machine.id, 100).await?.len(), 20);
    Ok(())
}

#[tokio::test]
async fn a_finished_job_never_runs_again() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let job = job();
    let batch = [finished(machine.id, machine.incarnation, 1, job), started(machine.id, machine.incarnation, 2, job)];
    world.database.apply_reports(machine.id, &batch, at(100)).await?;
    assert!(world.database.running_jobs(machine.id).await?.is_empty());
    let known = world.database.job(machine.id, job).await?.ok_or_else(|| anyhow::anyhow!("no job"))?;
    assert_eq!(known.result.map(|result| result.stats.files), Some(7));
    Ok(())
}
