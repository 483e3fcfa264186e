//! Agent and host together: enrolment, the scan's default plan, backups through the gateway, reports, status.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nightkeep_harness::agent::run;
use nightkeep_harness::api::Api;
use nightkeep_harness::binaries::{self, output_dir};
use nightkeep_harness::cluster::{Cluster, Machine, ended_jobs, machine_detail, plans, start_backup, wait_for_machine};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::tree;
use nightkeep_harness::wait::wait_for;
use serde_json::{Value, json};

/// A backup of some ten megabytes on two busy cores.
const BACKUP_AT_MOST: Duration = Duration::from_secs(120);

/// The scan runs at start, on demand and every six minutes.
const PLAN_AT_MOST: Duration = Duration::from_secs(60);

#[tokio::test]
async fn item_75_the_scan_applies_the_default_plan_and_item_83_the_backup_makes_the_machine_ok() -> Result<()> {
    let cluster = Cluster::start(&output_dir("hosted-ok")?).await?;
    let source = tempfile::tempdir()?;
    tree::many(source.path(), 500)?;
    let _machine = cluster.running_machine("first", source.path())?;
    let api = cluster.host.sign_in().await?;
    let detail = with_default_plan(&api, "first").await?;
    ensure!(plans(&detail) == ["Entire machine to Cloud Storage"], "{:?}", plans(&detail));
    ensure!(detail["bucket"] == "not_protected", "before the first backup: {}", detail["bucket"]);
    start_backup(&api, &detail).await?;
    let detail = ended(&api, "first", 1).await?;
    ensure!(ended_jobs(&detail)[0]["outcome"] == "ok", "{:#}", ended_jobs(&detail)[0]);
    let is_ok = |detail: &Value| detail["bucket"] == "ok";
    let detail = wait_for_machine(&api, "first", "status OK", PLAN_AT_MOST, is_ok).await?;
    ensure!(detail["last_backup"].is_string() && detail["next_backup"].is_string(), "{detail:#}");
    let target = tempfile::tempdir()?;
    restore_by_sheet(&cluster, "first", "latest", target.path())?;
    expect_equal(source.path(), target.path())?;
    Ok(())
}

#[tokio::test]
async fn a_second_machine_of_the_customer_uploads_less_than_one_percent() -> Result<()> {
    let cluster = Cluster::start(&output_dir("hosted-second")?).await?;
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for place in [one.path(), two.path()] {
        tree::noise(&place.join("noise"), 48 << 20, 1)?;
        tree::many(place, 1_000)?;
    }
    let api = cluster.host.sign_in().await?;
    let _first = cluster.running_machine("first", one.path())?;
    backed_up(&api, "first").await?;
    // Others may count on what a machine wrote once the host has read it back and signed that.
    let generations = cluster.host.vault_dir()?.join("g");
    wait_for("what the first machine wrote to be verified", PLAN_AT_MOST, || Ok(generations.is_dir().then_some(())))?;
    let before = tree::bytes(&cluster.host.vault_dir()?)?;
    let _second = cluster.running_machine("second", two.path())?;
    backed_up(&api, "second").await?;
    let (written, bytes) = (tree::bytes(&cluster.host.vault_dir()?)? - before, tree::bytes(two.path())?);
    ensure!(written < bytes / 100, "{written} of {bytes} bytes");
    Ok(())
}

#[tokio::test]
async fn ten_kills_of_agent_and_host_lose_no_report_and_list_no_point_that_cannot_be_restored() -> Result<()> {
    let mut cluster = Cluster::start(&output_dir("hosted-kills")?).await?;
    let source = tempfile::tempdir()?;
    tree::noise(&source.path().join("noise"), 64 << 20, 1)?;
    tree::many(source.path(), 1_000)?;
    let mut machine = cluster.running_machine("first", source.path())?;
    let api = cluster.host.sign_in().await?;
    let detail = with_default_plan(&api, "first").await?;
    start_backup(&api, &detail).await?;
    for kill in 1..=10 {
        // Some bytes further each time, or at once when nothing runs: start, middle, commit and report are all hit.
        moved_on(&cluster, kill * (4 << 20)).await;
        if kill % 2 == 0 {
            machine.kill()?;
            machine.start()?;
        } else {
            cluster.host.kill_and_restart().await?;
        }
    }
    // Signed in again: the host's sessions live in its database, but the password is asked for all the same.
    let api = cluster.host.sign_in().await?;
    let before = settled(&api, "first").await?;
    start_backup(&api, &before).await?;
    let detail = ended(&api, "first", ended_jobs(&before).len() + 1).await?;
    let jobs = ended_jobs(&detail);
    ensure!(jobs[0]["outcome"] == "ok", "{:#}", jobs[0]);
    every_point_is_restorable(&cluster, &machine, source.path(), &jobs)
}

