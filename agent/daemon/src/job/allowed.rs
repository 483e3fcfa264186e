//! The commands that plans may run on this machine: `commands.toml` beside the configuration, which only its administrator can
//! write. A plan names an entry and can say nothing else about what is run.
//!
//! ```toml
//! [stop-database]
//! run = ["/usr/local/sbin/stop-database", "--quiet"]
//! timeout_seconds = 300
//!
//! [flush]
//! shell = "sync && /usr/local/sbin/flush"
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nightkeep_platform::child;
use nightkeep_platform::trusted::{Untrusted, trusted_file};
use serde::Deserialize;

const FILE_BYTES_MAX: u64 = 1 << 20;
const TIMEOUT_SECONDS_MAX: u64 = 24 * 3600;

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    file: PathBuf,
    entries: BTreeMap<String, Entry>,
}

/// One command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Program, by its whole path, and arguments.
    run: Option<Vec<String>>,
    /// A line for the system's shell instead.
    shell: Option<String>,
    /// After this it is ended.
    #[serde(default = "timeout_default")]
    timeout_seconds: u64,
}

fn timeout_default() -> u64 {
    600
}

/// Why the list, or a command of it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AllowedError {
    /// Somebody else could have written it.
    #[error("what may be run here cannot be trusted")]
    Untrusted(#[from] Untrusted),
    /// Not readable.
    #[error("failed to read {}", path.display())]
    Read {
        /// The list.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Larger than anybody writes by hand.
    #[error("{} has more than {} bytes", path.display(), FILE_BYTES_MAX)]
    Large {
        /// The list.
        path: PathBuf,
    },
    /// Not TOML, or no list of commands.
    #[error("{}: {message}", path.display())]
    Content {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Nobody allowed it.
    #[error("the command {name:?} is not listed in {}: add it there, or take it out of the plan", path.display())]
    Missing {
        /// The command.
        name: String,
        /// The list.
        path: PathBuf,
    },
}

impl Allowed {
    /// Reads the list; without a file nothing is allowed.
    pub(crate) fn load(file: &Path) -> Result<Self, AllowedError> {
        let empty = Self { file: file.to_path_buf(), entries: BTreeMap::new() };
        if !crate::places::exists(file) {
            return Ok(empty);
        }
        let trusted = trusted_file(file)?;
        let read = |source| AllowedError::Read { path: file.to_path_buf(), source };
        if fs::metadata(&trusted).map_err(read)?.len() > FILE_BYTES_MAX {
            return Err(AllowedError::Large { path: file.to_path_buf() });
        }
        let text = fs::read_to_string(&trusted).map_err(read)?;
        let content = |message| AllowedError::Content { path: file.to_path_buf(), message };
        let parsed: Result<BTreeMap<String, Entry>, _> = toml::from_str(&text);
        let entries = parsed.map_err(|error| content(error.message().replace('\n', " ")))?;
        for (name, entry) in &entries {
            entry.check().map_err(|wrong| content(format!("[{name}] {wrong}")))?;
        }
        Ok(Self { entries, ..empty })
    }

    /// What can be named.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.entries.keys().cloned().collect()
    }

    pub(super) fn find(&self, name: &str) -> Result<&Entry, AllowedError> {
        let missing = || AllowedError::Missing { name: name.to_owned(), path: self.file.clone() };
        self.entries.get(name).ok_or_else(missing)
    }

    /// Which commands could be run now, for a look at the machine: each name with why it could not.
    pub(crate) fn problems(&self) -> Vec<(String, AllowedError)> {
        let tried = self.entries.iter().map(|(name, entry)| (name, entry.command()));
        tried.filter_map(|(name, command)| Some((name.clone(), command.err()?))).collect()
    }
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        match (&self.run, &self.shell) {
            (Some(run), None) => {
                let program = run.first().map_or("", String::as_str);
                if !Path::new(program).is_absolute() {
                    return Err(format!("run must begin with the whole path of a program, not {program:?}"));
                }
            }
            (None, Some(line)) if !line.trim().is_empty() => {}
            (None, Some(_)) => return Err("shell is empty".to_owned()),
            _ => return Err("either run = [program, argument, ...] or shell = \"line\" is needed".to_owned()),
        }
        match self.timeout_seconds {
            1..=TIMEOUT_SECONDS_MAX => Ok(()),
            other => Err(format!("timeout_seconds must be 1 to {TIMEOUT_SECONDS_MAX}, not {other}")),
        }
    }

    /// The program with its arguments. It is looked at anew each time: rights change.
    pub(super) fn command(&self) -> Result<Command, AllowedError> {
        match (self.run.as_deref(), &self.shell) {
            (Some([program, arguments @ ..]), _) => {
                let mut command = Command::new(trusted_file(Path::new(program))?);
                command.args(arguments);
                Ok(command)
            }
            (_, line) => Ok(child::shell(line.as_deref().unwrap_or_default())),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot write its list has failed")]
    use super::*;

    fn load(text: &str) -> Result<Allowed, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("commands.toml");
        nightkeep_platform::secret_file::write(&file, text.as_bytes()).unwrap();
        Allowed::load(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_list_nothing_is_allowed_and_with_one_what_it_names() {
        let none = Allowed::load(Path::new("/nonexistent/commands.toml")).unwrap();
        assert!(none.names().is_empty());
        let told = none.find("x").unwrap_err().to_string();
        assert!(told.contains("\"x\"") && told.contains("commands.toml"), "{told}");
        let two = load("[a]\nrun = [\"/bin/true\"]\n[b]\nshell = \"exit 0\"\ntimeout_seconds = 5\n").unwrap();
        assert_eq!(two.names().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(two.find("a").unwrap().timeout(), Duration::from_secs(600));
    }

    #[test]
    fn an_entry_that_means_nothing_is_named_with_the_remedy() {
        for (text, said) in [
            ("[a]\nrun = [\"true\"]", "[a] run must begin with the whole path"),
            ("[a]\nrun = []", "whole path"),
            ("[a]\nshell = \" \"", "shell is empty"),
            ("[a]\nrun = [\"/bin/true\"]\nshell = \"x\"", "either run"),
            ("[a]\nrun = [\"/bin/true\"]\ntimeout_seconds = 0", "1 to 86400"),
            ("[a]\nrun = [\"/bin/true\"]\nuser = \"eva\"", "unknown field `user`"),
            ("a = 3", "invalid type"),
        ] {
            let told = load(text).unwrap_err();
            assert!(told.contains(said), "{text:?}: {told}");
        }
    }
}
