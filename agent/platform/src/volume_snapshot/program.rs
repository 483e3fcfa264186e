//! The system's own programs, which make snapshots where no call does.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Why a program's work is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunError {
    /// It is not installed.
    NotThere,
    /// What it said, or that it did not end.
    Failed(String),
}

/// Runs a program to its end; answers what it wrote to standard output. One that takes longer than `time_max` is left alone: a
/// program that is killed while it holds a volume may leave it so.
pub(super) fn run(program: &str, arguments: &[&OsStr], time_max: Duration) -> Result<String, RunError> {
    let mut command = Command::new(program);
    command.args(arguments);
    crate::child::bare(&mut command);
    // Numbers have a point everywhere; LVM does not mind what else we have open.
    command.env("LC_ALL", "C").env("LVM_SUPPRESS_FD_WARNINGS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(RunError::NotThere),
        Err(error) => return Err(RunError::Failed(format!("{program} cannot be started: {error}"))),
        Ok(child) => child,
    };
    let (sender, receiver) = channel();
    // Nobody may be waiting any more.
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = match receiver.recv_timeout(time_max) {
        Ok(output) => output.map_err(|error| RunError::Failed(format!("{program}: {error}")))?,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            return Err(RunError::Failed(format!("{program} did not end within {} s", time_max.as_secs())));
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(RunError::Failed(format!("{program}: {}", last_words(&output.stderr))))
}

/// The last line that says something, without the blanks around it.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.unwrap_or("it failed without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{RunError, run};

    #[test]
    fn a_program_says_why_it_failed_and_one_that_hangs_is_not_waited_for() {
        let sh = |line: &str| run("sh", &["-c".as_ref(), line.as_ref()], Duration::from_millis(300));
        assert_eq!(sh("echo out; echo err >&2"), Ok("out\n".to_owned()));
        assert_eq!(sh("echo '  No space.  ' >&2; echo >&2; exit 5"), Err(RunError::Failed("sh: No space.".to_owned())));
        let begun = Instant::now();
        assert!(matches!(sh("sleep 5"), Err(RunError::Failed(text)) if text.contains("did not end")));
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert_eq!(run("nightkeep-no-such-program", &[], Duration::from_secs(9)), Err(RunError::NotThere));
    }
}
