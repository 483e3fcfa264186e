//! The plugin host: agents call it, technicians work in it, and every six minutes it looks at all machines.
//!
//! Invariant: requests go down through three layers and never skip one: `http` (who asks, in which form), `app` (what
//! may be done, and doing it), `nightkeep_database` (what is true).

mod app;
mod background;
pub mod cli;
mod data;
mod host;
mod http;
mod keys;
mod tls;

pub use app::clock::Clock;
pub use host::{Host, HostError, HostOptions};
