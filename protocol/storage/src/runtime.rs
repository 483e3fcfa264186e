//! The threads that do the network's work, and the way from a blocking call to them and back.
//!
//! **Invariant**: a call never waits for the runtime it is made in. The work runs on threads of this crate; a caller
//! that is a worker of another runtime hands its place on while it waits.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// Threads that move bodies, sign and encrypt. Bodies are few and large: more threads gain nothing.
const THREADS: usize = 2;

/// The runtime cannot be had: the system gives no threads or no file descriptors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the network's threads cannot be started: {0}")]
pub(crate) struct RuntimeError(String);

/// The network's work ended without an answer: a bug, told and not hidden.
#[derive(Debug, thiserror::Error)]
#[error("the network's work ended without an answer; its last words are in the log")]
pub(crate) struct Lost;

/// The one runtime of the process, started with its first use.
pub(crate) fn handle() -> Result<Handle, RuntimeError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let start = || {
        let builder = Builder::new_multi_thread().worker_threads(THREADS).thread_name("storage").enable_all().build();
        builder.map_err(|error| error.to_string())
    };
    match RUNTIME.get_or_init(start) {
        Ok(runtime) => Ok(runtime.handle().clone()),
        Err(error) => Err(RuntimeError(error.clone())),
    }
}

/// Runs the future on the runtime's threads and waits for what it yields.
pub(crate) fn block<T: Send + 'static>(
    runtime: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Lost> {
    let (sender, receiver) = sync_channel(1);
    runtime.spawn(async move {
        // Nobody waits any more only when the waiting thread was ended.
        let _ = sender.send(future.await);
    });
    wait(&receiver)
}

fn wait<T>(receiver: &Receiver<T>) -> Result<T, Lost> {
    let inside = Handle::try_current().map(|outer| outer.runtime_flavor());
    let received = match inside {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| receiver.recv()),
        // A runtime of one thread has no place to hand on; its owner chose to block it.
        Ok(_) | Err(_) => receiver.recv(),
    };
    received.map_err(|_| Lost)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot start threads has failed")]
    use super::*;

    #[test]
    fn a_call_works_outside_and_inside_of_runtimes_of_either_kind() {
        let runtime = handle().unwrap();
        let call = move || block(&runtime, async { 7 }).unwrap();
        assert_eq!(call(), 7);
        let many = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert_eq!(many.block_on(async { call() }), 7);
        let inside = call.clone();
        assert_eq!(many.block_on(many.spawn(async move { inside() })).unwrap(), 7);
        let one = Builder::new_current_thread().build().unwrap();
        assert_eq!(one.block_on(async { call() }), 7);
    }

    #[test]
    fn work_that_panics_is_an_error_and_not_a_wait_for_ever() {
        let runtime = handle().unwrap();
        let lost = block(&runtime, async { assert!(std::hint::black_box(false), "on purpose") });
        assert!(lost.is_err());
    }
}
