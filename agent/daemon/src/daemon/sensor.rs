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
    let looking = std::thread::Builder::new().name("sensor".to_owned()).spawn(move || {
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
            std::thread::sleep(EVERY);
        }
    });
    match looking {
        Ok(_) => _ = looked.recv_timeout(EVERY),
        Err(error) => tracing::error!(%error, "The machine's circumstances are not looked at"),
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_ends_with_its_last_listener() {
        let mut heard = listen();
        heard.borrow_and_update();
        drop(heard);
    }
}
