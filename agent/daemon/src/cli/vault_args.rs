//! The arguments of the commands on a vault.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use nightkeep_engine::check::Part;

/// A command on a vault.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault
    Init(InitArgs),
    /// Back up folders and files; prints the recovery point's id last
    Backup(BackupArgs),
    /// List recovery points, oldest first
    Points(ListArgs),
    /// List what a recovery point holds
    Ls(LsArgs),
    /// Write files back
    Restore(RestoreArgs),
    /// Check that the vault is complete and sound
    Check(CheckArgs),
    /// Read every byte back: `check --read-data`
    Verify(PlainArgs),
    /// Say what is kept, what goes, and why
    Explain(ExplainArgs),
    /// Drop recovery points; they stay in the trash for a while
    Forget(PointsArgs),
    /// Take recovery points out of the trash
    Undelete(PointsArgs),
    /// Give back the space of dropped recovery points
    Prune(PruneArgs),
    /// Rebuild the index from the packs; quarantines, never deletes
    Repair(RepairArgs),
    /// Passphrases, key file, recovery sheet
    Key(KeyArgs),
}

/// Which vault, and what opens it.
#[derive(Debug, Clone, Args)]
pub(crate) struct VaultFlags {
    /// The vault's location: a folder, file:///FOLDER, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or gs://BUCKET/PREFIX
    #[arg(long, value_name = "URL", env = "NIGHTKEEP_VAULT")]
    pub(crate) vault: String,
    /// Read the passphrase from this file instead of NIGHTKEEP_PASSPHRASE or a prompt
    #[arg(long, value_name = "PATH")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Open with this key file or recovery sheet; costs no key derivation
    #[arg(long, value_name = "PATH", conflicts_with = "passphrase_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// Another machine's recovery points
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
}

/// A command that needs a vault alone.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlainArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
}

/// `points`
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// Those in the trash, which `undelete` brings back
    #[arg(long)]
    pub(crate) trash: bool,
}

/// `init`
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// Write the recovery sheet to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
}

/// `backup`
#[derive(Debug, Clone, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// Leave out what matches, in the manner of .gitignore
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Take little memory: smaller packs, one worker; chosen by itself below 512 MiB
    #[arg(long)]
    pub(crate) low_memory: bool,
    /// Read through volume snapshots: required, when-available, or never
    #[arg(long, value_name = "POLICY", default_value = "never")]
    pub(crate) snapshots: SnapshotChoice,
    /// What an interrupted backup may lose at most, in bytes of new contents
    #[arg(long, value_name = "BYTES", hide = true)]
    pub(crate) confirm_every: Option<u64>,
    /// What to back up
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

/// Whether a backup reads through volume snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SnapshotChoice {
    /// Fail where there is none
    Required,
    /// Read live where there is none, and say so
    WhenAvailable,
    /// Read live
    Never,
}

/// `ls`
#[derive(Debug, Clone, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// A recovery point's id, the start of one, or `latest`
    pub(crate) point: String,
    /// Only what lies at or below this path
    pub(crate) path: Option<PathBuf>,
}

/// `restore`
#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// An empty folder, or one with an interrupted restore of the same point
    #[arg(long, value_name = "DIR")]
    pub(crate) target: PathBuf,
    /// Only what lies at or below this path
    #[arg(long, value_name = "PATH")]
    pub(crate) include: Vec<PathBuf>,
    /// Write into a folder that is not empty, over files of the same name
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Restore what is left of a recovery point that a garbage collection damaged
    #[arg(long)]
    pub(crate) damaged: bool,
    /// A recovery point's id, the start of one, or `latest`
    pub(crate) point: String,
}

/// `check`
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// Read every byte back and compare
    #[arg(long)]
    pub(crate) read_data: bool,
    /// Read only a part back: `2/7` is the second of seven, so that seven checks read all; `5%` is another choice each time
    #[arg(long, value_name = "PART", value_parser = parse_part)]
    pub(crate) read_data_subset: Option<Part>,
    /// Only hold bytes against names, with no key at all
    #[arg(long, conflicts_with_all = ["read_data", "read_data_subset"])]
    pub(crate) scrub: bool,
}

impl CheckArgs {
    /// `verify`.
    pub(crate) fn of_all_data(vault: &VaultFlags) -> Self {
        Self { vault: vault.clone(), read_data: true, read_data_subset: None, scrub: false }
    }
}

/// `n/m` or `x%`.
fn parse_part(text: &str) -> Result<Part, String> {
    let wrong = || format!("'{text}' is no part: give one like 2/7 or 5%");
    if let Some((number, parts)) = text.split_once('/') {
        let (number, parts) = (number.parse().map_err(|_| wrong())?, parts.parse().map_err(|_| wrong())?);
        return if (1..=parts).contains(&number) { Ok(Part::OneOf { number, parts }) } else { Err(wrong()) };
    }
    let percent: f64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    if !(percent > 0.0 && percent <= 100.0) {
        return Err(wrong());
    }
    let seed = u64::from_le_bytes(nightkeep_vault::crypto::random());
    Ok(Part::Sample { per_million: (percent * 10_000.0) as u64, seed })
}

/// `repair`
#[derive(Debug, Clone, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read every byte first, to find what is damaged and not just missing
    #[arg(long)]
    pub(crate) read_data: bool,
}

/// `explain`
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// As of this day (YYYY-MM-DD) instead of today
    #[arg(long, value_name = "DATE")]
    pub(crate) on: Option<chrono::NaiveDate>,
}

/// `forget`, `undelete`
#[derive(Debug, Clone, Args)]
pub(crate) struct PointsArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// Ids of recovery points, or the starts of them
    #[arg(required = true, value_name = "POINT")]
    pub(crate) points: Vec<String>,
}

/// `prune`
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Drop for good what was in the trash for so many days
    #[arg(long, value_name = "DAYS", default_value_t = 14)]
    pub(crate) keep_trash: u32,
    /// Do not put recovery points whose time is over into the trash
    #[arg(long)]
    pub(crate) keep_expired: bool,
    /// Copy what is needed out of packs of which less is needed, so that they can go; 0 copies nothing
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) repack_below: u8,
    /// Give the space back at once; a vault on a disk otherwise keeps what was deleted for 7 days
    #[arg(long)]
    pub(crate) now: bool,
}

/// `key`
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    pub(crate) vault: VaultFlags,
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

/// What to do about keys.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum KeyCommand {
    /// Add a passphrase
    Add {
        /// Read the new passphrase from this file instead of NIGHTKEEP_NEW_PASSPHRASE or a prompt
        #[arg(long, value_name = "PATH")]
        new_passphrase_file: Option<PathBuf>,
        /// A name to tell it by
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Remove a passphrase
    Remove {
        /// Its label or its name, as `key list` shows them
        slot: String,
    },
    /// List passphrases by label
    List,
    /// Seal what comes from now on to a new key pair
    Rotate,
    /// Print the recovery sheet
    Sheet,
    /// Write a key file
    Export {
        /// The file; must not exist
        file: PathBuf,
    },
}
