//! A child process that ends with its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_for;

/// How long a process may take to end in order before it is killed.
const STOP_AT_MOST: Duration = Duration::from_secs(20);

/// A running child. Its standard error is appended to a log file, its standard output to another beside it (`.out`).
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    output: PathBuf,
}

impl Process {
    /// Starts `command`; what it says is appended to `log` and `log` with the extension `out`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let append = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.with_context(|| format!("cannot write {}", path.display()))
        };
        let output = log.with_extension("out");
        command.stdin(Stdio::null()).stdout(append(&output)?).stderr(append(log)?);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned(), output })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it and its predecessors with the same log wrote to standard error.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// What it and its predecessors with the same log wrote to standard output.
    pub fn output(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.output)?).into_owned())
    }

    /// Its exit status, once it has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails with the end of its log when it has ended.
    pub fn must_live(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended with {status}:\n{}", self.name, tail(&self.log()?)),
        }
    }

    /// SIGKILL: no time for anything.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits; SIGKILL when that takes too long, which is an error.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        let stopped = wait_for(&format!("{} to stop", self.name), STOP_AT_MOST, || Ok(self.child.try_wait()?));
        if stopped.is_err() {
            self.kill()?;
        }
        stopped
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is fine; there is nobody to tell anything else.
        let _ = self.kill();
    }
}

/// The last lines of a log, for an error text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
