//! The configuration file: TOML, every key optional.
//!
//! Invariant: a key nobody knows is an error with its line, so that a misspelt setting is never silently without effect.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What `agent.toml` may hold. Flags on the command line win over it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Outbox, desired state, caches. Default: the platform's place.
    pub(crate) state_dir: Option<PathBuf>,
    /// The machine's keys. Default: the platform's place, apart from state.
    pub(crate) identity_dir: Option<PathBuf>,
    /// Log files of the daemon. Default: the platform's place.
    pub(crate) log_dir: Option<PathBuf>,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,nightkeep_vault=debug`. Default: `info`.
    pub(crate) log_level: Option<String>,
    /// A folder that plays the whole machine, for demonstrations and tests. Default: the machine itself.
    pub(crate) machine_root: Option<PathBuf>,
    /// The name under which the machine is shown. Default: the computer's own.
    pub(crate) machine_name: Option<String>,
    /// How jobs run.
    pub(crate) jobs: Jobs,
    /// The link to the host.
    pub(crate) link: Link,
}

/// How jobs run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jobs {
    /// Threads that read and compress; 0 means one per processor, at most 8. Default: 0.
    pub(crate) workers: usize,
    /// Jobs that may wait; more starts are refused. Default: 16.
    pub(crate) queue_max: usize,
    /// Seconds a stopping daemon waits for a job to end in order. Default: 20.
    pub(crate) stop_grace_seconds: u64,
    /// Go by the system's change journal where it vouches for what did not change; a full scan weekly all the same. Default: true.
    pub(crate) journal: bool,
    /// Names of processes that a security module hides from the agent and that write to no file through a memory mapping. Any
    /// other hidden process means a full scan every time. Default: none.
    pub(crate) journal_overlook: Vec<String>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { workers: 0, queue_max: 16, stop_grace_seconds: 20, journal: true, journal_overlook: Vec::new() }
    }
}

/// The link to the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Link {
    /// Seconds to wait for a connection. Default: 15.
    pub(crate) connect_timeout_seconds: u64,
    /// Longest pause in seconds between two tries to reach a host that is away. Default: 60.
    pub(crate) retry_seconds_max: u64,
    /// Seconds a running backup goes on trying to reach its storage before it fails. Default: what the plan says in
    /// `reattempts`, tries times interval, as the plan ships 900.
    pub(crate) storage_patience_seconds: Option<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Self { connect_timeout_seconds: 15, retry_seconds_max: 60, storage_patience_seconds: None }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Not readable.
    #[error("failed to read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder of the machine's own service may hold what somebody else left there.
    #[error("the service's folder cannot be used")]
    Places(#[source] io::Error),
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{}, line {line}: {message}; correct the line or remove it", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

impl Config {
    /// The folder that is the machine.
    pub(crate) fn machine_root(&self) -> PathBuf {
        self.machine_root.clone().unwrap_or_else(|| "/".into())
    }

    /// Reads a file that must exist, because somebody named it.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        Self::parse(path, &text)
    }

    /// Reads a file that need not exist; without one every default holds.
    pub(crate) fn read_if_there(path: &Path) -> Result<Self, ConfigError> {
        match Self::read(path) {
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            // It lies in another account's folder: whoever changed accounts without changing HOME means their own.
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!(file = %path.display(), "The configuration may not be read by this account; defaults hold");
                Ok(Self::default())
            }
            other => other,
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Content { path: path.to_path_buf(), line, message: error.message().replace('\n', " ") }
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test whose example does not parse has failed")]
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("agent.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
        assert_eq!(Config::default().jobs.queue_max, 16);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_key_and_line() {
        let error = parse("log_level = \"info\"\n\n[jobs]\nworker = 3\n").unwrap_err();
        assert!(error.contains("agent.toml, line 4") && error.contains("`worker`"), "{error}");
        let error = parse("# comment\nlog_levle = \"info\"\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("`log_levle`"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_an_error_with_its_line() {
        let error = parse("\n[jobs]\nqueue_max = \"many\"\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("invalid type"), "{error}");
        assert!(parse("log_level = info").unwrap_err().contains("line 1"));
    }
}
