//! The commands that work on a vault with no daemon and no host.
//!
//! Invariant: nothing is written to a vault before it was opened with its key; nothing is deleted from one but by `prune`.

mod backup;
mod check;
mod init;
mod key;
mod list;
mod open;
mod progress;
mod prune;
mod repair;
mod restore;
mod retention;
mod text;

use super::args::Globals;
use super::exit::Exit;
use super::vault_args::{CheckArgs, VaultCommand};

/// Runs one vault command.
pub(crate) fn run(command: &VaultCommand, globals: &Globals) -> anyhow::Result<Exit> {
    let json = globals.json;
    match command {
        VaultCommand::Init(args) => init::run(args, json),
        VaultCommand::Backup(args) => backup::run(args, globals),
        VaultCommand::Points(args) => list::points(&args.vault, args.trash, globals),
        VaultCommand::Ls(args) => list::entries(args, globals),
        VaultCommand::Restore(args) => restore::run(args, globals),
        VaultCommand::Check(args) => check::run(args, json),
        VaultCommand::Verify(args) => check::run(&CheckArgs::of_all_data(&args.vault), json),
        VaultCommand::Explain(args) => retention::explain(args, json),
        VaultCommand::Forget(args) => retention::forget(args, json),
        VaultCommand::Undelete(args) => retention::undelete(args, json),
        VaultCommand::Key(args) => key::run(args, json),
        VaultCommand::Prune(args) => prune::run(args, globals),
        VaultCommand::Repair(args) => repair::run(args, json),
    }
}
