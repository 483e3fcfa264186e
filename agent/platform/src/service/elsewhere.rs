//! Systems without a service control manager: there is nothing to deal with by calls.

use std::io;

use super::{Definition, ServiceBody, ServiceState};
use crate::Unsupported;

#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn supervise(_name: &str, _body: ServiceBody) -> io::Result<bool> {
    Ok(false)
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
