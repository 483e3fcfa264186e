//! Which machines changed, as server-sent events; the script fetches what it shows of them.
//!
//! Invariant: an event carries an id and nothing else, and only of machines that the user may know.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use nightkeep_database::User;
use nightkeep_wire::MachineId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::page::Viewer;
use crate::app::SharedApp;

/// Below the minute at which proxies drop a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

struct Listener {
    app: SharedApp,
    user: User,
    changes: broadcast::Receiver<MachineId>,
    stopping: watch::Receiver<bool>,
}

pub(super) fn stream(
    State(app): State<SharedApp>,
    Viewer(user): Viewer,
) -> std::future::Ready<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let (changes, stopping) = (app.changes.subscribe(), app.stopping.subscribe());
    let events = unfold(Listener { app, user, changes, stopping }, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    std::future::ready(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if *self.stopping.borrow_and_update() {
                return None;
            }
            tokio::select! {
                _ = self.stopping.changed() => {}
                change = self.changes.recv() => match change {
                    Ok(machine) if self.may_know(machine).await => {
                        return Some(Event::default().event("machine").data(machine.to_string()));
                    }
                    Ok(_) => {}
                    // Too many changes to tell one by one: everything is to be read again.
                    Err(RecvError::Lagged(_)) => return Some(Event::default().event("all").data("")),
                    Err(RecvError::Closed) => return None,
                }
            }
        }
    }

    async fn may_know(&self, machine: MachineId) -> bool {
        self.user.customer.is_none() || self.app.machine_for(&self.user, machine).await.is_ok()
    }
}
