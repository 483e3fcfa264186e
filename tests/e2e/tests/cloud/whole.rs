//! The agent's commands on a vault in S3, as a person types them.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use nightkeep_harness::agent::{CommandLine, Outcome, run};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::proxy::{Counts, Fault, Line};
use nightkeep_harness::servers::{Careless, Moto};
use nightkeep_harness::tree;

use crate::support::{BUCKET, Lab};

/// A machine at the command line whose vault lies in S3.
struct Machine<'a> {
    lab: &'a Lab,
    line: CommandLine,
    vault: String,
}

impl<'a> Machine<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        Ok(Self { lab, line: CommandLine::new()?, vault: format!("s3://{BUCKET}/customer/vault") })
    }

    /// Runs a command, and says what it asked of the storage.
    fn run(&self, code: i32, arguments: &[&str]) -> Result<(Outcome, Counts)> {
        let before = self.lab.proxy.counts();
        let mut command = self.line.command(arguments);
        command.args(["--vault", &self.vault]).envs(Moto::environment(&self.lab.proxy.endpoint()));
        command.env("NIGHTKEEP_STORAGE_HUNG_SECONDS", "3");
        let outcome = run(&mut command)?.expect_code(code)?;
        Ok((outcome, self.lab.proxy.counts().since(&before)))
    }

    fn backup(&self, code: i32, source: &Path) -> Result<(Outcome, Counts)> {
        self.run(code, &["backup", &source.display().to_string()])
    }

    fn restore(&self, source: &Path) -> Result<Counts> {
        let target = tempfile::tempdir()?;
        let (_, counts) = self.run(0, &["restore", "latest", "--target", &target.path().display().to_string()])?;
        expect_equal(source, &target.path().join(source.strip_prefix("/")?))?;
        Ok(counts)
    }
}

fn small_tree() -> Result<tempfile::TempDir> {
    let source = tempfile::tempdir()?;
    tree::many(source.path(), 300)?;
    tree::noise(&source.path().join("noise"), 3 << 20, 1)?;
    Ok(source)
}

/// The most requests each command may need on a small vault, whatever it holds inside.
fn within(what: &str, counts: Counts, requests: u64) -> Result<()> {
    ensure!(counts.requests() <= requests, "{what} needs more than {requests}: {counts}");
    Ok(())
}

#[test]
fn a_vault_in_s3_is_made_filled_listed_restored_and_checked_with_few_requests() -> Result<()> {
    let lab = Lab::start()?;
    let machine = Machine::new(&lab)?;
    let source = small_tree()?;
    within("init", machine.run(0, &["init"])?.1, 120)?;
    within("backup", machine.backup(0, source.path())?.1, 40)?;
    within("unchanged backup", machine.backup(0, source.path())?.1, 40)?;
    let (points, counts) = machine.run(0, &["points", "--json"])?;
    within("points", counts, 20)?;
    ensure!(points.json()?["points"].as_array().map(Vec::len) == Some(2), "{}", points.stdout);
    within("restore", machine.restore(source.path())?, 60)?;
    within("check --read-data", machine.run(0, &["check", "--read-data"])?.1, 80)?;
    ensure!(machine.run(1, &["init"])?.0.stderr.contains("exists"), "a second init finds the vault");
    Ok(())
}

