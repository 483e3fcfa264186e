//! A host and its agents as real processes in a temporary directory.
//!
//! ```text
//! Cluster ── Host   nightkeep-host serve, its data directory, its admin's password
//!         └─ Machine  nightkeep-agent run, its state, identity, and the folder that plays the machine
//! ```

mod host;
mod machine;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

pub use host::Host;
pub use machine::Machine;

use crate::api::Api;

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

/// The machine of this name as the admin API shows it; nothing while it is not listed.
pub async fn machine_row(api: &Api, name: &str) -> Result<Option<Value>> {
    let answer = api.get("/api/v1/machines").await?;
    let rows = answer.as_array().or_else(|| answer["machines"].as_array()).context("no list of machines")?;
    Ok(rows.iter().find(|row| row["name"] == name || row["hostname"] == name).cloned())
}
