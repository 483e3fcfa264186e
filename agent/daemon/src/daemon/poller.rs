//! Asks the host what it wants, again and again: a long poll, so that a click in the console arrives at once.
//!
//! Invariant: a desired state is on disk before it is acted upon, so that schedules go on from it with the host away.

use std::sync::Arc;
use std::time::Duration;

use nightkeep_wire::control::Link;
use nightkeep_wire::desired::DesiredState;
use tokio::sync::{Notify, mpsc, watch};

use super::shared::{self, SharedIdentity};
use crate::clock::Clock as _;
use crate::files;
use crate::link::{HostLink, LinkError, undelivered_meta_key};
use crate::places::Places;

/// First pause after a failure; doubled each time up to the configured longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Everything the poller needs.
pub(super) struct Poller {
    pub(super) link: HostLink,
    pub(super) places: Arc<Places>,
    pub(super) identity: SharedIdentity,
    pub(super) desired: mpsc::Sender<Box<DesiredState>>,
    pub(super) state: watch::Sender<Link>,
    /// The host answers somebody else: ask at once.
    pub(super) host_answers: Arc<Notify>,
    /// Wakes the reporter when the host answers again.
    pub(super) wake_reporter: Arc<Notify>,
    pub(super) retry_max: Duration,
}

impl Poller {
    /// Polls until the driver is gone.
    pub(super) async fn run(self) {
        // The first question asks for the whole document: the host may have been restored to an older one.
        let (mut version, mut wait, mut pause) = (0, Duration::ZERO, RETRY_FIRST);
        while !self.desired.is_closed() {
            match self.poll(version, wait).await {
                Ok(news) => {
                    pause = RETRY_FIRST;
                    self.note_contact();
                    self.deliver_key().await;
                    let Some(desired) = news else {
                        wait = wait.max(Duration::from_secs(u64::from(nightkeep_wire::POLL_WAIT_SECONDS)));
                        continue;
                    };
                    version = desired.version;
                    wait = Duration::from_secs(u64::from(desired.settings.poll_wait_seconds.clamp(1, 3600)));
                    if self.desired.send(desired).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.note_failure(&error);
                    shared::sleep_or(shared::jittered(pause), &self.host_answers).await;
                    pause = (pause * 2).min(self.retry_max);
                }
            }
        }
    }

    async fn poll(&self, version: u64, wait: Duration) -> Result<Option<Box<DesiredState>>, LinkError> {
        let Some(desired) = self.link.desired(version, wait).await? else { return Ok(None) };
        self.take_over(&desired);
        Ok(Some(Box::new(desired)))
    }

    /// Keeps the document, and the vault it may bring.
    fn take_over(&self, desired: &DesiredState) {
        tokio::task::block_in_place(|| {
            if let Some(grant) = &desired.vault {
                let mut identity = shared::lock(&self.identity);
                match identity.take_vault(grant) {
                    Ok(true) => shared::log_failure("The vault could not be kept", identity.save(&self.places)),
                    Ok(false) => {}
                    Err(error) => tracing::error!(%error, "The vault sent by the host is refused"),
                }
            }
            shared::log_failure("The desired state could not be kept", files::save(&self.places.desired(), desired));
        });
    }

    /// The first recovery point can be restored from the console only when the host has the catalogue key.
    async fn deliver_key(&self) {
        let keys = match undelivered_meta_key(&shared::lock(&self.identity)) {
            Ok(Some(keys)) => keys,
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "The catalogue key cannot be sealed"),
        };
        if let Err(error) = self.link.put_keys(&keys).await {
            return tracing::warn!(error = error.in_words(), "The catalogue key waits to be handed over");
        }
        tokio::task::block_in_place(|| {
            let mut identity = shared::lock(&self.identity);
            identity.note_meta_key_delivered();
            shared::log_failure("The identity could not be kept", identity.save(&self.places));
        });
    }

    fn note_contact(&self) {
        let host = self.link.host().to_owned();
        let was_offline = matches!(&*self.state.borrow(), Link::Offline { .. });
        if was_offline {
            tracing::info!(host, "The host answers");
            self.wake_reporter.notify_one();
        }
        self.state.send_replace(Link::Online { host, last_contact: self.link.clock().now() });
    }

    fn note_failure(&self, error: &LinkError) {
        let message = error.in_words();
        let last_contact = match &*self.state.borrow() {
            Link::Online { last_contact, .. } => {
                tracing::warn!(error = message, "The host does not answer; schedules go on from the last known state");
                Some(*last_contact)
            }
            Link::Offline { last_contact, .. } => *last_contact,
            Link::NotEnrolled => None,
        };
        self.state.send_replace(Link::Offline { host: self.link.host().to_owned(), last_contact, message });
    }
}
