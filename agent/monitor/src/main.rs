//! The backup monitor in the tray. It knows local control and nothing else: no host, no storage, no credentials.
//!
//! Invariant: what it shows is what the daemon said last; what it may do is what the daemon allows.

// No window of a console beside it, where programs have one.
#![windows_subsystem = "windows"]

mod client;
mod icon;
mod model;
mod tray;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use nightkeep_platform::language;
use nightkeep_platform::paths::Paths;

use model::Language;

const USAGE: &str = "usage: nightkeep-monitor [--state-dir DIR] [--language en|de]\n\
    Shows in the tray how this computer is backed up.";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("nightkeep-monitor: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let Some(Arguments { sockets, language }) = Arguments::read(std::env::args_os().skip(1)) else {
        say(USAGE);
        return Ok(ExitCode::from(2));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("the monitor cannot start its threads")?.block_on(tray::show(sockets, language))?;
    Ok(ExitCode::SUCCESS)
}

struct Arguments {
    /// Where the daemon may listen, the likeliest first.
    sockets: Vec<PathBuf>,
    language: Language,
}

impl Arguments {
    /// None when the arguments make no sense.
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let in_state = |state: PathBuf| state.join("control.sock");
        let (mut state, mut letters) = (None, language::of_user());
        while let Some(flag) = arguments.next() {
            let value = arguments.next()?;
            match flag.to_str()? {
                "--state-dir" => state = Some(PathBuf::from(value)),
                "--language" => {
                    letters = Some(value.into_string().ok().filter(|value| matches!(value.as_str(), "en" | "de"))?)
                }
                _ => return None,
            }
        }
        let sockets = match state {
            Some(state) => vec![in_state(state)],
            // The machine's own service, which a user's session finds at its fixed place; then a daemon of the user's own.
            None => vec![in_state(Paths::of_service().state), in_state(Paths::standard().state)],
        };
        Some(Self { sockets, language: Language::of(letters.as_deref()) })
    }
}

fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    // Nobody may be reading, which is fine.
    let _ = writeln!(std::io::stderr(), "{text}");
}
