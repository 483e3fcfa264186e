//! The system's event log, where administrators and their monitoring look: events with numbers that never change.
//!
//! On Windows they go to the Application log. Elsewhere the service manager keeps what the service writes to its own log, where
//! the same numbers stand in a field, so here telling is nothing.

use std::io;

#[cfg_attr(not(target_os = "windows"), path = "event_log/elsewhere.rs")]
#[cfg_attr(target_os = "windows", path = "event_log/windows.rs")]
mod system;
pub mod table;

pub use table::{Event, Kind};

/// Tells an event in the name of `source`, with a text of at most some thousand characters; a longer one is cut.
pub fn tell(source: &str, event: Event, text: &str) -> io::Result<()> {
    system::tell(source, event, text)
}

/// Makes `source` known, with the program that holds the [table](table::resource) of its texts.
pub fn register(source: &str, program: &std::path::Path) -> io::Result<()> {
    system::register(source, program)
}

/// Makes `source` unknown; one that is not known is no error.
pub fn unregister(source: &str) -> io::Result<()> {
    system::unregister(source)
}

/// An event as the system would show it to people, by what is registered for `source`.
pub fn shown(source: &str, event: Event, text: &str) -> io::Result<String> {
    system::shown(source, event, text)
}
