//! Garbage collection against everything that may happen beside it: crashes, other collectors, writers at every step,
//! puts that arrive late, listings that lie. What is visible and not flagged restores bit for bit.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its vault has failed")]

mod crashes;
mod interleavings;
mod lab;
mod listings;
mod merging;
mod repacking;
mod retention;
mod scenarios;
