//! Runs tests with cargo-nextest where it is there, with `cargo test` otherwise, and counts.
//!
//! The last line is always `N passed, N failed`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{demo, dist, outside, run, workspace};

/// Crates whose tests start the binaries of others.
const WHOLE: &[&str] = &["nightkeep-e2e", "nightkeep-harness"];

/// Builds the binaries they start, and everybody's tests with them: asked for together, both share one set of features,
/// so no dependency is compiled twice.
const BUILD_WHOLE: &[&str] = &["build", "--locked", "--workspace", "--bins", "--tests"];

/// Where the tests against servers of the world outside are.
const WORLD: &[&str] = &["-p", "nightkeep-e2e", "--test", "cloud"];

/// What to test, and arguments handed on.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// `world`: the suite against real outside servers. `windows`: the agent as a Windows program, under Wine. `macos`: the
    /// agent type-checked for macOS, and its package. `linux`: the packages, installed, upgraded and removed in throw-away
    /// roots, by hand and by script. `rmm`: the scripts for remote management systems and the signing. `dialects`: the status
    /// before Nagios, Prometheus and others.
    suite: Option<Suite>,
    /// Only these packages.
    #[arg(short, long)]
    package: Vec<String>,
    /// Only tests whose name contains one of these.
    #[arg(last = true)]
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Suite {
    World,
    Windows,
    Macos,
    Linux,
    Rmm,
    Dialects,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Runs the tests asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.suite {
        Some(Suite::World) => world(&options.names),
        Some(Suite::Windows) => {
            let script = crate::root().join("packaging/windows/test.sh");
            run::step("windows", Command::new(script).current_dir(crate::root()))
        }
        Some(Suite::Macos) => finish_scripts(&mut [script("packaging/macos/test.sh")]),
        Some(Suite::Linux) => linux(),
        Some(Suite::Rmm) => finish_scripts(&mut [script("packaging/rmm/test.sh")]),
        Some(Suite::Dialects) => {
            run::step("agent and host", run::cargo().args(demo::BUILD))?;
            let mut dialects = script("packaging/rmm/dialects-test.sh");
            dialects.args(["target/debug/nightkeep-agent", "target/debug/nightkeep-host"]);
            finish_scripts(&mut [dialects])
        }
        None => test(&options.package, &options.names),
    }
}

/// Runs the tests of the crates that differ from the last commit.
pub(crate) fn changed() -> Result<()> {
    let packages = changed_packages()?;
    if packages.is_empty() {
        println!("== tests of what changed: nothing changed since the last commit");
        return Ok(());
    }
    test(&packages, &[])
}

fn test(packages: &[String], names: &[String]) -> Result<()> {
    let whole = packages.is_empty() || packages.iter().any(|package| WHOLE.contains(&package.as_str()));
    if whole {
        run::step("build", run::cargo().args(BUILD_WHOLE))?;
        outside::for_tests();
    }
    let nextest = run::is_there("cargo-nextest", &["nextest"]);
    let mut command = run::cargo();
    command.args(if nextest { ["nextest", "run"].as_slice() } else { &["test"] }).args(["--locked", "--no-fail-fast"]);
    match packages {
        [] => _ = command.arg("--workspace"),
        packages => packages.iter().for_each(|package| _ = command.args(["-p", package])),
    }
    if !names.is_empty() {
        command.arg("--").args(names);
    }
    if whole {
        command.env("NIGHTKEEP_BIN_DIR", crate::root().join("target/debug"));
    }
    finish(&mut command, nextest)
}

/// Runs the tests that are left out elsewhere because their servers take long to install.
fn world(names: &[String]) -> Result<()> {
    outside::for_world();
    let nextest = run::is_there("cargo-nextest", &["nextest"]);
    let mut command = run::cargo();
    command.args(if nextest { ["nextest", "run"].as_slice() } else { &["test"] }).args(["--locked", "--no-fail-fast"]);
    command.args(WORLD);
    if nextest {
        command.args(["--run-ignored", "only", "--"]);
    } else {
        command.args(["--", "--ignored"]);
    }
    finish(command.args(names), nextest)
}

/// The packages, then the script that brings them to machines.
fn linux() -> Result<()> {
    let dist = dist::linux()?;
    run::step("host", run::cargo().args(["build", "--locked", "-p", "nightkeep-host"]))?;
    let source_date = dist::source_date()?;
    let mut packages = script("packaging/linux/test.sh");
    packages.arg(dist::VERSION).arg(&dist).env("SOURCE_DATE_EPOCH", &source_date);
    let mut scripts = script("packaging/rmm/linux-test.sh");
    scripts.arg(dist::VERSION).arg(&dist).args(["target/debug/nightkeep-host", "target/release"]);
    scripts.env("SOURCE_DATE_EPOCH", &source_date);
    let mut signed = script("packaging/linux/signed-test.sh");
    signed.arg(dist::VERSION).arg(&dist);
    let mut snapshots = script("packaging/linux/snapshots-test.sh");
    snapshots.arg(snapshot_tests()?).arg("target/release/nightkeep-agent");
    finish_scripts(&mut [packages, scripts, signed, snapshots])
}

