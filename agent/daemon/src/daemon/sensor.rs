//! Looks at the machine's circumstances on a thread of its own: asking may take seconds where a service does not answer.

use std::time::Duration;

use tokio::sync::watch;

use super::conditions::Conditions;

/// How often the machine is looked at: as long as a run may go on over a network that has become metered.
const EVERY: Duration = Duration::from_secs(5);

/// The circumstances, kept up to date for as long as anybody listens. The first look is taken before this returns.
pub(super) fn listen() -> watch::Receiver<Conditions> {
    let (told, heard) = watch::channel(Conditions::default());
    let (first, looked) = std::sync::mpsc::channel::<()>();
    let looking = std::thread::Builder::new().name("sensor".to_owned()).spawn(move || look(&told, first, EVERY));
    match looking {
        Ok(_) => _ = looked.recv_timeout(EVERY),
        Err(error) => tracing::error!(%error, "The machine's circumstances are not looked at"),
    }
    heard
}

fn look(told: &watch::Sender<Conditions>, first: std::sync::mpsc::Sender<()>, every: Duration) {
    let mut first = Some(first);
    while !told.is_closed() {
        let now = Conditions::sense();
        told.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                tracing::debug!(?now, "The machine's circumstances");
            }
            *before = now;
            changed
        });
        // Dropped, it tells that the first look was taken.
        drop(first.take());
        std::thread::sleep(every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_ends_with_its_last_listener_and_not_before() {
        let (told, heard) = watch::channel(Conditions::default());
        let (first, looked) = std::sync::mpsc::channel();
        let (running, ended) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            look(&told, first, Duration::from_millis(1));
            drop(running);
        });
        assert!(looked.recv().is_err(), "the first look tells by letting go");
        assert_eq!(ended.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        drop(heard);
        let told = ended.recv_timeout(Duration::from_secs(60));
        assert_eq!(told, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    }
}
