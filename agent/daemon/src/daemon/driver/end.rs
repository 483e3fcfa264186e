//! Ending in order: the running job is interrupted, the last reports get a chance, a leaving machine forgets its host.

use std::time::Duration;

use nightkeep_platform::event_log::Event;
use nightkeep_wire::control::Link;
use nightkeep_wire::report::ReportBody;
use tokio::task::JoinHandle;

use super::{Driver, End};
use crate::clock::Clock as _;
use crate::daemon::core::Effect;
use crate::daemon::shared;
use crate::events;
use crate::files;
use crate::identity::Identity;
use crate::job::Job;

/// How long a leaving or ending daemon waits for its last reports to be acknowledged.
const LAST_REPORTS: Duration = Duration::from_secs(5);

impl Driver<'_> {
    /// Interrupts what runs, gives the last reports a chance, and lets the tasks go.
    pub(super) async fn wind_down(&mut self, end: End) {
        let effects = self.core.shut_down();
        self.commit(effects);
        let grace = Duration::from_secs(self.agent.config.jobs.stop_grace_seconds);
        if self.working.is_some() {
            match tokio::time::timeout(grace, self.results.1.recv()).await {
                Ok(Some(result)) => {
                    self.working = None;
                    let effects = self.core.finished(*result, self.clock.now());
                    // What would start next waits for the next start of the daemon.
                    self.commit_reports_only(effects);
                }
                Ok(None) | Err(_) => tracing::warn!("The job did not end in time; it is reported as interrupted later"),
            }
        }
        self.last_reports().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        if self.leaving {
            self.leave();
        }
        tracing::info!(?end, "The agent ends serving its host");
    }

    fn commit_reports_only(&mut self, effects: Vec<Effect>) {
        let mut kept = Vec::new();
        for effect in effects {
            match effect {
                Effect::Report(ReportBody::JobStarted(_)) | Effect::Stop(_) | Effect::Leave => {}
                Effect::Run { job, .. } => {
                    // It goes back to the front of the queue, as if its turn had not come.
                    self.core.state.running = None;
                    self.core.state.queue.push_front(Job { started: None, ..job });
                }
                Effect::Report(_) | Effect::PostCommand { .. } => kept.push(effect),
            }
        }
        self.commit(kept);
    }

    async fn last_reports(&self) {
        let drained = async {
            while shared::lock(&self.outbox).waiting() > 0 {
                self.drained.notified().await;
            }
        };
        let reachable = matches!(&*self.link_state.borrow(), Link::Online { .. });
        if reachable && tokio::time::timeout(LAST_REPORTS, drained).await.is_err() {
            tracing::info!("Some reports wait for the next start");
        }
    }

    /// Forgets identity, plans and what waited to be told.
    fn leave(&self) {
        let places = &self.agent.places;
        shared::log_failure("The identity could not be removed", Identity::remove(places));
        for path in [places.desired(), places.jobs(), places.outbox()] {
            shared::log_failure("The state could not be removed", files::remove(&path));
        }
        events::tell(Event::Unenrolled, "identity and plans were removed");
    }
}
