//! Names of users and groups beside their numbers, so that a restore on another machine can find the same people.
//!
//! Reads the local account files once per process: a directory service is not asked, since a name server that hangs
//! must not stop a backup, and the number alone restores the same machine.

use std::collections::HashMap;
use std::sync::LazyLock;

#[cfg_attr(unix, path = "accounts/unix.rs")]
#[cfg_attr(target_os = "windows", path = "accounts/windows.rs")]
mod system;

static ACCOUNTS: LazyLock<(Accounts, Accounts)> = LazyLock::new(system::load);

/// Name of the user with this number, when the machine itself knows it.
pub fn user_name(uid: u32) -> Option<String> {
    ACCOUNTS.0.names.get(&uid).cloned()
}

/// Name of the group with this number, when the machine itself knows it.
pub fn group_name(gid: u32) -> Option<String> {
    ACCOUNTS.1.names.get(&gid).cloned()
}

/// Number of the user with this name.
pub fn user_id(name: &str) -> Option<u32> {
    ACCOUNTS.0.ids.get(name).copied()
}

/// Number of the group with this name.
pub fn group_id(name: &str) -> Option<u32> {
    ACCOUNTS.1.ids.get(name).copied()
}

/// One account file, both ways round.
#[derive(Debug, Default)]
struct Accounts {
    names: HashMap<u32, String>,
    ids: HashMap<String, u32>,
}
