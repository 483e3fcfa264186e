//! Hands the outbox's reports to the host, in order, until it acknowledges them.

use std::sync::Arc;
use std::time::Duration;

use nightkeep_wire::problem::{Problem, ProblemCode};
use nightkeep_wire::report::REPORTS_PER_REQUEST_MAX;
use tokio::sync::Notify;

use super::shared::{self, SharedIdentity, SharedOutbox};
use crate::link::{HostLink, LinkError};
use crate::outbox::OutboxError;
use crate::places::Places;

/// First pause after a failure; doubled each time up to the configured longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// After the numbering had to begin anew.
const RENUMBER_PAUSE: Duration = Duration::from_secs(10);

/// Everything the reporter needs.
pub(super) struct Reporter {
    pub(super) link: HostLink,
    pub(super) places: Arc<Places>,
    pub(super) identity: SharedIdentity,
    pub(super) outbox: SharedOutbox,
    /// There is something to send, or the host answers again.
    pub(super) wake: Arc<Notify>,
    /// The host has taken reports: whoever waits for it may ask at once.
    pub(super) host_answers: Arc<Notify>,
    /// Everything was acknowledged.
    pub(super) drained: Arc<Notify>,
    pub(super) retry_max: Duration,
}

/// Why a batch was not taken.
enum Refused {
    /// Send again, now that the numbers are right.
    Renumbered,
    /// Later.
    Link(LinkError),
    /// The outbox itself failed.
    Outbox(OutboxError),
}

impl Reporter {
    /// Sends whenever there is something, for ever.
    pub(super) async fn run(self) {
        let mut pause = RETRY_FIRST;
        loop {
            match self.send_batch().await {
                Ok(0) => {
                    pause = RETRY_FIRST;
                    self.drained.notify_one();
                    self.wake.notified().await;
                }
                Ok(_) => {
                    pause = RETRY_FIRST;
                    self.host_answers.notify_waiters();
                }
                Err(refused) => {
                    let wait = match &refused {
                        Refused::Renumbered => RENUMBER_PAUSE.min(pause),
                        Refused::Link(error) => {
                            tracing::debug!(error = error.in_words(), "Reports wait");
                            pause
                        }
                        Refused::Outbox(error) => {
                            tracing::error!(error = error as &dyn std::error::Error, "The outbox cannot be used");
                            self.retry_max
                        }
                    };
                    shared::sleep_or(shared::jittered(wait), &self.wake).await;
                    pause = (pause * 2).min(self.retry_max);
                }
            }
        }
    }

    /// Sends the oldest reports; answers how many there were.
    async fn send_batch(&self) -> Result<usize, Refused> {
        let pending = tokio::task::block_in_place(|| shared::lock(&self.outbox).pending(REPORTS_PER_REQUEST_MAX));
        let pending = pending.map_err(Refused::Outbox)?;
        let count = pending.len();
        let Some(first) = pending.first().map(|report| report.sequence) else { return Ok(0) };
        match self.link.reports(pending).await {
            Ok(ack) => {
                let acknowledged =
                    tokio::task::block_in_place(|| shared::lock(&self.outbox).acknowledge(ack.applied_through));
                acknowledged.map_err(Refused::Outbox)?;
                Ok(count)
            }
            Err(LinkError::Problem { problem }) if is_about_numbers(&problem) => Err(self.correct(&problem, first)),
            Err(error) => Err(Refused::Link(error)),
        }
    }

    /// Brings the numbers in line with the host's.
    fn correct(&self, problem: &Problem, first: u64) -> Refused {
        let next = shared::lock(&self.outbox).next_sequence();
        let corrected = tokio::task::block_in_place(|| match problem.expected {
            // The host has some of them already.
            Some(expected) if expected > first && expected <= next => {
                shared::lock(&self.outbox).acknowledge(expected - 1)
            }
            // The host lost some that it had acknowledged: what is left closes the gap.
            Some(expected) if expected < first && expected > 0 => {
                tracing::warn!(expected, first, "The host lost reports; the waiting ones take their numbers");
                let mut outbox = shared::lock(&self.outbox);
                let incarnation = outbox.incarnation();
                outbox.renumber(incarnation, expected)
            }
            // This machine's state was lost or rolled back, or a clone speaks: the host decides which.
            Some(_) | None => {
                tracing::warn!(%problem, "The numbering of reports begins anew");
                self.begin_anew()
            }
        });
        match corrected {
            Ok(()) => Refused::Renumbered,
            Err(error) => Refused::Outbox(error),
        }
    }

    fn begin_anew(&self) -> Result<(), OutboxError> {
        let mut identity = shared::lock(&self.identity);
        identity.renew_incarnation();
        identity.reports_begun = true;
        shared::log_failure("The new numbering could not be kept", identity.save(&self.places));
        shared::lock(&self.outbox).renumber(identity.incarnation, 1)
    }
}

fn is_about_numbers(problem: &Problem) -> bool {
    problem.code == ProblemCode::SequenceGap || problem.code == ProblemCode::SequenceConflict
}