#[tokio::test]
async fn with_the_host_away_the_report_of_a_backup_arrives_later_and_once() -> Result<()> {
    let mut cluster = Cluster::start(&output_dir("hosted-away")?).await?;
    let source = tempfile::tempdir()?;
    tree::many(source.path(), 100)?;
    let mut machine = cluster.running_machine("first", source.path())?;
    let api = cluster.host.sign_in().await?;
    backed_up(&api, "first").await?;
    cluster.host.kill()?;
    machine.run(&["start", "--no-wait"])?.expect_code(0)?;
    // A restart of the agent must not forget what it owes.
    machine.kill()?;
    machine.start()?;
    cluster.host.restart().await?;
    let api = cluster.host.sign_in().await?;
    let settled = settled(&api, "first").await?;
    start_backup(&api, &settled).await?;
    let detail = ended(&api, "first", ended_jobs(&settled).len() + 1).await?;
    let mut points: Vec<&str> = ended_jobs(&detail).iter().filter_map(|job| job["recovery_point"].as_str()).collect();
    let all = points.len();
    points.sort_unstable();
    points.dedup();
    ensure!(points.len() == all, "a recovery point was reported twice: {points:?}");
    Ok(())
}

#[tokio::test]
async fn item_80_a_stopped_backup_leaves_no_recovery_point_and_the_next_one_runs() -> Result<()> {
    let cluster = Cluster::start(&output_dir("hosted-stop")?).await?;
    let source = tempfile::tempdir()?;
    for index in 0..8 {
        tree::noise(&source.path().join(format!("noise {index}")), 48 << 20, index + 1)?;
    }
    let _machine = cluster.running_machine("first", source.path())?;
    let api = cluster.host.sign_in().await?;
    let detail = with_default_plan(&api, "first").await?;
    start_backup(&api, &detail).await?;
    let runs = |detail: &Value| detail["backing_up"].is_object() || !ended_jobs(detail).is_empty();
    let detail = wait_for_machine(&api, "first", "the backup's start", BACKUP_AT_MOST, runs).await?;
    let id = detail["id"].as_str().context("a machine without id")?;
    api.post(&format!("/api/v1/machines/{id}/stop"), &json!({})).await?;
    let detail = ended(&api, "first", 1).await?;
    let job = ended_jobs(&detail)[0].clone();
    ensure!(job["outcome"] == "cancelled" && job["recovery_point"].is_null(), "{job:#}");
    start_backup(&api, &detail).await?;
    let detail = ended(&api, "first", 2).await?;
    ensure!(ended_jobs(&detail)[0]["outcome"] == "ok", "{:#}", ended_jobs(&detail)[0]);
    Ok(())
}

/// Has the scan run and waits until the machine knows its plan.
pub(crate) async fn with_default_plan(api: &Api, name: &str) -> Result<Value> {
    api.post("/api/v1/scan", &json!({})).await?;
    let has_plan = |detail: &Value| !plans(detail).is_empty() && detail["plans"][0]["next_start"].is_string();
    wait_for_machine(api, name, "the default plan", PLAN_AT_MOST, has_plan).await
}

/// Waits until so many backups have ended.
async fn ended(api: &Api, name: &str, count: usize) -> Result<Value> {
    let enough = |detail: &Value| ended_jobs(detail).len() >= count;
    wait_for_machine(api, name, &format!("{count} ended backups"), BACKUP_AT_MOST, enough).await
}

