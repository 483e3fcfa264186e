//! What `cargo xtask bench agent` runs: what an agent costs a machine while it waits for the night.
//!
//! A real host on loopback, an enrolled agent with the default plan, a first backup behind it and the change journal on; then
//! both are left alone, and the kernel's counters of the agent are read at both ends of a window and in between.
//!
//! **Invariant**: only figures of this run are printed, and the window is proved to be one of an idle agent with a working
//! journal: no backup is in it, and the backup after it goes by the journal.
#![expect(clippy::print_stdout, reason = "this is a command line")]

mod proc;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use nightkeep_harness::api::Api;
use nightkeep_harness::cluster::{Cluster, Machine, ended_jobs, machine_detail, plans, start_backup, wait_for_machine};
use nightkeep_harness::{binaries, tree};
use serde_json::{Value, json};

use crate::proc::{Counters, Memory, Watched, Work, loopback_bytes};
use crate::targets::{CPU_PERCENT_MAX, RESIDENT_MIB_MAX, Target, mib};

const MACHINE: &str = "idle-machine";
const STEP_AT_MOST: Duration = Duration::from_secs(120);
/// How often memory is looked at within the window.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What is backed up first: small files of text, and noise.
const FILES: usize = 20_000;
const NOISE_BYTES: usize = 256 << 20;

#[derive(Debug, Parser)]
struct Options {
    /// The window, in seconds.
    #[arg(long, default_value_t = 180)]
    window: u64,
    /// Seconds between the first backup's end and the window.
    #[arg(long, default_value_t = 20)]
    settle: u64,
    /// The loopback device belongs to this run alone, so that its counters tell what agent and host say to each other.
    #[arg(long)]
    own_network: bool,
    /// Where installers lie.
    #[arg(long, default_value = "target/dist")]
    dist: PathBuf,
}

