//! Programs that the agent starts for somebody, and everything these start in turn.

use std::io;
use std::process::{Child, Command};

#[cfg_attr(target_os = "linux", path = "child/linux.rs")]
#[cfg_attr(target_os = "macos", path = "child/macos.rs")]
#[cfg_attr(target_os = "windows", path = "child/windows.rs")]
mod system;

/// A program with its descendants, which end together.
#[derive(Debug)]
pub struct Family {
    child: Child,
    bond: system::Bond,
}

impl Family {
    /// Starts the program at the head of a family of its own.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let (child, bond) = system::start(command)?;
        Ok(Self { child, bond })
    }

    /// The program.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Ends the program and everything it started that did not leave the family.
    pub fn end(&mut self) -> io::Result<()> {
        self.bond.end(&mut self.child)
    }
}

/// Takes our environment from a program, but for what every program of the system needs, and our folder: it starts where
/// nothing is kept busy by it.
pub fn bare(command: &mut Command) {
    command.env_clear();
    for (name, value) in system::ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))) {
        command.env(name, value);
    }
    system::settle(command);
}

/// How the system's shell is told to carry out a line.
pub fn shell(line: &str) -> Command {
    system::shell(line)
}
