//! Where the log goes: standard error for commands; for the daemon a file per day, too.

use nightkeep_platform::secret_file;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::args::Globals;
use crate::config::Config;
use crate::places::Places;

/// Days of log files that are kept.
const FILES_MAX: usize = 14;

/// For commands: warnings and worse unless asked for more.
pub(super) fn to_stderr(globals: &Globals) {
    let filter = filter(globals.log_level.as_deref().unwrap_or("warn"));
    // A second initialisation can only come from a test.
    let _ = tracing_subscriber::registry().with(filter).with(stderr_layer()).try_init();
}

/// For the daemon. Without a writable folder it logs to standard error alone, and says so.
pub(super) fn to_files(globals: &Globals, places: &Places, config: &Config) {
    let level = globals.log_level.as_deref().or(config.log_level.as_deref()).unwrap_or("info");
    let file = secret_file::create_private_dir(&places.log).map_err(|error| error.to_string()).and_then(|()| {
        RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix("agent")
            .filename_suffix("log")
            .max_log_files(FILES_MAX)
            .build(&places.log)
            .map_err(|error| error.to_string())
    });
    let (layer, problem) = match file {
        Ok(file) => (Some(fmt::layer().with_ansi(false).with_target(false).with_writer(file)), None),
        Err(problem) => (None, Some(problem)),
    };
    let _ = tracing_subscriber::registry().with(filter(level)).with(stderr_layer()).with(layer).try_init();
    if let Some(problem) = problem {
        tracing::warn!(folder = %places.log.display(), problem, "No log files can be written");
    }
}

fn stderr_layer<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    fmt::layer().with_ansi(terminal).with_target(false).with_writer(std::io::stderr)
}

/// The network libraries speak at their own levels; theirs are of interest only at debug.
fn filter(level: &str) -> EnvFilter {
    // A certificate that the platform does not trust is told by us, with both pins, when nothing else vouches for it.
    let quiet = ["h2", "hyper", "hyper_util", "reqwest", "rustls"];
    let own_rules = level.contains(['=', ',']);
    let directives = match own_rules {
        true => level.to_owned(),
        false => {
            let all = format!("{level},rustls_platform_verifier=off");
            quiet.iter().fold(all, |all, name| format!("{all},{name}=warn"))
        }
    };
    EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new("info"))
}
