//! Linux: StatusNotifierItem over D-Bus, which every desktop shows that has a tray at all.

use std::io;

use ksni::menu::{MenuItem, StandardItem, SubMenu};
use ksni::{ToolTip, TrayMethods as _};
use tokio::sync::mpsc;

use super::{Answer, Entry, Look};

/// The desktop takes the one that fits.
pub(super) fn edges() -> Vec<u32> {
    vec![22, 32, 48]
}

pub(super) struct Tray<A: Answer>(ksni::Handle<Sign<A>>);

impl<A: Answer> std::fmt::Debug for Tray<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tray").finish_non_exhaustive()
    }
}

impl<A: Answer> Tray<A> {
    pub(super) async fn open(name: &'static str, look: Look<A>, clicks: mpsc::Sender<A>) -> io::Result<Self> {
        let sign = Sign { name, look, clicks };
        let shown = sign.assume_sni_available(true).spawn().await;
        shown.map(Self).map_err(io::Error::other)
    }

    pub(super) async fn show(&self, look: Look<A>) -> bool {
        self.0.update(|sign| sign.look = look).await.is_some()
    }

    pub(super) async fn close(self) {
        self.0.shutdown().await;
    }
}

struct Sign<A> {
    name: &'static str,
    look: Look<A>,
    clicks: mpsc::Sender<A>,
}

impl<A: Answer> ksni::Tray for Sign<A> {
    fn id(&self) -> String {
        self.name.to_owned()
    }

    fn title(&self) -> String {
        self.look.title.clone()
    }

    fn icon_pixmap(&self) -> Vec<ksni::Icon> {
        let icon = |icon: &super::Icon| {
            let edge = i32::try_from(icon.edge).unwrap_or(0);
            ksni::Icon { width: edge, height: edge, data: icon.argb.clone() }
        };
        self.look.icons.iter().map(icon).collect()
    }

    fn tool_tip(&self) -> ToolTip {
        ToolTip { title: "Nightkeep".to_owned(), description: self.look.tooltip.clone(), ..ToolTip::default() }
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        self.look.menu.iter().map(line).collect()
    }
}

fn line<A: Answer>(entry: &Entry<A>) -> MenuItem<Sign<A>> {
    match entry {
        Entry::Heading(label) | Entry::Text(label) => {
            StandardItem { label: escaped(label), enabled: false, ..StandardItem::default() }.into()
        }
        Entry::Button(label, answer) => button(label, answer),
        Entry::Group(label, entries) => {
            let submenu = entries.iter().map(|(label, answer)| button(label, answer)).collect();
            SubMenu { label: escaped(label), submenu, ..SubMenu::default() }.into()
        }
        Entry::Separator => MenuItem::Separator,
    }
}

fn button<A: Answer>(label: &str, answer: &A) -> MenuItem<Sign<A>> {
    let answer = answer.clone();
    // With that many clicks waiting one more is not missed.
    let activate = Box::new(move |sign: &mut Sign<A>| _ = sign.clicks.try_send(answer.clone()));
    StandardItem { label: escaped(label), activate, ..StandardItem::default() }.into()
}

/// A single underscore would mark a key to press.
fn escaped(label: &str) -> String {
    label.replace('_', "__")
}
