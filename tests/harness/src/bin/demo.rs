//! The main job on real input: host, storage, agent, enrolment, default plan, one backup, one proven restore, status OK.
//!
//! `cargo xtask demo` builds what this needs and starts it. Every figure printed was measured in this run.
#![expect(clippy::print_stdout, reason = "this is a command line")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use nightkeep_harness::agent::run;
use nightkeep_harness::api::Api;
use nightkeep_harness::cluster::{Cluster, Machine, ended_jobs, machine_detail, plans, start_backup, wait_for_machine};
use nightkeep_harness::compare::{Judge, expect_equal};
use nightkeep_harness::{binaries, tree};
use serde_json::{Value, json};

/// Enough for a first backup of some hundred gigabytes; the progress line shows that it moves.
const BACKUP_AT_MOST: Duration = Duration::from_secs(12 * 3600);

/// The scan runs at start, on demand and every six minutes.
const PLAN_AT_MOST: Duration = Duration::from_secs(60);

const MACHINE: &str = "demo-machine";

#[derive(Debug, Parser)]
struct Arguments {
    /// The folder that plays the machine.
    dir: PathBuf,
    /// Stop after the proof.
    #[arg(long)]
    exit: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run_demo(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("the demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_demo(arguments: &Arguments) -> Result<()> {
    // Ctrl-C during the work drops the host and the agent, which ends them.
    let (cluster, mut machine) = tokio::select! {
        proved = demo(arguments) => proved?,
        _ = tokio::signal::ctrl_c() => bail!("stopped"),
    };
    let (user, password) = cluster.host.admin();
    println!("console: {}  user {user}  password {password}", cluster.host.base());
    if !arguments.exit {
        println!("Ctrl-C ends host and agent and removes their data.");
        tokio::signal::ctrl_c().await?;
        println!();
    }
    machine.stop()
}

async fn demo(arguments: &Arguments) -> Result<(Cluster, Machine)> {
    let total = Instant::now();
    let logs = binaries::output_dir("demo")?;
    let place = tempfile::Builder::new().prefix("demo-").tempdir_in(binaries::root().join("target"))?;
    let source = source(&arguments.dir, place.path())?;
    println!("machine: {} ({})", source.display(), figures(tree::files(&source)?.len() as u64, tree::bytes(&source)?));

    let step = Step::begin("start a host: embedded database, its own disk as cloud storage");
    let cluster = Cluster::start_in(place, &logs).await?;
    step.end(&cluster.host.base());

    let step = Step::begin("enrol an agent with a token");
    let mut machine = cluster.machine(MACHINE, &source)?;
    machine.enrol(&cluster.host.token(&[])?)?;
    machine.start()?;
    step.end(&format!("{MACHINE} of client Acme, location Office"));

    let api = cluster.host.sign_in().await?;
    let step = Step::begin("let the scan apply the default plan");
    let plan = default_plan(&api).await?;
    step.end(&plan);

    let step = Step::begin("back up the entire machine");
    let job = tokio::select! {
        job = back_up(&api) => job?,
        error = agent_ends(&mut machine) => return Err(error),
    };
    step.end(&told(&job));

    let step = Step::begin("restore with the recovery sheet alone, without host or state");
    // The folder played the machine's root, so the root of what comes back is that folder.
    let restored = cluster.place().join("restored");
    restore(&cluster, &machine, &restored)?;
    step.end(&figures(tree::files(&restored)?.len() as u64, tree::bytes(&restored)?));

    let step = Step::begin("compare what came back with what was there");
    step.end(match expect_equal(&source, &restored)? {
        Judge::Rsync => "equal: rsync -naiHAX --checksum --delete prints no line",
        Judge::Own => "equal: every byte, mode, owner, time, link and attribute (rsync is not installed)",
    });

    let step = Step::begin("ask the host for the machine's status");
    let is_ok = |detail: &Value| detail["bucket"] == "ok";
    let detail = wait_for_machine(&api, MACHINE, "status OK", PLAN_AT_MOST, is_ok).await?;
    step.end(&format!("{}; next backup {}", text(&detail["status"]), text(&detail["next_backup"])));

    println!("\nproved in {:.1} s; logs in {}", total.elapsed().as_secs_f64(), logs.display());
    Ok((cluster, machine))
}

/// One line per step: what, what came of it, how long it took.
struct Step {
    start: Instant,
}

impl Step {
    fn begin(what: &str) -> Self {
        println!("- {what}");
        Self { start: Instant::now() }
    }

    fn end(self, result: &str) {
        println!("    {result} ({:.1} s)", self.start.elapsed().as_secs_f64());
    }
}

/// The folder itself; of this checkout its sources alone, copied, since the build directory changes while we look.
fn source(dir: &Path, place: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
    if dir != binaries::root().canonicalize()? {
        return Ok(dir);
    }
    let copy = place.join("sources");
    std::fs::create_dir(&copy)?;
    for name in outside_vaults(sources_of(&dir)?) {
        let (from, to) = (dir.join(&name), copy.join(&name));
        // Listed, yet removed from the work tree.
        if !from.is_file() {
            continue;
        }
        std::fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(copy)
}

/// Without folders that hold a vault, which a backup of a machine leaves out: the golden vault is one.
fn outside_vaults(names: Vec<PathBuf>) -> Vec<PathBuf> {
    let configurations = names.iter().filter(|name| name.ends_with("cfg/1"));
    let vaults: Vec<PathBuf> = configurations.filter_map(|name| Some(name.parent()?.parent()?.to_owned())).collect();
    names.into_iter().filter(|name| !vaults.iter().any(|vault| name.starts_with(vault))).collect()
}

/// What git keeps or would keep; without git, everything but the build directory.
fn sources_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(dir).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    match git.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            Ok(names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned())).collect())
        }
        Ok(_) | Err(_) => {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(dir)? {
                let path = entry?.path();
                match path.file_name() {
                    Some(name) if name == "target" || name == ".git" => {}
                    _ if path.is_dir() => names.extend(tree::files(&path)?),
                    _ => names.push(path),
                }
            }
            names.into_iter().map(|path| Ok(path.strip_prefix(dir)?.to_owned())).collect()
        }
    }
}

