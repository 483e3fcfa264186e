//! The programs that are measured, driven alike.
//!
//! **Invariant**: all encrypt, all compress with zstd at level 3 or their default near it, none asks a person.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A backup program.
#[derive(Debug, Clone)]
pub(crate) enum Tool {
    /// Ours, by its binary.
    Nightkeep(PathBuf),
    Bupstash,
    Restic,
    Rustic,
    Borg,
}

/// A program's folder for one round: its repository, keys and caches.
pub(crate) struct Repository<'a> {
    tool: &'a Tool,
    folder: PathBuf,
}

/// The programs that are installed, ours first.
pub(crate) fn available(agent: &Path, only: &[String]) -> Result<Vec<Tool>> {
    let mut tools = vec![Tool::Nightkeep(agent.to_owned())];
    for (tool, flag) in
        [(Tool::Bupstash, "--help"), (Tool::Restic, "version"), (Tool::Rustic, "--version"), (Tool::Borg, "--version")]
    {
        let there = Command::new(tool.name()).arg(flag).output().is_ok_and(|output| output.status.success());
        if there {
            tools.push(tool);
        }
    }
    tools.retain(|tool| only.is_empty() || only.iter().any(|name| name == tool.name()));
    Ok(tools)
}

/// What must be known to compare: versions, levels, and what is synchronised to disk.
#[expect(clippy::print_stdout, reason = "settings belong to the figures")]
pub(crate) fn print_settings(tools: &[Tool]) {
    for tool in tools {
        let version = Command::new(tool.program()).arg(tool.version_flag()).output();
        let version =
            version.map(|output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned());
        println!("{:<10} {}; {}", tool.name(), version.unwrap_or_default(), tool.settings());
    }
}

impl Tool {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Tool::Nightkeep(_) => "nightkeep",
            Tool::Bupstash => "bupstash",
            Tool::Restic => "restic",
            Tool::Rustic => "rustic",
            Tool::Borg => "borg",
        }
    }

    fn program(&self) -> PathBuf {
        match self {
            Tool::Nightkeep(agent) => agent.clone(),
            Tool::Bupstash | Tool::Restic | Tool::Rustic | Tool::Borg => self.name().into(),
        }
    }

    fn version_flag(&self) -> &'static str {
        match self {
            Tool::Restic | Tool::Bupstash => "version",
            Tool::Nightkeep(_) | Tool::Rustic | Tool::Borg => "--version",
        }
    }

    fn settings(&self) -> &'static str {
        match self {
            Tool::Nightkeep(_) => {
                "key file; zstd 3; every object synced before it counts; each block opened again before it is sent"
            }
            Tool::Bupstash => "key file; zstd 3; syncs at the end; not checked before it is sent",
            Tool::Restic => {
                "no password, scrypt all the same (the open row); zstd default; each pack synced; each blob opened again before it is sent"
            }
            Tool::Rustic => {
                "password, scrypt (the open row); zstd default; not synced; each blob opened again before it is sent"
            }
            Tool::Borg => "repokey-blake2 (the open row); zstd 3; syncs per segment; not checked before it is sent",
        }
    }

    /// Makes an empty repository in `folder`.
    pub(crate) fn init(&self, folder: PathBuf) -> Result<Repository<'_>> {
        let repository = Repository { tool: self, folder };
        for command in repository.init_commands() {
            crate::measure::run(&command)?;
        }
        Ok(repository)
    }
}