/// All that was seen of the window.
struct Window {
    work: Work,
    /// The largest of all looks.
    memory: Memory,
    network: u64,
    open_files: usize,
    threads: std::collections::BTreeMap<String, usize>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match bench(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the measurement failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: &Options) -> Result<bool> {
    let logs = binaries::output_dir("bench-agent")?;
    let place = tempfile::Builder::new().prefix("bench-agent-").tempdir_in(binaries::root().join("target"))?;
    let source = place.path().join("source");
    std::fs::create_dir(&source)?;
    tree::many(&source, FILES)?;
    tree::noise(&source.join("noise"), NOISE_BYTES, 1)?;

    let cluster = Cluster::start_in(place, &logs).await?;
    let mut machine = cluster.running_machine(MACHINE, &source)?;
    let watched = Watched::new(machine.id()?);
    let api = cluster.host.sign_in().await?;
    let plan = default_plan(&api).await?;
    println!("plan {plan}; fresh: {}", told(watched.memory()?));
    let before = back_up(&api, 1).await?;
    println!(
        "first backup: {}, {}; just after: {}",
        before["outcome"],
        before["stats"]["bytes"],
        told(watched.memory()?)
    );
    must_not_start_within(&api, options.settle + options.window + 60).await?;

    tokio::time::sleep(Duration::from_secs(options.settle)).await;
    let window = observe(&watched, Duration::from_secs(options.window)).await?;
    machine.must_live()?;

    prove(&api, &machine).await?;
    print(&window, options);
    let mut table = vec![
        Target {
            name: "resident memory, largest, MiB".into(),
            at_most: RESIDENT_MIB_MAX,
            is: Some(mib(window.memory.resident)),
        },
        Target { name: "processor, % of a core".into(), at_most: CPU_PERCENT_MAX, is: Some(percent(&window.work)) },
    ];
    table.extend(targets::installers(&options.dist));
    let met = targets::print(&table);
    machine.stop()?;
    Ok(met)
}

/// Looks at the agent for as long as the window lasts; nobody asks the host or the agent anything meanwhile.
async fn observe(watched: &Watched, window: Duration) -> Result<Window> {
    let (begun, network, first): (_, _, Counters) = (Instant::now(), loopback_bytes()?, watched.counters()?);
    let mut memory = watched.memory()?;
    while begun.elapsed() < window {
        tokio::time::sleep(LOOK_EVERY.min(window - begun.elapsed().min(window))).await;
        let now = watched.memory()?;
        memory.resident = memory.resident.max(now.resident);
        memory.anonymous = memory.anonymous.max(now.anonymous);
    }
    Ok(Window {
        work: watched.counters()?.since(&first),
        memory,
        network: loopback_bytes()? - network,
        open_files: watched.open_files()?,
        threads: watched.threads()?,
    })
}

async fn default_plan(api: &Api) -> Result<String> {
    api.post("/api/v1/scan", &json!({})).await?;
    let has_plan = |detail: &Value| !plans(detail).is_empty();
    let detail = wait_for_machine(api, MACHINE, "the default plan", STEP_AT_MOST, has_plan).await?;
    let schedule = detail["plans"][0]["schedule"].as_str().unwrap_or_default().to_owned();
    Ok(format!("\"{}\", schedule {schedule}", plans(&detail).join("\", \"")))
}

/// Starts a backup and waits until so many have ended; answers the last of them.
async fn back_up(api: &Api, ended: usize) -> Result<Value> {
    let detail = machine_detail(api, MACHINE).await?.context("the machine is not listed")?;
    start_backup(api, &detail).await?;
    let done = |detail: &Value| ended_jobs(detail).len() >= ended;
    let detail = wait_for_machine(api, MACHINE, "a backup's end", STEP_AT_MOST, done).await?;
    Ok((*ended_jobs(&detail).first().context("no job")?).clone())
}

/// An idle window has no backup in it: the plan's next one must lie behind it.
async fn must_not_start_within(api: &Api, seconds: u64) -> Result<()> {
    api.post("/api/v1/scan", &json!({})).await?;
    let has_next = |detail: &Value| detail["next_backup"].is_string();
    let detail = wait_for_machine(api, MACHINE, "the time of the next backup", STEP_AT_MOST, has_next).await?;
    let next = detail["next_backup"].as_str().context("the machine has no next backup")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let now = i64::try_from(now)?;
    let next = unix_seconds(next)?;
    if next - now < i64::try_from(seconds)? {
        bail!("the plan's next backup comes in {} s, within the window: try again after it", next - now);
    }
    Ok(())
}

/// Seconds since 1970 of a moment as the host writes it; `date` reads every form of it.
fn unix_seconds(moment: &str) -> Result<i64> {
    let output = std::process::Command::new("date").args(["-u", "+%s", "-d", moment]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().with_context(|| format!("not a moment: {moment}"))
}

/// Nothing ran within the window, and the journal was awake all the time: a backup now goes by it.
async fn prove(api: &Api, machine: &Machine) -> Result<()> {
    let detail = machine_detail(api, MACHINE).await?.context("the machine is not listed")?;
    if ended_jobs(&detail).len() != 1 {
        bail!("a backup ran within the window");
    }
    back_up(api, 2).await?;
    let status = machine.run(&["status", "--format", "json"])?.json()?;
    let scan = status["scan"].as_str().unwrap_or_default();
    let journal = if scan.starts_with("journal:") { "on" } else { "NOT USED" };
    println!("\nchange journal {journal}; the backup after the window: {scan}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn print(window: &Window, options: &Options) {
    let work = &window.work;
    let seconds = work.elapsed.as_secs_f64();
    let per_minute = |count: u64| count as f64 * 60.0 / seconds;
    println!("window: {seconds:.0} s, {} s after the first backup; the agent was idle", options.settle);
    println!("memory: {}, the largest of a look every {} s", told(window.memory), LOOK_EVERY.as_secs());
    println!("processor: {:.0} ms, {:.4} % of a core", work.cpu.as_secs_f64() * 1000.0, percent(work));
    println!(
        "context switches: {:.0} a minute: {:.0} wake-ups, {:.0} preemptions",
        per_minute(work.wakes + work.preempted),
        per_minute(work.wakes),
        per_minute(work.preempted)
    );
    match options.own_network {
        true => println!(
            "network: {:.1} KiB an hour in both directions, with TCP and IP headers",
            window.network as f64 * 3600.0 / seconds / 1024.0
        ),
        false => {
            println!("network: not measured, as the loopback device is not ours alone (needs root, unshare and ip)")
        }
    }
    let threads: Vec<String> = window.threads.iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!(
        "open files: {}; threads: {} ({})",
        window.open_files,
        window.threads.values().sum::<usize>(),
        threads.join(", ")
    );
}

fn percent(work: &Work) -> f64 {
    100.0 * work.cpu.as_secs_f64() / work.elapsed.as_secs_f64()
}

fn told(memory: Memory) -> String {
    format!("{:.1} MiB resident, {:.1} MiB of it no file's", mib(memory.resident), mib(memory.anonymous))
}
