//! The face in the tray of a Linux desktop (StatusNotifierItem over D-Bus).

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{FixedOffset, Local, Offset as _, Utc};
use ksni::menu::{MenuItem, StandardItem, SubMenu};
use ksni::{Icon, ToolTip, Tray, TrayMethods as _};
use nightkeep_wire::control::Op;
use tokio::sync::{mpsc, watch};

use crate::client;
use crate::icon;
use crate::model::{Action, Face, Item, Seen, face};

/// Clicks that wait; a person is slower.
const ORDERS_MAX: usize = 8;
/// Edges of the icons offered; the desktop takes the one that fits.
const ICON_SIZES: [u32; 3] = [22, 32, 48];

/// Shows the tray until the user closes it.
pub(crate) async fn show(sockets: Vec<PathBuf>) -> anyhow::Result<()> {
    let (seen_sender, mut seen) = watch::channel(Seen::Nobody);
    let (notice_sender, mut notices) = watch::channel(None);
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    let (quit_sender, mut quit) = mpsc::channel(1);
    let face = current(&seen.borrow(), None);
    let tray = MonitorTray { face, orders, quit: quit_sender }.assume_sni_available(true).spawn().await;
    let tray = tray.context("no desktop with a tray was found (is this a graphical session with D-Bus?)")?;
    tokio::spawn(client::follow(sockets.clone(), seen_sender));
    tokio::spawn(client::obey(sockets, inbox, notice_sender));
    loop {
        tokio::select! {
            _ = quit.recv() => break,
            changed = seen.changed() => changed?,
            changed = notices.changed() => changed?,
        }
        let face = current(&seen.borrow_and_update(), notices.borrow_and_update().as_deref());
        if tray.update(|tray| tray.face = face).await.is_none() {
            break;
        }
    }
    tray.shutdown().await;
    Ok(())
}

fn current(seen: &Seen, notice: Option<&str>) -> Face {
    let now = Utc::now();
    let offset: FixedOffset = now.with_timezone(&Local).offset().fix();
    face(seen, notice, now, offset)
}

struct MonitorTray {
    face: Face,
    orders: mpsc::Sender<Op>,
    quit: mpsc::Sender<()>,
}

impl MonitorTray {
    fn click(&mut self, action: &Action) {
        let op = match action {
            Action::Start { plan } => Op::Start { plan: Some(plan.clone()) },
            Action::Stop => Op::Stop { plan: None },
            Action::Pause { seconds } => Op::Pause { for_seconds: *seconds },
            Action::Resume => Op::Resume,
            Action::Quit => {
                let _ = self.quit.try_send(());
                return;
            }
        };
        // With this many clicks waiting one more is not missed.
        let _ = self.orders.try_send(op);
    }
}

impl Tray for MonitorTray {
    fn id(&self) -> String {
        "nightkeep-monitor".to_owned()
    }

    fn title(&self) -> String {
        self.face.title.clone()
    }

    fn icon_pixmap(&self) -> Vec<Icon> {
        let icon = |size| {
            let pixels = icon::draw(self.face.mood, size);
            let edge = i32::try_from(pixels.size).unwrap_or(0);
            Icon { width: edge, height: edge, data: pixels.argb }
        };
        ICON_SIZES.into_iter().map(icon).collect()
    }

    fn tool_tip(&self) -> ToolTip {
        ToolTip { title: "Nightkeep".to_owned(), description: self.face.tooltip.clone(), ..ToolTip::default() }
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        self.face.menu.iter().map(entry).collect()
    }
}

fn entry(item: &Item) -> MenuItem<MonitorTray> {
    match item {
        Item::Text(label) => StandardItem { label: escaped(label), enabled: false, ..StandardItem::default() }.into(),
        Item::Button(label, action) => button(label, action),
        Item::Group(label, entries) => {
            let submenu = entries.iter().map(|(label, action)| button(label, action)).collect();
            SubMenu { label: escaped(label), submenu, ..SubMenu::default() }.into()
        }
        Item::Separator => MenuItem::Separator,
    }
}

fn button(label: &str, action: &Action) -> MenuItem<MonitorTray> {
    let action = action.clone();
    let activate = Box::new(move |tray: &mut MonitorTray| tray.click(&action));
    StandardItem { label: escaped(label), activate, ..StandardItem::default() }.into()
}

/// A single underscore would mark a key to press.
fn escaped(label: &str) -> String {
    label.replace('_', "__")
}
