//! The agent's vault commands, as a person types them, each in a state directory of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::binaries;

/// The passphrase every test vault has.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; 128 + n when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Wall-clock time.
    pub elapsed: Duration,
}

impl Outcome {
    /// Fails unless the exit code is `code`; the error shows what was said instead.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        if self.code != code {
            bail!("expected exit code {code}, got {}\nstdout: {}\nstderr: {}", self.code, self.stdout, self.stderr);
        }
        Ok(self)
    }

    /// The JSON document on standard output, or the last of several lines of them.
    pub fn json(&self) -> Result<Value> {
        let text = self.stdout.trim();
        serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(text.lines().last().unwrap_or_default()))
            .with_context(|| format!("not JSON: {text}"))
    }

    /// The last word of the last line: where `backup` prints the recovery point's id.
    pub fn last_word(&self) -> Result<String> {
        let line = self.stdout.lines().rfind(|line| !line.trim().is_empty()).context("nothing was printed")?;
        Ok(line.split_whitespace().last().context("an empty line")?.to_owned())
    }
}

/// One machine at the command line: its state directory, its name, its account.
#[derive(Debug)]
pub struct CommandLine {
    program: PathBuf,
    home: TempDir,
    as_nobody: bool,
}

impl CommandLine {
    /// A machine of its own, run as who we are.
    pub fn new() -> Result<Self> {
        Ok(Self { program: binaries::agent()?, home: tempfile::tempdir()?, as_nobody: false })
    }

    /// A machine run by `nobody`; needs root, since an ordinary user cannot become another.
    pub fn of_nobody() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let program = home.path().join("nightkeep-agent");
        // The build directory may lie where nobody may go.
        std::fs::copy(binaries::agent()?, &program)?;
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777))?;
        Ok(Self { program, home, as_nobody: true })
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// The command, with its state directory and the passphrase, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = if self.as_nobody {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.args(arguments).arg("--state-dir").arg(self.state_dir());
        command.arg("--identity-dir").arg(self.home.path().join("identity"));
        command.env("NIGHTKEEP_PASSPHRASE", PASSPHRASE).env("HOME", self.home.path()).env_remove("RUST_LOG");
        command
    }

    /// A folder of its own that no other machine of a test touches.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        run(&mut self.command(arguments))
    }

    /// Runs the command with a vault.
    pub fn vault(&self, vault: &str, arguments: &[&str]) -> Result<Outcome> {
        run(self.command(arguments).args(["--vault", vault]))
    }

    /// Backs up `path` and answers the recovery point's id.
    pub fn backup(&self, vault: &str, path: &Path) -> Result<String> {
        self.backup_expecting(0, vault, path)?.last_word()
    }

    /// Backs up `path` and expects this exit code.
    pub fn backup_expecting(&self, code: i32, vault: &str, path: &Path) -> Result<Outcome> {
        run(self.command(&["backup"]).args(["--vault", vault]).arg(path))?.expect_code(code)
    }

    /// Restores a point into `target` and expects this exit code.
    pub fn restore_expecting(&self, code: i32, vault: &str, point: &str, target: &Path) -> Result<Outcome> {
        run(self.command(&["restore", point]).args(["--vault", vault, "--target"]).arg(target))?.expect_code(code)
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Outcome> {
    use std::os::unix::process::ExitStatusExt;
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let code = output.status.code().or_else(|| Some(128 + output.status.signal()?)).context("no exit code")?;
    Ok(Outcome {
        code,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        elapsed: start.elapsed(),
    })
}

/// A fresh vault on disk, made by the command line.
#[derive(Debug)]
pub struct DiskVault {
    dir: TempDir,
}

impl DiskVault {
    /// Creates it with [`PASSPHRASE`].
    pub fn init(machine: &CommandLine) -> Result<Self> {
        let vault = Self::not_created()?;
        machine.vault(&vault.url(), &["init"])?.expect_code(0)?;
        Ok(vault)
    }

    /// A place for a vault where none is yet; any account may make one.
    pub fn not_created() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))?;
        Ok(Self { dir })
    }

    /// Its location.
    pub fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Its folder.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    /// All bytes in it.
    pub fn bytes(&self) -> Result<u64> {
        crate::tree::bytes(&self.path())
    }
}
