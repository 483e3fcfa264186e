//! Linux: a process group.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process_group};

/// What is handed down.
pub(super) const ENVIRONMENT: &[&str] = &["HOME", "LANG", "LC_ALL", "TZ"];

/// Programs are looked for in the system's own folders, whatever the agent was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn settle(command: &mut Command) {
    command.env("PATH", PATH).current_dir("/");
}

#[derive(Debug)]
pub(super) struct Bond(Option<Pid>);

pub(super) fn start(command: &mut Command) -> io::Result<(Child, Bond)> {
    let child = command.process_group(0).spawn()?;
    let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok((child, Bond(leader)))
}

impl Bond {
    pub(super) fn end(&self, child: &mut Child) -> io::Result<()> {
        match self.0 {
            // The group lives for as long as any of its members does, so its number is nobody else's.
            Some(leader) => match kill_process_group(leader, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
            None => child.kill(),
        }
    }
}

pub(super) fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]);
    command
}

#[cfg(test)]
mod tests {
    use crate::child::{Family, shell};

    #[test]
    fn what_a_program_started_ends_with_it() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let note = dir.path().join("pid");
        let mut command = shell(&format!("sleep 600 & echo $! > {0}.new && mv {0}.new {0}; wait", note.display()));
        let mut family = Family::start(&mut command)?;
        while !note.exists() {
            std::thread::yield_now();
        }
        let grandchild = std::fs::read_to_string(&note)?.trim().to_owned();
        family.end()?;
        family.child().wait()?;
        // Whoever adopts it may not have buried it yet.
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        while !is_gone() {
            std::thread::yield_now();
        }
        Ok(())
    }
}
