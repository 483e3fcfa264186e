//! A host and its agents as real processes in a temporary directory.
//!
//! ```text
//! Cluster ── Host   nightkeep-host serve, its data directory, its admin's password
//!         └─ Machine  nightkeep-agent run, its state, identity, and the folder that plays the machine
//! ```

mod host;
mod machine;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use host::Host;
pub use machine::Machine;

use crate::api::Api;

/// How often the console is asked while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A host and the place where its agents' directories lie.
#[derive(Debug)]
pub struct Cluster {
    /// The host; first to be dropped, so that nothing writes into the directory when it goes.
    pub host: Host,
    logs: PathBuf,
    place: TempDir,
}

impl Cluster {
    /// Starts a host on loopback with a fresh data directory; logs go to `logs`.
    pub async fn start(logs: &Path) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, logs).await
    }

    /// The same, below a directory of the caller's.
    pub async fn start_in(place: TempDir, logs: &Path) -> Result<Self> {
        let host = Host::start(&place.path().join("host"), logs).await?;
        Ok(Self { host, logs: logs.to_owned(), place })
    }

    /// The place everything of this cluster lies in.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// A machine with this name whose disk is the folder `root`, not yet enrolled.
    pub fn machine(&self, name: &str, root: &Path) -> Result<Machine> {
        Machine::new(name, root, &self.place.path().join(name), &self.logs)
    }

    /// A machine that is enrolled and runs.
    pub fn running_machine(&self, name: &str, root: &Path) -> Result<Machine> {
        let token = self.host.token(&[])?;
        let mut machine = self.machine(name, root)?;
        machine.enrol(&token)?;
        machine.start()?;
        Ok(machine)
    }
}

/// What the console knows of the machine of this name, its plans and jobs; nothing while it is not listed.
pub async fn machine_detail(api: &Api, name: &str) -> Result<Option<Value>> {
    let list = api.get("/api/v1/machines?limit=500").await?;
    let rows = list["machines"].as_array().context("no list of machines")?;
    let Some(row) = rows.iter().find(|row| row["hostname"] == name) else { return Ok(None) };
    let id = row["id"].as_str().context("a machine without id")?;
    Ok(Some(api.get(&format!("/api/v1/machines/{id}")).await?))
}

/// Waits until what the console knows of the machine satisfies `wanted`; the error shows what it knew last.
pub async fn wait_for_machine(
    api: &Api,
    name: &str,
    what: &str,
    at_most: Duration,
    mut wanted: impl FnMut(&Value) -> bool,
) -> Result<Value> {
    let mut last = Value::Null;
    let end = Instant::now() + at_most;
    while Instant::now() < end {
        if let Some(detail) = machine_detail(api, name).await? {
            if wanted(&detail) {
                return Ok(detail);
            }
            last = detail;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("waited {} s in vain for {what}; the host shows {last:#}", at_most.as_secs())
}

/// Names of the machine's plans.
pub fn plans(detail: &Value) -> Vec<String> {
    let plans = detail["plans"].as_array().into_iter().flatten();
    plans.filter_map(|plan| plan["name"].as_str()).map(str::to_owned).collect()
}

/// The machine's backups that have ended, in whatever way.
pub fn ended_jobs(detail: &Value) -> Vec<&Value> {
    let jobs = detail["jobs"].as_array().into_iter().flatten();
    jobs.filter(|job| job["finished"].is_string() && job["kind"] == "backup").collect()
}

/// Starts a backup of the machine, as a technician does.
pub async fn start_backup(api: &Api, detail: &Value) -> Result<()> {
    let id = detail["id"].as_str().context("a machine without id")?;
    api.post(&format!("/api/v1/machines/{id}/start"), &json!({})).await?;
    Ok(())
}
