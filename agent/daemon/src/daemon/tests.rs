//! The whole daemon against a small host: from a command to a recovery point, and what is told of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot run its daemon has failed")]

#[cfg(all(test, unix))]
mod bus;
#[cfg(all(test, unix))]
mod machine;

use super::*;
use crate::testing::{FakeHost, in_vault, places_in, until};
use nightkeep_platform::ipc;
use nightkeep_wire::control::{Line, Request, StatusSnapshot};
use nightkeep_wire::desired::{Command, CommandAction};
use nightkeep_wire::plan::{Items, Plan, Schedule, Selection, VssPolicy};
use nightkeep_wire::report::{JobResult, Outcome, ReportBody};
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{CommandId, IncarnationId};
use std::path::Path;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A plan for everything that its occurrence, a year away, does not disturb; read as it is, whatever the disk could do.
fn plan() -> Plan {
    let mut plan = Plan {
        schedule: Schedule::cron("0 0 0 1 1 *"),
        items: Items::new(Selection::EntireMachine),
        ..Plan::default_plan()
    };
    plan.options.vss = VssPolicy::Off;
    plan
}

fn start_command() -> Command {
    Command {
        id: CommandId::from_uuid(Uuid::new_v4()),
        issued_at: chrono::Utc::now(),
        expires_at: None,
        action: CommandAction::Start { plan: plan().id },
    }
}

fn config(root: &Path) -> Config {
    Config { machine_root: Some(root.to_path_buf()), ..Config::default() }
}

/// A daemon that runs until it is asked to end.
struct Running {
    ask: watch::Sender<bool>,
    task: JoinHandle<Result<(), DaemonError>>,
}

impl Running {
    async fn end(self) {
        self.ask.send_replace(true);
        self.task.await.unwrap().unwrap();
    }
}

fn run_daemon(dir: &Path, root: &Path) -> Running {
    let (ask, asked) = watch::channel(false);
    Running { ask, task: tokio::spawn(run_until(places_in(dir), config(root), asked)) }
}

fn results(host: &FakeHost) -> Vec<JobResult> {
    let known = host.known();
    let result = |body: &ReportBody| {
        let ReportBody::JobFinished(result) = body else { return None };
        Some(result.as_ref().clone())
    };
    known.reports.iter().filter_map(|report| result(&report.body)).collect()
}

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("docs")).unwrap();
    for n in 0..20 {
        std::fs::write(root.path().join(format!("docs/{n}.txt")), format!("file {n} ").repeat(1000)).unwrap();
    }
    root
}

async fn ask(dir: &Path, op: Op) -> Answer {
    let stream = ipc::connect(&places_in(dir).control()).await.unwrap();
    let (read, mut write) = tokio::io::split(stream);
    let mut line = serde_json::to_vec(&Request { id: 3, op }).unwrap();
    line.push(b'\n');
    write.write_all(&line).await.unwrap();
    let mut answer = String::new();
    BufReader::new(read).read_line(&mut answer).await.unwrap();
    let Line::Response(response) = serde_json::from_str(&answer).unwrap() else { panic!("no answer: {answer}") };
    assert_eq!(response.id, 3);
    response.result
}