impl Repository<'_> {
    /// The folder whose files are the stored objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.join("repo")
    }

    fn key_file(&self) -> PathBuf {
        self.folder.join("key")
    }

    pub(crate) fn stored(&self) -> Result<(u64, u64)> {
        crate::measure::stored(&self.objects())
    }

    /// The program with everything that every command needs.
    fn command(&self, name: &str) -> Command {
        let repo = self.objects();
        let mut command = Command::new(self.tool.program());
        match self.tool {
            Tool::Nightkeep(_) => {
                command.arg(name).args(["--vault"]).arg(&repo).arg("--state-dir").arg(self.folder.join("state"));
                command.arg("--identity-dir").arg(self.folder.join("identity"));
                if !matches!(name, "init" | "key") {
                    command.arg("--key-file").arg(self.key_file());
                }
                command.env("NIGHTKEEP_PASSPHRASE", "bench");
            }
            Tool::Bupstash => {
                command.arg(name).arg("-q").env("BUPSTASH_REPOSITORY", &repo).env("BUPSTASH_KEY", self.key_file());
                if name == "restore" || name == "put" {
                    command.env("BUPSTASH_SEND_LOG", self.folder.join("send-log"));
                    command.env("BUPSTASH_QUERY_CACHE", self.folder.join("query-cache"));
                }
            }
            Tool::Restic => {
                command.args(["--insecure-no-password", "-q", "--repo"]).arg(&repo);
                command.arg("--cache-dir").arg(self.folder.join("cache")).arg(name);
            }
            Tool::Rustic => {
                command.args(["--no-progress", "--log-level", "error", "--password", "bench", "-r"]).arg(&repo);
                command.arg("--cache-dir").arg(self.folder.join("cache")).arg(name);
            }
            Tool::Borg => {
                command.arg(name).env("BORG_REPO", &repo).env("BORG_PASSPHRASE", "bench");
                command.env("BORG_BASE_DIR", self.folder.join("base"));
                command.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
            }
        }
        command
    }

    fn init_commands(&self) -> Vec<Command> {
        let mut init = self.command("init");
        match self.tool {
            Tool::Nightkeep(_) => {
                let mut export = self.command("key");
                export.arg("export").arg(self.key_file());
                vec![init, export]
            }
            Tool::Bupstash => {
                let mut key = Command::new("bupstash");
                key.args(["new-key", "-o"]).arg(self.key_file());
                vec![key, init]
            }
            Tool::Borg => {
                init.args(["-e", "repokey-blake2"]);
                vec![init]
            }
            Tool::Restic | Tool::Rustic => vec![init],
        }
    }

    /// The cheapest command that must open the repository: mostly key derivation.
    pub(crate) fn open(&self) -> Option<Command> {
        match self.tool {
            Tool::Nightkeep(_) => Some(self.command("points")),
            Tool::Bupstash => Some(self.command("list")),
            Tool::Restic | Tool::Rustic => Some(self.command("snapshots")),
            Tool::Borg => Some(self.command("list")),
        }
    }

    /// A backup of a folder.
    pub(crate) fn backup(&self, tree: &Path, name: &str) -> Command {
        let mut command = self.command(match self.tool {
            Tool::Nightkeep(_) | Tool::Restic | Tool::Rustic => "backup",
            Tool::Bupstash => "put",
            Tool::Borg => "create",
        });
        match self.tool {
            Tool::Nightkeep(_) => _ = command.arg("--json").arg(tree),
            Tool::Restic | Tool::Rustic => _ = command.arg(tree),
            Tool::Bupstash => _ = command.args(["--compression", "zstd:3", &format!("name={name}")]).arg(tree),
            Tool::Borg => _ = command.args(["-C", "zstd,3", &format!("::{name}")]).arg(tree),
        }
        command
    }

    /// Everything of the newest backup into an empty folder.
    pub(crate) fn restore(&self, target: &Path, name: &str) -> Command {
        let mut command = self.command(if matches!(self.tool, Tool::Borg) { "extract" } else { "restore" });
        match self.tool {
            Tool::Nightkeep(_) => _ = command.arg("--target").arg(target).arg("latest"),
            Tool::Bupstash => _ = command.arg("--into").arg(target).arg(format!("name={name}")),
            Tool::Restic => _ = command.args(["latest", "--target"]).arg(target),
            Tool::Rustic => _ = command.arg("latest").arg(target),
            Tool::Borg => _ = command.arg(format!("::{name}")).current_dir(target),
        }
        command
    }

    /// Reads every stored byte back; not every program can.
    pub(crate) fn check(&self) -> Option<Command> {
        let mut command = self.command("check");
        match self.tool {
            Tool::Nightkeep(_) | Tool::Restic | Tool::Rustic => _ = command.arg("--read-data"),
            Tool::Borg => _ = command.arg("--verify-data"),
            Tool::Bupstash => return None,
        }
        Some(command)
    }

    /// Ours alone: another command of the agent on this vault.
    pub(crate) fn ours(&self, name: &str) -> Command {
        self.command(name)
    }

    /// Where a restored tree lies below the target.
    pub(crate) fn restored(&self, target: &Path, tree: &Path) -> Result<PathBuf> {
        Ok(match self.tool {
            Tool::Bupstash => target.to_owned(),
            Tool::Nightkeep(_) | Tool::Restic | Tool::Rustic | Tool::Borg => {
                target.join(tree.strip_prefix("/").context("a tree has an absolute path")?)
            }
        })
    }
}
