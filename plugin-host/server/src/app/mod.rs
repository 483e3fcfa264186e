//! What the host does, whoever asks: rules, and the order of steps. Knows nothing of HTTP.
//!
//! Invariant: whatever is read or changed for a user or a machine is first found to be theirs; what is not answers as
//! if it were not there.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod clock;
pub(crate) mod commands;
pub(crate) mod desired;
pub(crate) mod enrol;
pub(crate) mod error;
pub(crate) mod gateway;
pub(crate) mod hub;
pub(crate) mod identity;
pub(crate) mod ingest;
pub(crate) mod keeping;
pub(crate) mod machines;
pub(crate) mod plans;
pub(crate) mod scan;
pub(crate) mod status;
pub(crate) mod throttle;
pub(crate) mod tokens;
pub(crate) mod vaults;
pub(crate) mod verification;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nightkeep_database::Database;
use nightkeep_wire::MachineId;
use nightkeep_wire::id::SpkiPin;
use tokio::sync::{Notify, broadcast, watch};

use crate::data::DataDir;
use crate::keys::MasterKey;
use clock::Clock;
use hub::Hub;
use identity::NonceCache;
use throttle::Throttle;

pub(crate) use error::AppError;

/// Changes that a console may be behind with before it is told to read everything again.
const CHANGES_MAX: usize = 1024;

/// Everything the host works with. Shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) data: DataDir,
    pub(crate) master: MasterKey,
    pub(crate) pin: SpkiPin,
    pub(crate) clock: Clock,
    /// Wakes polls for the desired state.
    pub(crate) hub: Hub,
    pub(crate) nonces: NonceCache,
    pub(crate) sign_ins: Throttle,
    /// Machines whose row in a console is out of date.
    pub(crate) changes: broadcast::Sender<MachineId>,
    /// What retention and collection last did in each vault.
    pub(crate) kept: keeping::KeptVaults,
    /// A machine reported: there may be something to verify.
    pub(crate) reported: Notify,
    /// Turns true when the host stops.
    pub(crate) stopping: watch::Sender<bool>,
}

/// How requests and background tasks hold it.
pub(crate) type SharedApp = Arc<App>;

impl App {
    /// Puts the parts together.
    pub(crate) fn new(database: Database, data: DataDir, master: MasterKey, pin: SpkiPin, clock: Clock) -> Self {
        Self {
            database,
            data,
            master,
            pin,
            clock,
            hub: Hub::default(),
            nonces: NonceCache::default(),
            sign_ins: Throttle::default(),
            changes: broadcast::Sender::new(CHANGES_MAX),
            kept: keeping::KeptVaults::default(),
            reported: Notify::new(),
            stopping: watch::Sender::new(false),
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Tells open consoles that a machine's row changed. Nobody listening is no failure.
    pub(crate) fn changed(&self, machine: MachineId) {
        let _ = self.changes.send(machine);
    }
}
