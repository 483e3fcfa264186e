//! The protocol as it is, in every interleaving.
#![expect(clippy::print_stdout, reason = "the sizes of a check are part of its answer")]

use nightkeep_model::{Collection, Rules, Scope, check};

const MOVED: &str = "what a point names is gone, and its copy is there";
const UNLISTED: &str = "a pack that no segment ever listed goes";
const MERGED: &str = "what went is mentioned no more, and a later point stands";

/// Every state is looked at, nothing is violated, and what should be possible is.
fn holds(story: &str, scope: Scope, never_met: &[&str]) {
    let asked = [(scope.moves, MOVED), (scope.merges, MERGED), (scope.late_segments && scope.silences, UNLISTED)];
    let not_asked = asked.into_iter().filter(|(asked, _)| !asked);
    let never_met: Vec<&str> = not_asked.map(|(_, story)| story).chain(never_met.iter().copied()).collect();
    let outcome = check(Collection { rules: Rules::ALL, scope }, 2);
    println!("{story}: {outcome}");
    assert!(outcome.violation.is_none(), "{story}: {outcome}");
    assert_eq!(outcome.never_met, never_met, "{story}");
}

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

#[test]
fn one_backup_and_one_collector_with_everything_that_can_happen() {
    holds("rich", RICH, &[]);
}

#[test]
fn one_backup_and_two_collectors() {
    holds("2 collectors", Scope { collectors: 2, silences: true, restarts: true, moods: true, ..Scope::SMALLEST }, &[]);
}

#[test]
fn two_backups_and_one_collector() {
    let scope = Scope { writers: 2, silences: true, moods: true, ..Scope::SMALLEST };
    holds("2 writers", scope, &[]);
}

#[test]
fn two_backups_and_two_collectors_over_two_generations() {
    holds("2 writers, 2 collectors", Scope { writers: 2, collectors: 2, moods: true, ..Scope::SMALLEST }, &[]);
}

#[test]
fn fences_that_are_kept_no_more() {
    let scope = Scope { generations: 3, kept: 1, silences: true, moods: true, ..Scope::SMALLEST };
    holds("horizon 1 of 3 generations", scope, &[]);
    holds("horizon 0 of 3 generations", Scope { kept: 0, ..scope }, &[]);
    holds("horizon 0, restarts", Scope { kept: 0, restarts: true, ..scope }, &[]);
}

#[test]
fn packs_that_are_copied_so_that_they_can_go() {
    let one = Scope { old_point: true, moves: true, moods: true, ..Scope::SMALLEST };
    holds("moves", Scope { silences: true, restarts: true, ..one }, &[]);
    holds("moves, 2 collectors", Scope { collectors: 2, ..one }, &[]);
    holds("moves twice, fences kept for one generation", Scope { generations: 3, kept: 1, silences: true, ..one }, &[]);
}

#[test]
fn segments_that_are_merged() {
    let one = Scope { generations: 3, merges: true, moods: true, ..Scope::SMALLEST };
    holds("merges", Scope { silences: true, restarts: true, ..one }, &[]);
    holds("merges, 2 collectors", Scope { collectors: 2, ..one }, &[]);
    holds("merges and moves", Scope { old_point: true, moves: true, ..one }, &[]);
}

#[test]
fn segments_that_come_late_or_never() {
    let one = Scope { late_segments: true, silences: true, moods: true, ..Scope::SMALLEST };
    holds("late segments, 3 generations", Scope { generations: 3, restarts: true, ..one }, &[]);
    holds("late segments, 2 writers", Scope { writers: 2, silences: false, ..one }, &[]);
    holds("late segments, 2 collectors", Scope { collectors: 2, ..one }, &[]);
    holds("late segments, moves", Scope { old_point: true, moves: true, restarts: true, ..one }, &[]);
    holds("late segments, merges", Scope { generations: 3, merges: true, ..one }, &[]);
}
