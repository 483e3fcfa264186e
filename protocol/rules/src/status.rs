//! A machine's status: facts in, a verdict out (product.md A-DEC "Truth of the status", A-INT 10-12).
//!
//! Invariant: every machine gets exactly one bucket, and the verdict says why with figures.

mod facts;
mod judge;
mod plan;
mod sane;
mod tally;
mod verdict;

pub use facts::{Agent, Facts, Pause, PlanFacts, RunResult, Running};
pub use judge::judge;
pub use tally::Tally;
pub use verdict::{PlanVerdict, Silence, Verdict};
