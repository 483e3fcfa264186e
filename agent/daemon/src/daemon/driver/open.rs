//! Opening: state, outbox, link, and the tasks that speak with the host.

use std::sync::Arc;
use std::time::Duration;

use nightkeep_wire::MachineId;
use nightkeep_wire::control::Link;
use nightkeep_wire::desired::DesiredState;
use nightkeep_wire::progress::JobProgress;
use tokio::sync::{Notify, mpsc, watch};

use super::Driver;
use crate::clock::{Clock as _, HostClock};
use crate::daemon::core::Core;
use crate::daemon::poller::Poller;
use crate::daemon::reporter::Reporter;
use crate::daemon::sensor;
use crate::daemon::shared::{SharedIdentity, SharedOutbox};
use crate::daemon::state::AgentState;
use crate::daemon::{Agent, DaemonError};
use crate::facts;
use crate::files;
use crate::identity::Identity;
use crate::link::{HostLink, Signer};
use crate::outbox::{Opened, Outbox};

impl<'a> Driver<'a> {
    /// Opens state and outbox and starts the tasks that speak with the host.
    pub(in crate::daemon) fn open(agent: &'a mut Agent, mut identity: Identity) -> Result<Self, DaemonError> {
        let places = agent.places.clone();
        let Some(enrolled) = identity.enrolled.clone() else { unreachable!("the caller looked for an enrolment") };
        let facts = facts::gather(&agent.config);
        let outbox = open_outbox(agent, &mut identity, enrolled.machine)?;
        let mut state: AgentState = load_or_begin_anew(&places.jobs());
        let mut desired: Option<DesiredState> = load_or_begin_anew(&places.desired());
        if state.machine != Some(enrolled.machine) {
            desired = desired.filter(|_| state.machine.is_none());
            state = AgentState { machine: Some(enrolled.machine), ..AgentState::default() };
        }
        let intents = std::mem::take(&mut state.intents);
        let unrecorded = intents.unrecorded(outbox.incarnation(), outbox.next_sequence());
        let mut core = Core::new(enrolled.machine, facts, desired, state, agent.config.jobs.queue_max);
        core.has_vault = identity.has_vault();
        let clock = Arc::new(HostClock::default());
        let signer = Signer { machine: enrolled.machine, key: identity.signing_key() };
        let timeout = Duration::from_secs(agent.config.link.connect_timeout_seconds.max(1));
        let link = HostLink::new(&enrolled.host_url, enrolled.pin, Some(signer), clock.clone(), timeout)?;
        let (identity, outbox) = (Arc::new(identity.into()), Arc::new(outbox.into()));
        let offline = Link::Offline {
            host: enrolled.host_url.clone(),
            last_contact: None,
            message: "not contacted yet".to_owned(),
        };
        let (link_sender, link_state) = watch::channel(offline);
        let (desired_sender, desired) = mpsc::channel(1);
        let (wake_reporter, drained, host_answers) = <(Arc<Notify>, Arc<Notify>, Arc<Notify>)>::default();
        let progress = watch::Sender::new(None);
        let retry_max = Duration::from_secs(agent.config.link.retry_seconds_max.max(1));
        let poller = Poller {
            link: link.clone(),
            places: places.clone(),
            identity: SharedIdentity::clone(&identity),
            desired: desired_sender,
            state: link_sender,
            host_answers: host_answers.clone(),
            wake_reporter: wake_reporter.clone(),
            retry_max,
        };
        let reporter = Reporter {
            link: link.clone(),
            places,
            identity: SharedIdentity::clone(&identity),
            outbox: SharedOutbox::clone(&outbox),
            wake: wake_reporter.clone(),
            drained: drained.clone(),
            host_answers,
            retry_max,
        };
        let tasks = vec![
            tokio::spawn(poller.run()),
            tokio::spawn(reporter.run()),
            tokio::spawn(tell_progress(link.clone(), progress.subscribe())),
        ];
        let saved_at = clock.now();
        tracing::info!(machine = %enrolled.machine, host = enrolled.host_url, "The agent serves its host");
        Ok(Self {
            agent,
            core,
            clock,
            link,
            identity,
            outbox,
            unrecorded,
            working: None,
            results: mpsc::channel(1),
            desired,
            link_state,
            conditions: tokio::task::block_in_place(sensor::listen),
            progress,
            wake_reporter,
            drained,
            tasks,
            leaving: false,
            saved_at,
        })
    }
}

fn open_outbox(agent: &Agent, identity: &mut Identity, machine: MachineId) -> Result<Outbox, DaemonError> {
    let places = &agent.places;
    let (outbox, opened) = Outbox::open(&places.outbox(), machine, identity.incarnation)?;
    if opened == Opened::Fresh && identity.reports_begun {
        tracing::warn!("The state directory was lost; the numbering of reports begins anew");
        identity.renew_incarnation();
        let mut outbox = outbox;
        outbox.renumber(identity.incarnation, 1)?;
        identity.reports_begun = true;
        identity.save(places)?;
        return Ok(outbox);
    }
    if !identity.reports_begun {
        identity.reports_begun = true;
        identity.save(places)?;
    }
    Ok(outbox)
}

/// State that cannot be read costs time, never data: it is logged and begun anew.
fn load_or_begin_anew<T: Default + serde::de::DeserializeOwned>(path: &std::path::Path) -> T {
    match files::load(path) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "A state file is set aside");
            let _ = std::fs::rename(path, path.with_extension("damaged"));
            T::default()
        }
    }
}

/// Tells the host how far the job is, at most every two seconds, the newest figures only.
async fn tell_progress(link: HostLink, mut progress: watch::Receiver<Option<JobProgress>>) {
    const EVERY: Duration = Duration::from_secs(2);
    while progress.changed().await.is_ok() {
        let newest = progress.borrow_and_update().clone();
        if let Some(newest) = newest {
            if let Err(error) = link.progress(&newest).await {
                tracing::trace!(error = error.in_words(), "Progress was not told");
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
