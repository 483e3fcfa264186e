//! The face in the tray, kept up to date; what is clicked on becomes orders.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, FixedOffset, Local, Offset as _, Utc};
use nightkeep_platform::tray::{self, Icon, Look, Tray};
use nightkeep_wire::control::Op;
use tokio::sync::{mpsc, watch};

use crate::client;
use crate::icon;
use crate::model::{Action, Language, Notice, Reader, Seen, face, until_tomorrow};

/// Clicks that wait; a person is slower.
const ORDERS_MAX: usize = 8;
const NAME: &str = "nightkeep-monitor";
/// How often the words for moments are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Shows the tray until the user closes it.
pub(crate) async fn show(sockets: Vec<PathBuf>, language: Language) -> anyhow::Result<()> {
    let (seen_sender, mut seen) = watch::channel(Seen::Nobody);
    let (notice_sender, mut notices) = watch::channel(None);
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    let (clicks, mut clicked) = mpsc::channel(ORDERS_MAX);
    let edges = tray::edges();
    let mut look = current(&seen.borrow(), None, &edges, language);
    let shown = match Tray::open(NAME, look.clone(), clicks).await {
        // One is enough.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        opened => opened.context("no desktop with a tray was found (is this a graphical session?)")?,
    };
    tokio::spawn(client::follow(sockets.clone(), seen_sender));
    tokio::spawn(client::obey(sockets, inbox, notice_sender));
    let mut clock = tokio::time::interval(LOOK_AGAIN);
    loop {
        tokio::select! {
            action = clicked.recv() => match action.as_ref().map(order) {
                // With this many orders waiting one more is not missed.
                Some(Some(op)) => _ = orders.try_send(op),
                // Closed by the user, or by the desktop's end.
                Some(None) | None => break,
            },
            changed = seen.changed() => changed?,
            changed = notices.changed() => changed?,
            // What is today is yesterday later.
            _ = clock.tick() => {}
        }
        let newer = current(&seen.borrow_and_update(), notices.borrow_and_update().as_ref(), &edges, language);
        if newer != look {
            look = newer;
            if !shown.show(look.clone()).await {
                break;
            }
        }
    }
    shown.close().await;
    Ok(())
}

fn current(seen: &Seen, notice: Option<&Notice>, edges: &[u32], language: Language) -> Look<Action> {
    let (now, offset) = here();
    let face = face(seen, notice, Reader { now, offset, language });
    let icons = edges.iter().map(|edge| {
        let pixels = icon::draw(face.mood, *edge);
        Icon { edge: pixels.size, argb: pixels.argb }
    });
    Look { icons: icons.collect(), title: face.title, tooltip: face.tooltip, menu: face.menu }
}

/// The moment, and the desktop's zone.
fn here() -> (DateTime<Utc>, FixedOffset) {
    let now = Utc::now();
    (now, now.with_timezone(&Local).offset().fix())
}

/// What a click orders of the daemon; none closes the monitor.
fn order(action: &Action) -> Option<Op> {
    match action {
        Action::Start { plan } => Some(Op::Start { plan: Some(plan.clone()) }),
        Action::Stop => Some(Op::Stop { plan: None }),
        Action::Pause { seconds } => Some(Op::Pause { for_seconds: *seconds }),
        Action::PauseUntilTomorrow => {
            let (now, offset) = here();
            Some(Op::Pause { for_seconds: until_tomorrow(now, offset) })
        }
        Action::Resume => Some(Op::Resume),
        Action::Quit => None,
    }
}