async fn status(dir: &Path) -> StatusSnapshot {
    let Answer::Ok(Reply::Status(status)) = ask(dir, Op::Status).await else { panic!("no status") };
    *status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_becomes_a_recovery_point_and_one_report_of_it() {
    let host = FakeHost::start();
    let (dir, root) = (tempfile::tempdir().unwrap(), tree());
    let (_, identity, _) = host.enrolled(dir.path()).await;
    let machine = identity.enrolled.unwrap().machine;
    host.want(|known| {
        known.plans = vec![plan()];
        known.commands.push_back(start_command());
    });
    let daemon = run_daemon(dir.path(), root.path());
    until("a result", || !results(&host).is_empty()).await;
    let found = results(&host);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].outcome, &found[0].error, found[0].stats.files), (Outcome::Ok, &None, 20), "{found:?}");
    let points = host.vault().points(in_vault(machine)).unwrap();
    let ids: Vec<String> = points.visible().map(|listed| listed.point.id.to_string()).collect();
    assert_eq!(ids, [found[0].recovery_point.as_ref().unwrap().to_string()]);
    until("the command is acknowledged", || host.known().commands.is_empty()).await;
    assert_eq!(host.known().meta_keys, 1);
    let status = status(dir.path()).await;
    assert_eq!(status.bucket, Bucket::Ok, "{}", status.reason);
    assert_eq!(status.plans[0].last.as_ref().map(|last| last.outcome), Some(Outcome::Ok));

    // The second run of unchanged files stores next to nothing.
    host.want(|known| known.commands.push_back(start_command()));
    until("a second result", || results(&host).len() == 2).await;
    let second = results(&host).remove(1);
    assert_eq!((second.stats.files_new, second.stats.bytes_new), (0, 0));
    assert!(second.stats.bytes_stored < 64 * 1024, "{}", second.stats.bytes_stored);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_the_host_away_local_starts_wait_in_the_outbox_and_arrive_later() {
    let host = FakeHost::start();
    let (dir, root) = (tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    host.want(|known| known.plans = vec![plan()]);
    let daemon = run_daemon(dir.path(), root.path());
    until("the plan is told", || !host.known().reports.is_empty()).await;
    daemon.end().await;
    let told = host.known().reports.len();
    host.known().faults.unavailable = usize::MAX;
    let daemon = run_daemon(dir.path(), root.path());
    until("the socket is there", || places_in(dir.path()).control().exists()).await;
    let answer = ask(dir.path(), Op::Pause { for_seconds: 600 }).await;
    assert!(matches!(answer, Answer::Ok(Reply::Paused { .. })), "{answer:?}");
    assert!(status(dir.path()).await.reports_waiting > 0);
    assert_eq!(host.known().reports.len(), told);
    daemon.end().await;
    host.known().faults.unavailable = 0;
    let daemon = run_daemon(dir.path(), root.path());
    until("the pause is told", || {
        host.known().reports.iter().any(|report| matches!(report.body, ReportBody::Pause(_)))
    })
    .await;
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_machine_that_lost_its_state_goes_on_reporting_and_keeps_its_identity() {
    let host = FakeHost::start();
    let (dir, root) = (tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    host.want(|known| {
        known.plans = vec![plan()];
        known.commands.push_back(start_command());
    });
    let daemon = run_daemon(dir.path(), root.path());
    until("a result", || results(&host).len() == 1).await;
    daemon.end().await;
    std::fs::remove_dir_all(places_in(dir.path()).state).unwrap();
    host.want(|known| known.commands.push_back(start_command()));
    let daemon = run_daemon(dir.path(), root.path());
    until("a second result", || results(&host).len() == 2).await;
    let incarnations: std::collections::BTreeSet<IncarnationId> =
        host.known().reports.iter().map(|report| report.incarnation).collect();
    assert_eq!(incarnations.len(), 2);
    let second = results(&host).remove(1);
    assert_eq!((second.outcome, second.stats.bytes_new), (Outcome::Ok, 0), "the vault remembers what the state forgot");
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_host_that_lost_reports_gets_the_waiting_ones_under_the_numbers_it_expects() {
    let host = FakeHost::start();
    let (dir, root) = (tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    host.want(|known| known.plans = vec![plan()]);
    let daemon = run_daemon(dir.path(), root.path());
    until("the first reports", || host.known().applied >= 2).await;
    {
        // Restored from a copy that is older than these reports.
        let mut known = host.known();
        known.reports.clear();
        known.applied = 0;
    }
    host.want(|known| known.commands.push_back(start_command()));
    until("a result", || results(&host).len() == 1).await;
    let numbers: Vec<u64> = host.known().reports.iter().map(|report| report.sequence).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unenrolled_daemon_answers_and_begins_to_serve_when_an_identity_appears() {
    let host = FakeHost::start();
    let (dir, root) = (tempfile::tempdir().unwrap(), tree());
    let daemon = run_daemon(dir.path(), root.path());
    until("the socket is there", || places_in(dir.path()).control().exists()).await;
    assert_eq!(status(dir.path()).await.machine, None);
    let answer = ask(dir.path(), Op::Start { plan: None }).await;
    assert!(matches!(answer, Answer::Error(error) if error.code == ControlErrorCode::NotEnrolled));
    let (_, identity, _) = host.enrolled(dir.path()).await;
    until("reports come", || !host.known().reports.is_empty()).await;
    assert_eq!(status(dir.path()).await.machine, identity.enrolled.map(|enrolled| enrolled.machine));
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_unenroll_command_is_acknowledged_and_leaves_nothing_behind() {
    let host = FakeHost::start();
    let (dir, root) = (tempfile::tempdir().unwrap(), tree());
    let (places, _, _) = host.enrolled(dir.path()).await;
    let leave = Command { action: CommandAction::Unenroll, ..start_command() };
    host.want(|known| known.commands.push_back(leave));
    let daemon = run_daemon(dir.path(), root.path());
    until("the identity is gone", || !places.identity_file().exists()).await;
    assert!(host.known().commands.is_empty(), "acknowledged before it left");
    until("the state is gone", || !places.outbox().exists() && !places.jobs().exists()).await;
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_daemon_in_the_same_state_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = run_daemon(dir.path(), dir.path());
    until("the socket is there", || places_in(dir.path()).control().exists()).await;
    let (_ask, asked) = watch::channel(false);
    let second = run_until(places_in(dir.path()), config(dir.path()), asked).await;
    assert!(matches!(second, Err(DaemonError::AlreadyRunning { .. })), "{second:?}");
    daemon.end().await;
}
