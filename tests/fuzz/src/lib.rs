//! Every parser of stored or received bytes as a function of bytes, with seeds that the writers themselves make.
//!
//! **Invariant**: a check may refuse its input in any way but by a panic, an endless loop, or memory out of proportion.

mod driver;
mod mutate;
mod targets;

pub use driver::{Limit, Run, run};
pub use targets::TARGETS;

/// One parser.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called in the corpus, in tests and on the command line.
    pub name: &'static str,
    /// Reads the bytes; answers whether they could be read.
    pub check: fn(&[u8]) -> bool,
    /// Small inputs that are read, made by the writers.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Makes checksums right again, so that changes reach what lies behind them.
    pub mend: Option<fn(&mut Vec<u8>)>,
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
