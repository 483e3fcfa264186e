//! The daemon: waits for an identity, then serves its host; answers local callers all the while.
//!
//! ```text
//! unenrolled --identity appears--> enrolled --command or `unenroll`--> unenrolled
//!      '---------------- asked to end ----------------'---> ended
//! ```

mod conditions;
mod control;
mod core;
mod driver;
mod lock;
mod missed;
mod orders;
mod poller;
mod reporter;
mod sensor;
mod shared;
mod snapshot;
mod state;
pub(crate) mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nightkeep_platform::event_log::Event as Told;
use nightkeep_platform::service;
use nightkeep_wire::control::{Answer, ControlErrorCode, Op, Reply};
use tokio::sync::{broadcast, mpsc, watch};

use self::control::{Desk, Order};
use self::driver::{Driver, End};
use crate::clock::{Clock as _, HostClock};
use crate::config::Config;
use crate::events;
use crate::facts;
use crate::files::FileError;
use crate::identity::Identity;
use crate::job::remove_leftovers;
use crate::journal::Keeper;
use crate::link::LinkError;
use crate::outbox::OutboxError;
use crate::places::Places;

/// Orders that wait for the driver.
const ORDERS_MAX: usize = 64;
/// Events a slow subscriber may be behind.
const EVENTS_MAX: usize = 256;
/// How often an unenrolled daemon looks for an identity, and an enrolled one whether it still has it.
const IDENTITY_LOOK: Duration = Duration::from_secs(1);

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// Another daemon uses this state directory.
    #[error("another nightkeep-agent runs with the state directory {}: stop it, or choose another --state-dir", state.display())]
    AlreadyRunning {
        /// The directory.
        state: PathBuf,
    },
    /// A directory cannot be made.
    #[error("failed to prepare {}", path.display())]
    Prepare {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of ours cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// No link can be made from what is configured.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Runs until Ctrl-C or a signal of the service manager, or until `manager` brings a message.
pub(crate) async fn run(places: Places, config: Config, manager: Option<Receiver<()>>) -> Result<(), DaemonError> {
    let (ask, asked) = watch::channel(false);
    if let Some(manager) = manager {
        let ask = ask.clone();
        std::thread::spawn(move || {
            if manager.recv().is_ok() {
                ask.send_replace(true);
            }
        });
    }
    tokio::spawn(async move {
        match tokio::signal::ctrl_c().await {
            Ok(()) => _ = ask.send_replace(true),
            Err(error) => {
                tracing::error!(%error, "Signals cannot be heard; stop the daemon by force");
                std::future::pending::<()>().await;
            }
        }
    });
    run_until(places, config, asked).await
}

/// Runs until `asked` becomes true.
async fn run_until(places: Places, config: Config, asked: watch::Receiver<bool>) -> Result<(), DaemonError> {
    let prepare = |path: PathBuf| move |source| DaemonError::Prepare { path, source };
    places.prepare_state()?;
    let _lock = lock::take(&places)?;
    remove_leftovers(&places.snapshots());
    let listener = control::listen(&places.control()).map_err(prepare(places.control()))?;
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let server = tokio::spawn(control::serve(listener, Desk { orders, events: events.clone() }));
    if let Err(error) = service::notify_ready() {
        tracing::debug!(%error, "The service manager was not told");
    }
    events::tell(Told::ServiceStarted, &format!("version {}", facts::AGENT_VERSION));
    let journal = Arc::new(Keeper::new(config.machine_root(), places.journals(), &config.jobs));
    let mut agent = Agent { places: Arc::new(places), config: Arc::new(config), journal, inbox, events, asked };
    let ended = agent.live().await;
    server.abort();
    if ended.is_ok() {
        events::tell(Told::ServiceStopped, "it was asked to");
    }
    let _ = service::notify_stopping();
    let _ = std::fs::remove_file(agent.places.control());
    ended
}

/// What outlives an enrolment.
pub(super) struct Agent {
    places: Arc<Places>,
    config: Arc<Config>,
    journal: Arc<Keeper>,
    inbox: mpsc::Receiver<Order>,
    events: broadcast::Sender<nightkeep_wire::control::Event>,
    asked: watch::Receiver<bool>,
}

impl Agent {
    async fn live(&mut self) -> Result<(), DaemonError> {
        loop {
            let identity = Identity::load(&self.places)?.filter(|identity| identity.enrolled.is_some());
            let end = match identity {
                Some(identity) => Driver::open(self, identity)?.drive().await,
                None => self.wait_for_identity().await,
            };
            match end {
                End::Asked => return Ok(()),
                End::IdentityChanged => {}
            }
        }
    }

    async fn wait_for_identity(&mut self) -> End {
        tracing::info!("This machine belongs to no host; waiting for `nightkeep-agent enroll`");
        let (facts, clock) = (facts::gather(&self.config), HostClock::default());
        let mut look = tokio::time::interval(IDENTITY_LOOK);
        loop {
            tokio::select! {
                () = asked_to_end(&mut self.asked) => return End::Asked,
                _ = look.tick() => {
                    if Identity::load(&self.places).is_ok_and(|i| i.is_some_and(|i| i.enrolled.is_some())) {
                        return End::IdentityChanged;
                    }
                }
                Some(order) = self.inbox.recv() => {
                    let answer = match order.op {
                        Op::Status | Op::Subscribe => {
                            Answer::Ok(Reply::Status(Box::new(snapshot::not_enrolled(&facts, clock.now()))))
                        }
                        Op::Start { .. } | Op::Stop { .. } | Op::Pause { .. } | Op::Resume | Op::Unknown => {
                            let message = "this machine belongs to no host: run `nightkeep-agent enroll` first";
                            Answer::Error(orders::error(ControlErrorCode::NotEnrolled, message))
                        }
                    };
                    // The caller may have hung up.
                    let _ = order.reply.send(answer);
                }
            }
        }
    }
}

/// Waits until the daemon shall end. Whoever would ask being gone counts as asking.
async fn asked_to_end(asked: &mut watch::Receiver<bool>) {
    let _ = asked.wait_for(|asked| *asked).await;
}

#[cfg(test)]
mod tests;
