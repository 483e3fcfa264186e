//! Simulation, model and fuzzing for as long as one likes; every random run prints its seed.
//!
//! The parts take turns until the time is over: the model once at its large sizes, then rounds of the crash simulation,
//! of the random tests and of every fuzz target, each round with new seeds and, per target, more time.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::run;

/// Seconds that each fuzz target gets in the first round; each further round doubles it, up to [`FUZZ_SECONDS_MAX`].
const FUZZ_SECONDS: u64 = 5;
const FUZZ_SECONDS_MAX: u64 = 600;

/// Random cases of each property test in a round, where 256 is usual.
const CASES: &str = "20000";

/// Crates whose tests are random, or crash at every effect.
const RANDOM: &[&str] = &["nightkeep-simulation", "nightkeep-vault", "nightkeep-wire", "nightkeep-rules"];

/// For how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Hours to run.
    #[arg(long, default_value_t = 0)]
    hours: u64,
    /// Minutes to run, added to the hours. Ten when neither is given.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Without the model at its large sizes, which takes some minutes and gigabytes.
    #[arg(long)]
    without_model: bool,
}

/// Runs until the time is over, and at least one round.
pub(crate) fn run(options: &Options) -> Result<()> {
    let minutes = match options.hours * 60 + options.minutes {
        0 => 10,
        minutes => minutes,
    };
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    if !options.without_model {
        run::step("the collection protocol, large", &mut cargo(&["run", "--package", "nightkeep-model"]))?;
    }
    let mut fuzz_seconds = FUZZ_SECONDS;
    for round in 1.. {
        let names = RANDOM.iter().flat_map(|name| ["--package", name]).collect::<Vec<_>>();
        let mut tests = cargo(&["test"]);
        tests.args(names).env("PROPTEST_CASES", CASES);
        run::step(&format!("round {round}: simulation and random tests"), &mut tests)?;
        let mut fuzz = cargo(&["test", "--package", "nightkeep-fuzz", "--test", "targets"]);
        fuzz.args(["--", "--nocapture"]).env("NIGHTKEEP_FUZZ_SECONDS", fuzz_seconds.to_string());
        run::step(&format!("round {round}: fuzz targets for {fuzz_seconds} s each"), &mut fuzz)?;
        if Instant::now() >= end {
            println!("{round} rounds in {minutes} minutes without a failure");
            return Ok(());
        }
        fuzz_seconds = (fuzz_seconds * 2).min(FUZZ_SECONDS_MAX);
    }
    Ok(())
}

/// Cargo with the release profile.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = run::cargo();
    command.args(arguments.iter().take(1)).args(["--release", "--locked"]).args(arguments.iter().skip(1));
    command
}
