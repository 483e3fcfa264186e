//! The command line: reads arguments, runs one command, answers with the contract's exit code.
//!
//! Invariant: with `--json`, standard output carries JSON and nothing else, also when the command fails.

pub(crate) mod args;
pub(crate) mod exit;
pub(crate) mod failure;
pub(crate) mod output;
pub(crate) mod vault;
pub(crate) mod vault_args;

use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Cli, Command, Globals};
use self::exit::Exit;
use self::failure::Failure;

/// Reads the arguments, runs the command and answers with its exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage_error(&error),
    };
    match run(&cli.command, &cli.globals) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let failure = Failure::of(&error);
            output::failure(&failure, cli.globals.json);
            failure.exit.into()
        }
    }
}

fn run(command: &Command, globals: &Globals) -> anyhow::Result<Exit> {
    match command {
        Command::Vault(command) => vault::run(command, globals),
    }
}
