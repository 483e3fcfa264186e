//! The command line: reads arguments, runs one command, answers with the contract's exit code.
//!
//! Invariant: with `--json`, standard output carries JSON and nothing else, also when the command fails.

pub(crate) mod args;
mod bundle;
mod control;
mod enroll;
pub(crate) mod exit;
pub(crate) mod failure;
mod log;
mod orders;
pub(crate) mod output;
mod run;
mod selftest;
pub(crate) mod service;
mod status;
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
    if let Command::Run = command {
        return run::run(globals);
    }
    log::to_stderr(globals);
    match command {
        Command::Run => run::run(globals),
        Command::Service(command) => service::run(*command, globals),
        Command::Enroll(args) => enroll::enroll(args, globals),
        Command::Unenroll => enroll::unenroll(globals),
        Command::Status(args) => status::run(args, globals),
        Command::Start(args) => orders::start(args, globals),
        Command::Stop(args) => orders::stop(args, globals),
        Command::Pause(args) => orders::pause(args, globals),
        Command::Resume => orders::resume(globals),
        Command::Selftest { vault } => selftest::run(globals, vault.as_deref()),
        Command::SupportBundle { file } => bundle::run(file, globals),
        Command::Vault(command) => vault::run(command, globals),
    }
}
