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
    /// A folder that plays the whole machine, for demonstrations and tests
    #[arg(long, global = true, value_name = "DIR", hide = true, env = "NIGHTKEEP_MACHINE_ROOT")]
    pub(crate) machine_root: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in the foreground
    Run,
    /// The daemon as a service of this machine
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Join a host with an enrolment token
    Enroll(EnrollArgs),
    /// Leave the host: forget identity and plans; what was backed up stays
    Unenroll,
    /// How this machine is protected
    Status(StatusArgs),
    /// Start a backup and watch it
    Start(StartArgs),
    /// Stop what runs; the next run goes on from there
    Stop(PlanArg),
    /// Start no scheduled backup for a while
    Pause(PauseArgs),
    /// End a pause
    Resume,
    /// What works on this machine: snapshots, rights, service, network
    Selftest {
        /// Also race writers against this vault's storage: does it create atomically? Puts and deletes below `probe/`
        #[arg(long, value_name = "URL")]
        vault: Option<String>,
    },
    /// Logs and facts for support, secrets removed
    SupportBundle {
        /// The file to write
        file: PathBuf,
    },
    #[command(flatten)]
    Vault(VaultCommand),
}

/// `service`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Install it and have it start with the machine
    Install,
    /// Stop it and remove it
    Uninstall,
    /// Start it
    Start,
    /// Stop it
    Stop,
    /// Whether it is installed and runs
    Status,
}

/// `enroll`
#[derive(Debug, Clone, Args)]
pub(crate) struct EnrollArgs {
    /// The host's address; the token's own when left out
    #[arg(long, value_name = "URL")]
    pub(crate) host: Option<String>,
    /// The file with the token, or - for standard input; NIGHTKEEP_TOKEN when left out
    #[arg(long, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `status`
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    /// For whom; each has its own exit codes
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Dialect>,
}

/// Whose words `status` speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// People.
    Text,
    /// Programs: one document with everything.
    Json,
    /// Monitoring plugins: 0, 1, 2, 3.
    Nagios,
    /// A local check.
    Checkmk,
    /// A text file for the node exporter.
    Prometheus,
    /// A monitor component; anything but 0 alerts.
    Datto,
    /// A script result condition; anything but 0 alerts.
    Ninja,
    /// A script check; 1001 fails.
    Nsight,
    /// A keyword in the output.
    Automate,
    /// A script check: 0, 1, 2, 3.
    Tactical,
}

/// `start`
#[derive(Debug, Clone, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArg,
    /// Return once it has started
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// A plan, or the only one.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArg {
    /// Id or name of the plan; may be left out when there is one
    pub(crate) plan: Option<String>,
}

/// `pause`
#[derive(Debug, Clone, Args)]
pub(crate) struct PauseArgs {
    /// How long: 30m, 4h, 2d
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    pub(crate) span: std::time::Duration,
}

/// A whole number and its unit: s, m, h or d.
pub(crate) fn parse_span(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write a number and s, m, h or d, as in 4h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_have_a_number_and_a_unit() {
        let seconds = |text| parse_span(text).map(|span| span.as_secs()).ok();
        assert_eq!(seconds("4h"), Some(14400));
        assert_eq!(seconds("90s"), Some(90));
        for bad in ["", "4", "h", "4 h", "-1h", "4w", "99999999999999999999d", "4h30m"] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }
}
