//! Which directories and files this process uses: flags before configuration before the platform's places.
//!
//! Invariant: identity is never looked for below the state directory, so deleting state never costs the enrolment.

use std::path::{Path, PathBuf};

use nightkeep_platform::paths::Paths;
use nightkeep_platform::process;

use crate::cli::args::Globals;
use crate::config::{Config, ConfigError};
use crate::files::FileError;

/// Where everything of one agent lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Outbox, desired state, job history: deletable at any time.
    pub(crate) state: PathBuf,
    /// The machine's keys.
    pub(crate) identity: PathBuf,
    /// Log files.
    pub(crate) log: PathBuf,
    /// The configuration file, whether it exists or not.
    pub(crate) config_file: PathBuf,
}

impl Places {
    /// Reads the configuration and decides every place.
    pub(crate) fn resolve(globals: &Globals) -> Result<(Self, Config), ConfigError> {
        let standard = Paths::standard();
        let all_elsewhere = globals.config.is_some() && globals.state_dir.is_some() && globals.identity_dir.is_some();
        if process::is_root() && !all_elsewhere {
            Paths::guard_service_places().map_err(ConfigError::Places)?;
        }
        let config_file = globals.config.clone().unwrap_or_else(|| standard.config.join("agent.toml"));
        let mut config = match &globals.config {
            Some(file) => Config::read(file)?,
            None => Config::read_if_there(&config_file)?,
        };
        if let Some(root) = &globals.machine_root {
            config.machine_root = Some(root.clone());
        }
        let pick = |flag: &Option<PathBuf>, configured: &Option<PathBuf>, standard: PathBuf| {
            absolute(flag.clone().or_else(|| configured.clone()).unwrap_or(standard))
        };
        let state = pick(&globals.state_dir, &config.state_dir, standard.state);
        // Whoever moves the state elsewhere runs beside the machine's own service and must not fill its log folder.
        let log = if globals.state_dir.is_some() { state.join("log") } else { standard.log };
        let places = Self {
            identity: pick(&globals.identity_dir, &config.identity_dir, standard.identity),
            log: pick(&None, &config.log_dir, log),
            config_file,
            state,
        };
        Ok((places, config))
    }

    /// Makes the state directory. Others may look up the socket in it; every file of ours in it is its owner's alone.
    pub(crate) fn prepare_state(&self) -> Result<(), FileError> {
        let failed = |source| FileError::Write { path: self.state.clone(), source };
        std::fs::create_dir_all(&self.state).map_err(failed)
    }

    /// The socket (or name) of local control.
    pub(crate) fn control(&self) -> PathBuf {
        self.state.join("control.sock")
    }

    /// Where the machine's own service listens, for accounts whose own places are elsewhere.
    pub(crate) fn control_of_service() -> PathBuf {
        Paths::of_service().state.join("control.sock")
    }

    /// The machine's keys and enrolment.
    pub(crate) fn identity_file(&self) -> PathBuf {
        self.identity.join("identity.json")
    }

    /// How far the system's change journals were read.
    pub(crate) fn journals(&self) -> PathBuf {
        self.state.join("journals")
    }

    /// What volume snapshots were made, and where some are mounted.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.state.join("snapshots")
    }

    /// Reports that the host has not acknowledged.
    pub(crate) fn outbox(&self) -> PathBuf {
        self.state.join("outbox")
    }

    /// The last desired state.
    pub(crate) fn desired(&self) -> PathBuf {
        self.state.join("desired.json")
    }

    /// The commands that plans may run on this machine, beside the configuration.
    pub(crate) fn commands_file(&self) -> PathBuf {
        self.config_file.with_file_name("commands.toml")
    }

    /// What is kept of vaults, one folder for each.
    pub(crate) fn cache(&self) -> PathBuf {
        self.state.join("cache")
    }

    /// Jobs: waiting, running, and how the last ones ended.
    pub(crate) fn jobs(&self) -> PathBuf {
        self.state.join("jobs.json")
    }

    /// Taken by the one daemon of this state directory.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("daemon.lock")
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Whether there is a file at all, a broken link included.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
