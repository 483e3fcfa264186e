//! A sign in the tray of the desktop, with a menu that opens on a click.
//!
//! On Linux a StatusNotifierItem over D-Bus, on Windows an icon of the notification area; macOS has none yet.
//!
//! **Invariant**: a click answers with what the line said that was clicked on, also when the look has changed since.

use std::io;

use tokio::sync::mpsc;

#[cfg_attr(target_os = "linux", path = "tray/linux.rs")]
#[cfg_attr(target_os = "macos", path = "tray/macos.rs")]
#[cfg_attr(target_os = "windows", path = "tray/windows.rs")]
mod system;

/// Pixels of one icon: alpha, red, green, blue, row by row from the top; colours are not multiplied by alpha.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icon {
    /// Its edge in pixels; it is a square.
    pub edge: u32,
    /// Four bytes a pixel.
    pub argb: Vec<u8>,
}

/// A line of the menu; `A` is what a click on it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<A> {
    /// The line that says how things stand.
    Heading(String),
    /// Text to read.
    Text(String),
    /// Something to click on.
    Button(String, A),
    /// More of them.
    Group(String, Vec<(String, A)>),
    /// A line between.
    Separator,
}

/// What the tray shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look<A> {
    /// A name for those who cannot see the icon.
    pub title: String,
    /// Shown while the pointer rests on the icon; of Windows' 127 characters what fits.
    pub tooltip: String,
    /// The icon in each of the [`edges`].
    pub icons: Vec<Icon>,
    /// The menu, from the top.
    pub menu: Vec<Entry<A>>,
}

/// What an answer must be able to do: it goes to another thread.
pub trait Answer: Clone + Send + Sync + 'static {}

impl<A: Clone + Send + Sync + 'static> Answer for A {}

/// The edges in pixels that icons are wanted in.
pub fn edges() -> Vec<u32> {
    system::edges()
}

/// A sign that is shown.
#[derive(Debug)]
pub struct Tray<A: Answer>(system::Tray<A>);

impl<A: Answer> Tray<A> {
    /// Shows a sign. Clicks go to `clicks`; one that finds it full is lost. Its other end closes when the desktop ends.
    ///
    /// # Errors
    /// `AlreadyExists` when this program shows one in this session (Windows); others when there is no tray.
    pub async fn open(name: &'static str, look: Look<A>, clicks: mpsc::Sender<A>) -> io::Result<Self> {
        system::Tray::open(name, look, clicks).await.map(Self)
    }

    /// Shows something else. A menu that is open stays as it is. Whether the sign is still there.
    pub async fn show(&self, look: Look<A>) -> bool {
        self.0.show(look).await
    }

    /// Takes the sign away.
    pub async fn close(self) {
        self.0.close().await;
    }
}
