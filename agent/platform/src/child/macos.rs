//! macOS: the program alone.

use std::io;
use std::process::{Child, Command};

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
