//! The commands that work on a vault with no daemon and no host.

use super::args::Globals;
use super::exit::Exit;
use super::vault_args::VaultCommand;

/// Runs one vault command.
pub(crate) fn run(_command: &VaultCommand, _globals: &Globals) -> anyhow::Result<Exit> {
    anyhow::bail!("not built yet")
}
