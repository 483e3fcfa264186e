//! `cargo xtask`: the one door to every developer command.
//!
//! **Invariant**: this crate needs no other crate of the workspace and few from outside, so that the door opens in
//! seconds on a fresh clone. What needs a host or an agent starts their binaries.
#![expect(clippy::print_stdout, reason = "this is a command line")]

mod bench;
mod check;
mod demo;
mod dist;
mod items;
mod outside;
mod run;
mod soak;
mod test;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The one door to every developer command")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The main job on real input: host, agent, enrolment, default plan, one backup, one proven restore, the console.
    Demo(demo::Options),
    /// All tests.
    Test(test::Options),
    /// What a commit must pass: format, lints, licences, house rules, tests of what changed.
    Check,
    /// Tables of speed, with bounds and peers beside us.
    Bench(bench::Options),
    /// Model, simulation and fuzzing for hours, with seeds printed.
    Soak(soak::Options),
    /// Installers into target/dist.
    Dist {
        /// The system to build for.
        system: dist::System,
    },
    /// Every numbered item of the product with its tests, or "open".
    Items,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Check => check::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Dist { system } => dist::run(system),
        Command::Items => items::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the checkout this binary was built from.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| PathBuf::from("."), PathBuf::from)
}
