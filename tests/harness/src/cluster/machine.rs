//! One agent: a folder plays its machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::agent::{Outcome, run};
use crate::binaries;
use crate::process::Process;

/// An agent with its own state and identity.
#[derive(Debug)]
pub struct Machine {
    process: Option<Process>,
    program: PathBuf,
    name: String,
    root: PathBuf,
    home: PathBuf,
    log: PathBuf,
}

impl Machine {
    pub(super) fn new(name: &str, root: &Path, home: &Path, logs: &Path) -> Result<Self> {
        std::fs::create_dir_all(home)?;
        std::fs::write(home.join("agent.toml"), format!("machine_name = {name:?}\nmachine_root = {root:?}\n"))?;
        Ok(Self {
            process: None,
            program: binaries::agent()?,
            name: name.to_owned(),
            root: root.to_owned(),
            home: home.to_owned(),
            log: logs.join(format!("{name}.log")),
        })
    }

    /// The name it is shown under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that plays the machine.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.home.join("state")
    }

    /// A command of this agent, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.home.join("agent.toml"));
        command.arg("--state-dir").arg(self.state_dir()).arg("--identity-dir").arg(self.home.join("identity"));
        command.env_remove("NIGHTKEEP_PASSPHRASE");
        command
    }

    /// Runs a command of this agent to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        run(&mut self.command(arguments))
    }

    /// Exchanges the token for an identity.
    pub fn enrol(&self, token: &str) -> Result<()> {
        self.try_enrol(token)?.expect_code(0)?;
        Ok(())
    }

    /// Tries to; the token goes through standard input, never through the command line.
    pub fn try_enrol(&self, token: &str) -> Result<Outcome> {
        let start = std::time::Instant::now();
        let mut command = self.command(&["enroll", "--token-file", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run nightkeep-agent")?;
        child.stdin.take().context("no standard input")?.write_all(token.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(Outcome {
            code: output.status.code().context("no exit code")?,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            elapsed: start.elapsed(),
        })
    }

    /// Starts the daemon.
    pub fn start(&mut self) -> Result<()> {
        self.process = Some(Process::start(&self.name, self.command(&["run"]), &self.log)?);
        Ok(())
    }

    /// The number of the daemon's process.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the daemon was not started")?.id())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Stops the daemon in order.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Fails with the end of its log when the daemon has ended by itself.
    pub fn must_live(&mut self) -> Result<()> {
        self.process.as_mut().context("the daemon was not started")?.must_live()
    }
}
