//! The agent: plans, schedule, jobs, outbox, host link, local control, command line.
//!
//! Invariant: everything a person or a script sees goes through [`cli`]; nothing else writes to standard output.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
