//! The host process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::api::Api;
use crate::binaries;
use crate::process::Process;
use crate::wait::{wait_for, wait_for_async};

/// A first start makes keys and a database.
const START_AT_MOST: Duration = Duration::from_secs(60);

/// The client of every token; its customer and the customer's vault have the same name.
const CLIENT: &str = "Acme";

/// A running host.
#[derive(Debug)]
pub struct Host {
    process: Process,
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    listen: String,
    /// Hex SHA-256 of its certificate's public key.
    pin: String,
    /// The one-time password of the user `admin`.
    password: String,
}

impl Host {
    /// Starts a host with the data directory `data`, on a free port of loopback.
    pub async fn start(data: &Path, logs: &Path) -> Result<Self> {
        let program = binaries::host()?;
        let listen = free_address()?;
        let log = logs.join("host.log");
        std::fs::create_dir_all(data)?;
        let mut process = serve(&program, data, &listen, &log)?;
        let (pin, password) = wait_for("the host's first password", START_AT_MOST, || {
            process.must_live()?;
            let output = process.output()?;
            Ok(said(&output, "listening", "pin").zip(said(&output, "admin-password", "password")))
        })?;
        let host = Self { process, program, data: data.to_owned(), log, listen, pin, password };
        host.answers().await?;
        Ok(host)
    }

    /// `https://127.0.0.1:PORT`.
    pub fn base(&self) -> String {
        format!("https://{}", self.listen)
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// SIGKILL, then a new start at the same address.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process = serve(&self.program, &self.data, &self.listen, &self.log)?;
        self.answers().await
    }

    /// SIGKILL; `restart` brings it back.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts again after [`Self::kill`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process = serve(&self.program, &self.data, &self.listen, &self.log)?;
        self.answers().await
    }

    /// An enrolment token for client "Acme", location "Office", with automatic application of the default plan. It lets
    /// one machine in unless `more` says otherwise.
    pub fn token(&self, more: &[&str]) -> Result<String> {
        let arguments = ["token", "create", "--client", CLIENT, "--location", "Office", "--auto-plan"];
        Ok(self.command(&[&arguments, more].concat())?.trim().to_owned())
    }

    /// Writes the recovery sheet of the only vault and answers where it is.
    pub fn sheet(&self) -> Result<PathBuf> {
        let sheet = self.command(&["vault", "sheet", "--customer", CLIENT])?;
        let path = self.data.with_extension("sheet");
        std::fs::write(&path, sheet)?;
        Ok(path)
    }

    /// The only vault's folder.
    pub fn vault_dir(&self) -> Result<PathBuf> {
        let vaults = self.data.join("vaults");
        let entries = std::fs::read_dir(&vaults).with_context(|| format!("cannot read {}", vaults.display()))?;
        let mut found: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        match (found.pop(), found.len()) {
            (Some(only), 0) => Ok(only),
            (_, more) => bail!("expected one vault in {}, found {}", vaults.display(), more),
        }
    }

    /// Runs a command of the host on its data directory and answers its standard output.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--data").arg(&self.data).stdin(Stdio::null());
        let output = command.output().context("cannot run nightkeep-host")?;
        if !output.status.success() {
            bail!("nightkeep-host {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The admin's name and one-time password.
    pub fn admin(&self) -> (&str, &str) {
        ("admin", &self.password)
    }

    /// A signed-in technician.
    pub async fn sign_in(&self) -> Result<Api> {
        let api = Api::new(&self.base(), Some(&self.pin))?;
        let (user, password) = self.admin();
        api.post("/api/v1/session", &json!({ "user": user, "password": password })).await?;
        Ok(api)
    }

    async fn answers(&self) -> Result<()> {
        let api = Api::new(&self.base(), None)?;
        wait_for_async("the host to answer", START_AT_MOST, || async {
            Ok(api.request(reqwest::Method::GET, "/sign-in").send().await.is_ok().then_some(()))
        })
        .await
    }
}

fn serve(program: &Path, data: &Path, listen: &str, log: &Path) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(["serve", "--json", "--listen", listen, "--data"]).arg(data);
    Process::start("the host", command, log)
}

/// The field of an event among lines of JSON.
fn said(output: &str, event: &str, field: &str) -> Option<String> {
    let events = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = events.into_iter().find(|value| value["event"] == event)?;
    found[field].as_str().map(str::to_owned)
}

/// A port nobody listens on; the host is told it, so that it comes back at the same address after a kill.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
