//! macOS: service control is not there yet.

use std::io;

use super::{Definition, ServiceBody, ServiceManager, ServiceState};
use crate::Unsupported;

pub(super) fn manager() -> Option<ServiceManager> {
    None
}

pub(super) fn notify_ready() -> io::Result<bool> {
    Ok(false)
}

pub(super) fn notify_stopping() -> io::Result<bool> {
    Ok(false)
}

pub(super) fn supervise(_name: &str, body: ServiceBody) -> io::Result<Option<ServiceBody>> {
    Ok(Some(body))
}

pub(super) fn install(_definition: &Definition<'_>) -> io::Result<Vec<String>> {
    Err(not_here())
}

pub(super) fn uninstall(_name: &str) -> io::Result<()> {
    Err(not_here())
}

pub(super) fn start(_name: &str) -> io::Result<()> {
    Err(not_here())
}

pub(super) fn stop(_name: &str) -> io::Result<()> {
    Err(not_here())
}

pub(super) fn state(_name: &str) -> io::Result<Option<ServiceState>> {
    Err(not_here())
}

fn not_here() -> io::Error {
    Unsupported { what: "the service control manager" }.into()
}
