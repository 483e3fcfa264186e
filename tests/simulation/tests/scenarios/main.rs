//! Fault scenarios at the boundary of engine and vault: a real folder, a real vault, a fault, and what must hold.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod disk_store;
mod keys;
mod local_state;
mod support;
