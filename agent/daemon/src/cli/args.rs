//! The arguments of every command but those on a vault ([`super::vault_args`]).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::vault_args::VaultCommand;

/// Backs up this machine into a vault, on its own or for a host.
#[derive(Debug, Parser)]
#[command(name = "nightkeep-agent", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Globals {
    /// Print one JSON document (or a line per event) on standard output and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where state and caches live; deleting it costs time, never data
    #[arg(long, global = true, value_name = "DIR", env = "NIGHTKEEP_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "NIGHTKEEP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL", env = "NIGHTKEEP_LOG")]
    pub(crate) log_level: Option<String>,
    /// Where the machine's keys live; for tests that run several agents on one computer
    #[arg(long, global = true, value_name = "DIR", hide = true, env = "NIGHTKEEP_IDENTITY_DIR")]
    pub(crate) identity_dir: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Vault(VaultCommand),
}