/// Waits until the machine has been heard and neither runs nor owes anything.
async fn settled(api: &Api, name: &str) -> Result<Value> {
    let idle = |detail: &Value| {
        let jobs = detail["jobs"].as_array().into_iter().flatten();
        detail["backing_up"].is_null()
            && detail["pending"].is_null()
            && jobs.into_iter().all(|j| j["finished"].is_string())
    };
    wait_for_machine(api, name, "the end of what runs", BACKUP_AT_MOST, idle).await
}

async fn backed_up(api: &Api, name: &str) -> Result<Value> {
    let detail = with_default_plan(api, name).await?;
    start_backup(api, &detail).await?;
    let detail = ended(api, name, 1).await?;
    ensure!(ended_jobs(&detail)[0]["outcome"] == "ok", "{:#}", ended_jobs(&detail)[0]);
    Ok(detail)
}

/// Waits a little for the vault to grow by `bytes`; gives up quietly, since a kill while nothing grows counts as well.
async fn moved_on(cluster: &Cluster, bytes: u64) {
    let grown = async {
        let start = cluster.host.vault_dir().and_then(|dir| tree::bytes(&dir)).unwrap_or_default();
        nightkeep_harness::wait::wait_for_async("growth", Duration::from_secs(2), || async {
            let now = cluster.host.vault_dir().and_then(|dir| tree::bytes(&dir)).unwrap_or_default();
            Ok((now >= start + bytes).then_some(()))
        })
        .await
    };
    let _ = grown.await;
}

fn every_point_is_restorable(cluster: &Cluster, machine: &Machine, source: &Path, jobs: &[&Value]) -> Result<()> {
    let mut points: Vec<&str> = jobs.iter().filter_map(|job| job["recovery_point"].as_str()).collect();
    let reported = points.len();
    points.sort_unstable();
    points.dedup();
    ensure!(points.len() == reported, "a job was counted twice: {points:?}");
    let listed = listed_points(cluster, machine)?;
    ensure!(listed.len() >= reported, "reported {points:?}, listed {listed:?}");
    for point in &listed {
        let target = tempfile::tempdir()?;
        restore_by_sheet(cluster, machine.name(), point, target.path())?;
        expect_equal(source, target.path())?;
    }
    Ok(())
}

fn listed_points(cluster: &Cluster, machine: &Machine) -> Result<Vec<String>> {
    let answer = run(&mut by_sheet(cluster, machine.name(), &["points", "--json"])?)?.expect_code(0)?.json()?;
    let points = answer["points"].as_array().context("no list of points")?;
    Ok(points.iter().filter_map(|point| point["id"].as_str()).map(str::to_owned).collect())
}

fn restore_by_sheet(cluster: &Cluster, machine: &str, point: &str, target: &Path) -> Result<()> {
    run(by_sheet(cluster, machine, &["restore", point])?.arg("--target").arg(target))?.expect_code(0)?;
    Ok(())
}

/// A vault command on the host's own disk with the recovery sheet, as after the loss of host and machine.
fn by_sheet(cluster: &Cluster, machine: &str, arguments: &[&str]) -> Result<Command> {
    let vault = format!("file://{}", cluster.host.vault_dir()?.display());
    let mut command = Command::new(binaries::agent()?);
    command.args(arguments).args(["--vault", &vault, "--machine", machine, "--key-file"]).arg(cluster.host.sheet()?);
    command.arg("--state-dir").arg(cluster.place().join("fresh state"));
    command.arg("--identity-dir").arg(cluster.place().join("fresh identity"));
    Ok(command)
}

#[tokio::test]
async fn a_machine_enrolled_twice_keeps_its_identity() -> Result<()> {
    let cluster = Cluster::start(&output_dir("hosted-twice")?).await?;
    let source = tempfile::tempdir()?;
    let machine = cluster.machine("first", source.path())?;
    machine.enrol(&cluster.host.token(&[])?)?;
    let api = cluster.host.sign_in().await?;
    let before = machine_detail(&api, "first").await?.context("not listed")?;
    // Whether a second enrolment is refused or repeated: it must not make a second machine.
    machine.try_enrol(&cluster.host.token(&[])?)?;
    let list = api.get("/api/v1/machines").await?;
    ensure!(list["machines"].as_array().map(Vec::len) == Some(1), "{list:#}");
    ensure!(list["machines"][0]["id"] == before["id"]);
    Ok(())
}
