//! The command line of the host.
//!
//! Invariant: with `--json` standard output carries one JSON document per line and nothing else; logs go to standard
//! error.
#![expect(clippy::print_stderr, reason = "the command line is what people read")]

mod admin;
mod output;
mod serve;
mod token;
mod vault;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::clock::Clock;
use crate::host::HostOptions;

/// The Nightkeep plugin host: agents report to it, technicians work in it.
#[derive(Debug, Parser)]
#[command(name = "nightkeep-host", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host; the first start creates what is missing.
    Serve(serve::Serve),
    /// Enrolment tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Customers' vaults.
    #[command(subcommand)]
    Vault(vault::Vault),
    /// The admin account.
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Keys for programs that use the admin API.
    #[command(subcommand)]
    ApiKey(admin::ApiKey),
}

/// Where the host keeps its things.
#[derive(Debug, Clone, clap::Args)]
struct Place {
    /// The data directory.
    #[arg(long, env = "NIGHTKEEP_DATA", default_value = "/var/lib/nightkeep-host")]
    data: PathBuf,
    /// The database; the embedded one in the data directory unless given (postgres://...).
    #[arg(long, env = "NIGHTKEEP_DATABASE")]
    database: Option<String>,
    /// Print JSON, one document per line.
    #[arg(long)]
    json: bool,
}

impl Place {
    fn options(&self) -> HostOptions {
        HostOptions {
            data: self.data.clone(),
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            database: self.database.clone(),
            public_url: None,
            certificate: None,
            clock: Clock::system(),
        }
    }
}

/// Runs the command that the arguments ask for. Exit codes: 0 done, 1 failed, 2 usage.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(arguments.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Token(token) => token.run().await,
        Command::Vault(vault) => vault.run().await,
        Command::Admin(admin) => admin.run().await,
        Command::ApiKey(key) => key.run().await,
    }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("NIGHTKEEP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sqlx=warn,sea_orm_migration=warn"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(terminal).with_writer(std::io::stderr).init();
}
