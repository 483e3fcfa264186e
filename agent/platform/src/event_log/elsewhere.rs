//! Systems whose service manager keeps the log.

use std::io;
use std::path::Path;

use super::Event;
use crate::Unsupported;

#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn tell(_source: &str, _event: Event, _text: &str) -> io::Result<()> {
    Ok(())
}

pub(super) fn register(_source: &str, _program: &Path) -> io::Result<()> {
    Err(not_here())
}

pub(super) fn unregister(_source: &str) -> io::Result<()> {
    Err(not_here())
}

pub(super) fn shown(_source: &str, _event: Event, _text: &str) -> io::Result<String> {
    Err(not_here())
}

fn not_here() -> io::Error {
    Unsupported { what: "an event log of numbered events" }.into()
}
