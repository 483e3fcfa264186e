//! Starts real agents and hosts, as the binaries a user gets, for tests and for the demo.
//!
//! **Invariants**: nothing outlives the value that started it; every wait is for a condition, is bounded, and says in its
//! error what it waited for; only processes this process started are ever signalled.

pub mod agent;
pub mod api;
pub mod binaries;
pub mod cluster;
pub mod compare;
pub mod process;
pub mod rogue;
pub mod tree;
pub mod wait;