/// Builds the tests that need devices; answers where their program is.
fn snapshot_tests() -> Result<PathBuf> {
    let mut build = run::cargo();
    build.args(["test", "--locked", "--no-run", "-p", "nightkeep-platform", "--test", "volume_snapshot"]);
    let said = run::output(build.args(["--message-format", "json"]))?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.next().context("cargo built no tests of volume snapshots")
}

fn script(path: &str) -> Command {
    let mut script = Command::new(crate::root().join(path));
    script.current_dir(crate::root());
    script
}

/// Runs scripts that count for themselves, and ends with the sum of their last lines. One that ends without counting has
/// failed.
fn finish_scripts(scripts: &mut [Command]) -> Result<()> {
    let mut sum = Count::default();
    for script in scripts {
        let started = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("cannot run {}", run::shown(script)))?;
        let mut last = String::new();
        for line in BufReader::new(child.stdout.take().context("a pipe was asked for")?).split(b'\n') {
            last = String::from_utf8_lossy(&line?).into_owned();
            println!("{last}");
        }
        let success = child.wait()?.success();
        let count = count_of(&last).unwrap_or_default();
        sum.passed += count.passed;
        sum.failed += count.failed.max(u64::from(!success));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed > 0 {
        bail!("{} claims failed", sum.failed);
    }
    Ok(())
}

/// A script's last line: `N passed, M failed`.
fn count_of(line: &str) -> Option<Count> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Count { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

/// Runs the command, and ends with the line that counts.
fn finish(command: &mut Command, nextest: bool) -> Result<()> {
    let (count, success) = counted(command, nextest)?;
    println!("{} passed, {} failed", count.passed, count.failed);
    if !success {
        bail!("{} failed", run::shown(command));
    }
    Ok(())
}

/// Runs the command, shows its output as it comes, and adds up its summaries.
fn counted(command: &mut Command, nextest: bool) -> Result<(Count, bool)> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {}", run::shown(command)))?;
    // The command holds the pipe's other end open as long as it lives; without this, reading would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let count = tee(reader, nextest)?;
    Ok((count, child.wait()?.success()))
}

fn tee(reader: impl Read, nextest: bool) -> Result<Count> {
    let mut count = Count::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if let Some(more) = summary(&line, nextest) {
            count.passed += more.passed;
            count.failed += more.failed;
        }
    }
    Ok(count)
}

/// A line a runner itself wrote: `test result: ok. 14 passed; 0 failed; ...` of cargo at the start of the line (a failed
/// test's own output may hold the like, indented), or `Summary [ 1.2s] 5 tests run: 4 passed (1 slow), 1 failed` of
/// nextest, which also counts tests that were stopped.
fn summary(line: &str, nextest: bool) -> Option<Count> {
    let rest = match nextest {
        true => line.trim_start().strip_prefix("Summary [")?.split_once("run:")?.1,
        false => line.strip_prefix("test result:")?,
    };
    let words: Vec<&str> = rest.split([' ', ',', ';', '.']).filter(|word| !word.is_empty()).collect();
    let number_before = |name: &str| {
        let pairs = words.windows(2).filter(|pair| pair[1] == name);
        pairs.filter_map(|pair| pair[0].parse::<u64>().ok()).sum::<u64>()
    };
    let failed = number_before("failed") + number_before("exec") + number_before("timed");
    Some(Count { passed: number_before("passed"), failed })
}

fn changed_packages() -> Result<Vec<String>> {
    let git = |arguments: &[&str]| run::output(Command::new("git").current_dir(crate::root()).args(arguments));
    let mut files = git(&["diff", "--name-only", "HEAD"])?;
    files.push_str(&git(&["ls-files", "--others", "--exclude-standard"])?);
    let members = workspace::members()?;
    let owner = |file: &str| members.iter().find(|member| Path::new(file).starts_with(&member.folder));
    let names: BTreeSet<String> = files.lines().filter_map(owner).map(|member| member.name.clone()).collect();
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::{Count, count_of, summary};

    #[test]
    fn both_runners_summaries_are_counted() {
        let check = |line: &str, passed, failed| {
            let nextest = line.contains("Summary");
            assert_eq!(summary(line, nextest), Some(Count { passed, failed }), "{line}");
        };
        check("test result: ok. 14 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s", 14, 0);
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored", 3, 2);
        check("     Summary [   1.234s] 24 tests run: 22 passed (1 slow), 2 failed, 3 skipped", 22, 2);
        check("     Summary [   0.010s] 1 test run: 1 passed, 0 skipped", 1, 0);
        check("     Summary [  60.010s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped", 1, 2);
        assert_eq!(summary("    test result: FAILED. 0 passed; 1 failed", true), None, "a failed test's own output");
        assert_eq!(summary("    test result: FAILED. 0 passed; 1 failed", false), None);
        assert_eq!(summary("running 3 tests", false), None);
    }

    #[test]
    fn a_scripts_last_line_is_counted_and_nothing_else() {
        assert_eq!(count_of("26 passed, 1 failed"), Some(Count { passed: 26, failed: 1 }));
        for other in
            ["", "26 passed", "ok      26 passed, 1 failed", "26 passed, 1 failed and more", "-1 passed, 0 failed"]
        {
            assert_eq!(count_of(other), None, "{other:?}");
        }
    }
}