async fn default_plan(api: &Api) -> Result<String> {
    api.post("/api/v1/scan", &json!({})).await?;
    let has_plan = |detail: &Value| !plans(detail).is_empty();
    let detail = wait_for_machine(api, MACHINE, "the default plan", PLAN_AT_MOST, has_plan).await?;
    let schedule = detail["plans"][0]["schedule"].as_str().unwrap_or_default();
    Ok(format!("\"{}\", schedule {schedule}", plans(&detail).join("\", \"")))
}

/// Starts a backup as a technician does, shows its progress, and answers the finished job as the host knows it.
async fn back_up(api: &Api) -> Result<Value> {
    let detail = machine_detail(api, MACHINE).await?.context("the machine is not listed")?;
    start_backup(api, &detail).await?;
    let mut shown = Value::Null;
    let detail = wait_for_machine(api, MACHINE, "the backup's end", BACKUP_AT_MOST, |detail| {
        let percent = &detail["backing_up"]["percent"];
        if percent.is_u64() && *percent != shown {
            println!("    backing up {percent} %");
            shown = percent.clone();
        }
        !ended_jobs(detail).is_empty()
    })
    .await?;
    Ok((*ended_jobs(&detail).first().context("no job")?).clone())
}

/// Yields once the agent has ended by itself; better than waiting hours for its backup.
async fn agent_ends(machine: &mut Machine) -> anyhow::Error {
    loop {
        if let Err(error) = machine.must_live() {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn restore(cluster: &Cluster, machine: &Machine, target: &Path) -> Result<()> {
    let vault = format!("file://{}", cluster.host.vault_dir()?.display());
    let sheet = cluster.host.sheet()?;
    let mut command = Command::new(binaries::agent()?);
    command.args(["restore", "--vault", &vault, "--machine", machine.name(), "--key-file"]).arg(sheet);
    command.arg("--target").arg(target).arg("latest");
    // A state directory nobody has used before: nothing of the machine's own is at hand.
    command.arg("--state-dir").arg(cluster.place().join("fresh state"));
    command.arg("--identity-dir").arg(cluster.place().join("fresh identity"));
    run(&mut command)?.expect_code(0)?;
    Ok(())
}

/// Outcome and figures of a job.
fn told(job: &Value) -> String {
    let stat = |name: &str| job["stats"][name].as_u64().unwrap_or_default();
    let (bytes, new, stored) = (stat("bytes"), stat("bytes_new"), stat("bytes_stored"));
    format!(
        "{}: {}; deduplication saved {}, compression {}; {} stored in {} objects",
        job["outcome"].as_str().unwrap_or("no outcome"),
        figures(stat("files"), bytes),
        size(bytes.saturating_sub(new)),
        size(new.saturating_sub(stored)),
        size(stored),
        stat("objects"),
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("none")
}

fn figures(files: u64, bytes: u64) -> String {
    format!("{files} files, {}", size(bytes))
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        10_000_000..=9_999_999_999 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