/// Scenario 20: credentials expire, rights are taken, the quota is met, each in the middle of a run. It stops with the
/// remedy; the next run, with what was mended, goes on, and nothing stands in its way.
#[test]
fn scenario_20_a_run_that_is_refused_half_way_stops_in_words_and_the_next_goes_on() -> Result<()> {
    let lab = Lab::start()?;
    let machine = Machine::new(&lab)?;
    machine.run(0, &["init"])?;
    let faults =
        [(400, "ExpiredToken", "expired"), (403, "AccessDenied", "grant"), (403, "QuotaExceeded", "no space left")];
    for (seed, (status, code, words)) in faults.into_iter().enumerate() {
        let source = small_tree()?;
        tree::noise(&source.path().join("new"), 40 << 20, seed as u64 + 7)?;
        let packs = AtomicU64::new(0);
        lab.proxy.set_rule(move |seen| {
            let is_pack = seen.method == "PUT" && seen.target.contains("/p/");
            let refused =
                if is_pack { packs.fetch_add(1, Ordering::Relaxed) > 0 } else { packs.load(Ordering::Relaxed) > 1 };
            if refused { Fault::Answer(status, code) } else { Fault::None }
        });
        let (stopped, _) = machine.backup(1, source.path())?;
        ensure!(stopped.stderr.contains(words), "{code}: {}", stopped.stderr);
        lab.proxy.set_rule(|_| Fault::None);
        machine.backup(0, source.path())?;
        machine.restore(source.path())?;
    }
    let (points, _) = machine.run(0, &["points", "--json"])?;
    ensure!(points.json()?["points"].as_array().map(Vec::len) == Some(3), "a run that was refused made a point");
    machine.run(0, &["check", "--read-data"])?;
    Ok(())
}

/// Scenario 21, whole: every third connection is cut, answers are lost, requests hang, and all is as it should be.
#[test]
fn scenario_21_backup_and_restore_complete_over_a_line_that_fails_all_the_time() -> Result<()> {
    let lab = Lab::start()?;
    let machine = Machine::new(&lab)?;
    let source = small_tree()?;
    machine.run(0, &["init"])?;
    lab.proxy.set_rule(|seen| match seen.number {
        n if n % 31 == 7 => Fault::Stall,
        n if n % 3 == 0 => Fault::Cut,
        n if n % 5 == 1 => Fault::LoseAnswer,
        n if n % 7 == 2 => Fault::TearAnswer(300),
        n if n % 11 == 4 => Fault::Answer(503, "SlowDown"),
        _ => Fault::None,
    });
    machine.backup(0, source.path())?;
    machine.restore(source.path())?;
    machine.run(0, &["check", "--read-data"])?;
    Ok(())
}

/// Round trips that are waited for one after the other are what a far storage costs.
#[test]
fn over_a_far_line_few_round_trips_wait_for_each_other() -> Result<()> {
    let lab = Lab::with_line(Line { delay: Duration::from_millis(25), bytes_per_second: None })?;
    let machine = Machine::new(&lab)?;
    let source = small_tree()?;
    machine.run(0, &["init"])?;
    for (what, rounds) in [("backup", 40), ("unchanged backup", 40)] {
        let (_, counts) = machine.backup(0, source.path())?;
        ensure!(counts.rounds <= rounds, "{what}: {counts}");
    }
    let counts = machine.restore(source.path())?;
    ensure!(counts.rounds <= 50, "restore: {counts}");
    Ok(())
}

#[tokio::test]
async fn init_refuses_storage_that_does_not_create_atomically_and_makes_no_vault() -> Result<()> {
    let careless = Careless::start().await?;
    let endpoint = format!("http://{}", careless.address());
    let refused = tokio::task::spawn_blocking(move || {
        let machine = CommandLine::new()?;
        let mut command = machine.command(&["init", "--vault", "s3://any/vault"]);
        run(command.envs(Moto::environment(&endpoint)))?.expect_code(1)
    })
    .await??;
    ensure!(refused.stderr.contains("not fit for a vault"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn without_credentials_or_bucket_the_remedy_is_told_at_once() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = "s3://any/vault";
    let told = run(machine.command(&["points", "--vault", vault]).env_remove("AWS_ACCESS_KEY_ID"))?.expect_code(2)?;
    ensure!(told.stderr.contains("set AWS_ACCESS_KEY_ID"), "{}", told.stderr);
    let lab = Lab::start()?;
    let mut command = machine.command(&["points", "--vault", "s3://not-there/vault"]);
    let told = run(command.envs(Moto::environment(&lab.proxy.endpoint())))?.expect_code(1)?;
    ensure!(told.stderr.contains("create the bucket"), "{}", told.stderr);
    Ok(())
}
