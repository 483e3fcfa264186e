//! A command before or after a run: started without a shell unless the machine's list says so, ended after its time, its output
//! bounded and in the log.

use std::collections::VecDeque;
use std::io::Read;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nightkeep_platform::child::{self, Family};

use super::allowed::{Allowed, AllowedError};

/// The last words that are kept.
const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// How often a command that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a command left running may hold its output open; nobody waits for that longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It may not be run, or cannot.
    #[error(transparent)]
    Allowed(#[from] AllowedError),
    /// It was not started.
    #[error("it could not be started")]
    Start(#[source] std::io::Error),
    /// It said that it failed.
    #[error("it ended with {status}{}", words(output))]
    Failed {
        /// How.
        status: ExitStatus,
        /// Its last words.
        output: String,
    },
    /// It took too long.
    #[error("it took longer than {} seconds and was ended{}", after.as_secs(), words(output))]
    TimedOut {
        /// Its time.
        after: Duration,
        /// Its last words.
        output: String,
    },
    /// The run was asked to end meanwhile.
    #[error("it was ended with the run")]
    Stopped,
}

/// The last line tells most.
fn words(output: &str) -> String {
    let last = output.lines().rev().find(|line| !line.trim().is_empty());
    last.map(|line| format!(": {}", line.trim())).unwrap_or_default()
}

/// Runs a command of the list to its end. `stopped` ends it early.
pub(super) fn run(
    allowed: &Allowed,
    name: &str,
    environment: &[(&'static str, String)],
    stopped: impl Fn() -> bool,
) -> Result<(), CommandError> {
    let entry = allowed.find(name)?;
    let mut command = entry.command()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Our own environment may hold secrets.
    child::bare(&mut command);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut family = Family::start(&mut command).map_err(CommandError::Start)?;
    let output = Output::default();
    let ends = [
        family.child().stdout.take().map(|pipe| output.read(pipe)),
        family.child().stderr.take().map(|pipe| output.read(pipe)),
    ];
    let ended = wait(&mut family, entry.timeout(), &stopped);
    if !matches!(ended, Ok(Ended::By(_))) {
        if let Err(error) = family.end() {
            tracing::warn!(command = name, %error, "A command could not be ended");
        }
        let _ = family.child().wait();
    }
    for end in ends.into_iter().flatten() {
        // The reader lets go at the end of its pipe.
        let _ = end.recv_timeout(LAST_WORDS);
    }
    let output = output.take();
    for line in output.lines() {
        tracing::info!(command = name, line, "A command says");
    }
    match ended.map_err(CommandError::Start)? {
        Ended::By(status) if status.success() => Ok(()),
        Ended::By(status) => Err(CommandError::Failed { status, output }),
        Ended::TimedOut => Err(CommandError::TimedOut { after: entry.timeout(), output }),
        Ended::Stopped => Err(CommandError::Stopped),
    }
}

enum Ended {
    By(ExitStatus),
    TimedOut,
    Stopped,
}

fn wait(family: &mut Family, at_most: Duration, stopped: &impl Fn() -> bool) -> std::io::Result<Ended> {
    let begun = Instant::now();
    loop {
        if let Some(status) = family.child().try_wait()? {
            return Ok(Ended::By(status));
        }
        if begun.elapsed() >= at_most {
            return Ok(Ended::TimedOut);
        }
        if stopped() {
            return Ok(Ended::Stopped);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The last bytes of both pipes as they come.
#[derive(Default)]
struct Output(Arc<Mutex<VecDeque<u8>>>);

impl Output {
    fn read(&self, mut pipe: impl Read + Send + 'static) -> Receiver<()> {
        let (at_end, end) = channel();
        let kept = self.0.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..count]);
                let over = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
                kept.drain(..over);
            }
            drop(at_end);
        });
        end
    }

    fn take(&self) -> String {
        let kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&Vec::from(kept)).into_owned()
    }
}

#[cfg(all(test, unix))]
mod tests;
