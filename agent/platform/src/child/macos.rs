//! macOS: the program alone.

use std::io;
use std::process::{Child, Command};

/// What is handed down.
pub(super) const ENVIRONMENT: &[&str] = &["HOME", "LANG", "LC_ALL", "TZ"];

/// Programs are looked for in the system's own folders, whatever the agent was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn settle(command: &mut Command) {
    command.env("PATH", PATH).current_dir("/");
}

#[derive(Debug)]
pub(super) struct Bond;

pub(super) fn start(command: &mut Command) -> io::Result<(Child, Bond)> {
    Ok((command.spawn()?, Bond))
}

impl Bond {
    pub(super) fn end(&self, child: &mut Child) -> io::Result<()> {
        child.kill()
    }
}

pub(super) fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]);
    command
}
