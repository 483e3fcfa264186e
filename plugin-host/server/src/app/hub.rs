//! Wakes the poll of a machine whose desired state changed.
//!
//! Invariant: who listens before reading the version misses no change made after. Entries exist only while someone
//! listens, so they are bounded by open connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nightkeep_wire::MachineId;
use tokio::sync::Notify;

type Waiting = Mutex<HashMap<MachineId, Arc<Notify>>>;

/// Who waits for what.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hub(Arc<Waiting>);

/// A listener for one machine.
#[derive(Debug)]
pub(crate) struct Listener {
    hub: Hub,
    machine: MachineId,
    /// Taken in `drop` only.
    notify: Option<Arc<Notify>>,
}

impl Hub {
    /// Listens for changes of a machine.
    pub(crate) fn listen(&self, machine: MachineId) -> Listener {
        let notify = Arc::clone(self.waiting().entry(machine).or_default());
        Listener { hub: self.clone(), machine, notify: Some(notify) }
    }

    /// Wakes everyone who listens for the machine.
    pub(crate) fn wake(&self, machine: MachineId) {
        if let Some(notify) = self.waiting().get(&machine) {
            notify.notify_waiters();
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<MachineId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Ends at the next change after this call; changes count from here on, not from the first poll of the future.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + '_ {
        let notified = self.notify.as_ref().map(|notify| notify.notified());
        async {
            match notified {
                Some(notified) => notified.await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut waiting = self.hub.waiting();
        self.notify = None;
        if waiting.get(&self.machine).is_some_and(|notify| Arc::strong_count(notify) == 1) {
            waiting.remove(&self.machine);
        }
    }
}
