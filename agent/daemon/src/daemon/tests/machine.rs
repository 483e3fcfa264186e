//! The daemon with a machine of its own mind: commands before and after, limits.

use super::*;
use nightkeep_wire::plan::{CommandFailure, VssPolicy};
use nightkeep_wire::report::{ErrorClass, FindingKind};
use std::time::Instant;

/// Lists commands that note phase, status and plan; the pre command does something besides.
fn noting(dir: &Path, pre: &str) -> std::path::PathBuf {
    let notes = dir.join("notes");
    let note = format!("echo \"$NIGHTKEEP_PHASE $NIGHTKEEP_STATUS $NIGHTKEEP_PLAN\" >> {}", notes.display());
    let list = format!(
        "[before]\nshell = '{note}; {pre}'\n[after]\nshell = '{note}'\n[bad]\nshell = 'echo full >&2; exit 4'\n"
    );
    nightkeep_platform::secret_file::write(&dir.join("commands.toml"), list.as_bytes()).unwrap();
    notes
}

fn plan_with(pre: &str, post: &str, failure: CommandFailure) -> Plan {
    let mut plan = plan();
    plan.name = "Files".to_owned();
    plan.options.pre_command = Some(pre.to_owned());
    plan.options.post_command = Some(post.to_owned());
    plan.options.pre_command_failure = failure;
    plan
}

async fn one_run(dir: &Path, plan: Plan) -> JobResult {
    let (host, root) = (FakeHost::start(), tree());
    host.enrolled(dir).await;
    host.want(|known| {
        known.plans = vec![plan];
        known.commands.push_back(start_command());
    });
    let daemon = run_daemon(dir, root.path());
    until("a result", || !results(&host).is_empty()).await;
    let result = results(&host).remove(0);
    daemon.end().await;
    result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_run_before_and_after_and_the_second_knows_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let notes = noting(dir.path(), "true");
    let result = one_run(dir.path(), plan_with("before", "after", CommandFailure::Fail)).await;
    assert_eq!((result.outcome, result.finding_count), (Outcome::Ok, 0), "{result:?}");
    assert_eq!(std::fs::read_to_string(notes).unwrap(), "before  Files\nafter ok Files\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failing_pre_command_fails_the_backup_and_the_post_command_runs_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let notes = noting(dir.path(), "echo no space left; exit 3");
    let result = one_run(dir.path(), plan_with("before", "after", CommandFailure::Fail)).await;
    assert_eq!((result.outcome, result.recovery_point), (Outcome::Error, None));
    let error = result.error.unwrap();
    assert!(error.contains("pre command before failed") && error.contains("3: no space left"), "{error}");
    assert_eq!(std::fs::read_to_string(notes).unwrap(), "before  Files\nafter error Files\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_the_plan_says_so_a_failing_pre_command_is_a_warning_beside_the_backup() {
    let dir = tempfile::tempdir().unwrap();
    let notes = noting(dir.path(), "true");
    let result = one_run(dir.path(), plan_with("bad", "after", CommandFailure::Warn)).await;
    assert_eq!((result.outcome, result.finding_count), (Outcome::Warning, 1));
    assert!(result.recovery_point.is_some());
    assert_eq!(result.findings[0].kind, FindingKind::CommandFailed);
    assert!(result.findings[0].message.contains("4: full"), "{:?}", result.findings);
    assert_eq!(std::fs::read_to_string(notes).unwrap(), "after warning Files\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failing_post_command_makes_a_warning_of_a_backup_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    noting(dir.path(), "true");
    let result = one_run(dir.path(), plan_with("before", "bad", CommandFailure::Fail)).await;
    assert_eq!((result.outcome, result.recovery_point.is_some()), (Outcome::Warning, true));
    assert_eq!(result.findings[0].kind, FindingKind::CommandFailed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_ends_a_pre_command_that_hangs_and_the_post_command_hears_of_it() {
    let (host, dir, root) = (FakeHost::start(), tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    let notes = noting(dir.path(), "sleep 600");
    host.want(|known| {
        known.plans = vec![plan_with("before", "after", CommandFailure::Fail)];
        known.commands.push_back(start_command());
    });
    let daemon = run_daemon(dir.path(), root.path());
    until("the pre command runs", || notes.exists()).await;
    let begun = Instant::now();
    ask(dir.path(), Op::Stop { plan: None }).await;
    until("a result", || !results(&host).is_empty()).await;
    assert_eq!(results(&host)[0].outcome, Outcome::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(std::fs::read_to_string(notes).unwrap(), "before  Files\nafter interrupted Files\n");
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_that_others_can_write_allows_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let (host, dir, root) = (FakeHost::start(), tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    let notes = noting(dir.path(), "true");
    let list = dir.path().join("commands.toml");
    std::fs::set_permissions(&list, std::fs::Permissions::from_mode(0o646)).unwrap();
    host.want(|known| known.plans = vec![plan_with("before", "after", CommandFailure::Fail)]);
    let daemon = run_daemon(dir.path(), root.path());
    let refusals = || -> Vec<(bool, String)> {
        let known = host.known();
        let state = |body: &ReportBody| {
            let ReportBody::PlanState(state) = body else { return None };
            Some((state.accepted, state.message.clone().unwrap_or_default()))
        };
        known.reports.iter().filter_map(|report| state(&report.body)).collect()
    };
    until("the refusal", || !refusals().is_empty()).await;
    let (accepted, why) = refusals().remove(0);
    assert!(!accepted && why.contains("written by others"), "{why}");
    let answer = ask(dir.path(), Op::Start { plan: None }).await;
    assert!(matches!(&answer, Answer::Error(error) if error.message.contains("written by others")), "{answer:?}");
    assert!(!notes.exists());
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_with_an_upload_limit_takes_the_time_that_its_bytes_need() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.options.upload_bytes_per_second_max = Some(4096);
    plan.options.cpu_percent_max = Some(50);
    let result = one_run(dir.path(), plan).await;
    assert_eq!(result.outcome, Outcome::Ok, "{:?}", result.error);
    // Every object but the last is paid for before the next one goes.
    let took = result.finished - result.started;
    assert!(took > chrono::Duration::milliseconds(500), "{took} for {} bytes", result.stats.bytes_stored);
}

/// Whether anything here has snapshots, so that the claims about their absence cannot be shown.
fn has_snapshots() -> bool {
    nightkeep_platform::volume_snapshot::prospects().iter().any(|prospect| prospect.outcome.is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_required_volume_snapshot_that_cannot_be_had_fails_the_run_with_volume_and_remedy() {
    if has_snapshots() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.options.vss = VssPolicy::Required;
    let result = one_run(dir.path(), plan).await;
    assert_eq!((result.outcome, result.recovery_point), (Outcome::Error, None));
    assert_eq!(result.error_class, Some(ErrorClass::VolumeSnapshot));
    let error = result.error.unwrap();
    assert!(error.contains("a volume snapshot is required, and there is none of /"), "{error}");
    assert!(error.contains("when available"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_available_goes_on_live_and_says_so_without_colouring_the_run() {
    if has_snapshots() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.options.vss = VssPolicy::Preferred;
    let result = one_run(dir.path(), plan).await;
    assert_eq!(result.outcome, Outcome::Ok, "{result:?}");
    assert!(result.recovery_point.is_some());
    assert!(result.findings.iter().any(|finding| finding.kind == FindingKind::SnapshotUnavailable), "{result:?}");
}
