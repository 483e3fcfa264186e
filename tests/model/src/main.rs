//! Checks the protocol at sizes that take minutes; `cargo xtask soak` runs it in the release profile.
#![expect(clippy::print_stdout, reason = "this is a command line")]

use nightkeep_model::{Collection, Rules, Scope, check};
use std::process::ExitCode;

/// Everything that can happen, with one writer and one collector.
const RICH: Scope = Scope {
    orphans: 2,
    old_point: true,
    partials: true,
    renewals: true,
    restarts: true,
    silences: true,
    moods: true,
    ..Scope::SMALLEST
};

/// From small to large; memory grows with the states, some 100 bytes each.
const SCOPES: &[(&str, Scope)] = &[
    ("1 writer, 1 collector, rich", RICH),
    (
        "1 writer, 1 collector, rich, fences kept for one generation of three",
        Scope { generations: 3, kept: 1, orphans: 1, old_point: false, ..RICH },
    ),
    (
        "2 writers, 2 collectors, silences",
        Scope { writers: 2, collectors: 2, silences: true, moods: true, ..Scope::SMALLEST },
    ),
    (
        "3 writers of one session each, 2 collectors",
        Scope { writers: 3, attempts: 1, collectors: 2, silences: true, moods: true, ..Scope::SMALLEST },
    ),
    (
        "2 writers, 1 collector, late segments, silences",
        Scope { writers: 2, late_segments: true, silences: true, ..Scope::SMALLEST },
    ),
    ("2 writers, 1 collector, rich", Scope { writers: 2, orphans: 1, restarts: false, ..RICH }),
];

fn main() -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, scope) in SCOPES {
        let outcome = check(Collection { rules: Rules::ALL, scope: *scope }, threads);
        println!("{name}: {outcome}");
        if outcome.violation.is_some() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
