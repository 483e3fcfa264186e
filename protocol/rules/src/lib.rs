//! What agent and host decide alike: backup sets, retention, schedule, status, forecasts.
//!
//! Invariant: pure functions. Time is an argument, nothing is read or written, and the same arguments give the same
//! answer on every machine, so that the agent's tray and the host's console never disagree.

pub mod findings;
pub mod forecast;
pub mod limits;
pub mod retention;
pub mod schedule;
pub mod sets;
pub mod span;
pub mod status;
pub mod thresholds;
pub mod words;
