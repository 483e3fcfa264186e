//! The agent: plans, schedule, jobs, outbox, host link, local control, command line.
//!
//! Invariant: everything a person or a script sees goes through [`cli`]; nothing else writes to standard output.

mod chain;
mod cli;
mod clock;
mod config;
mod daemon;
mod events;
mod facts;
mod files;
mod gateway;
mod identity;
mod job;
mod journal;
mod link;
mod outbox;
mod places;
#[cfg(test)]
mod testing;

fn main() -> std::process::ExitCode {
    cli::main()
}
