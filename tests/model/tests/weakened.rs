//! Every rule of the protocol is needed: without it the model finds how a backup is lost, or robbed.
#![expect(clippy::print_stdout, reason = "the counter-example is part of the answer")]

use nightkeep_model::{Collection, FLAGGED, GREEDY, Rules, Scope, TRUSTED, check};

/// Enough for every counter-example known.
const SCOPE: Scope = Scope { collectors: 2, renewals: true, moods: true, ..Scope::SMALLEST };

/// Without the rule one of these properties falls.
fn falls(rules: Rules, scope: Scope, properties: &[&str]) {
    let outcome = check(Collection { rules, scope }, 1);
    println!("{outcome}");
    let Some((property, _)) = &outcome.violation else { unreachable!("the rule is not needed: {outcome}") };
    assert!(properties.contains(property), "{outcome}");
}

const LOSS: &[&str] = &[TRUSTED, FLAGGED];

#[test]
fn a_writer_that_reads_the_generation_before_it_registers_loses() {
    falls(Rules { registers_first: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn a_writer_that_does_not_read_the_fences_loses() {
    falls(Rules { reads_fences: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn a_writer_that_asks_whether_the_pack_still_exists_loses() {
    falls(Rules { believes_tombstones: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn a_writer_that_reuses_undecided_tombstones_loses() {
    falls(Rules { awaits_decisions: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn a_writer_that_closes_while_its_commit_is_in_doubt_loses() {
    falls(Rules { leaves_doubt_open: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn a_collector_that_does_not_fence_loses() {
    falls(Rules { fences: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn a_writer_that_counts_only_the_tombstones_of_generations_that_name_it_loses() {
    let scope = Scope { silences: true, ..SCOPE };
    falls(Rules { counts_all_tombstones: false, ..Rules::ALL }, scope, LOSS);
}

#[test]
fn a_writer_or_reader_that_takes_a_swept_fence_for_none_loses() {
    let scope = Scope { generations: 3, kept: 0, silences: true, moods: true, ..Scope::SMALLEST };
    falls(Rules { minds_horizon: false, ..Rules::ALL }, scope, LOSS);
}

#[test]
fn a_collector_that_sweeps_a_session_which_no_fence_after_its_base_names_loses() {
    let scope = Scope { silences: true, ..SCOPE };
    falls(Rules { sweeps_what_is_minded: false, ..Rules::ALL }, scope, LOSS);
}

#[test]
fn a_collector_that_does_not_take_partial_points_for_roots_is_found_by_nothing_but_their_loss() {
    let rules = Rules { roots_partials: false, ..Rules::ALL };
    let outcome = check(Collection { rules, scope: Scope { partials: true, ..SCOPE } }, 1);
    assert!(outcome.violation.is_none(), "partial points are a convenience, never a safety: {outcome}");
}

#[test]
fn a_collector_that_does_not_list_again_after_the_fence_loses() {
    falls(Rules { lists_twice: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn collectors_without_one_decision_lose() {
    falls(Rules { one_decision: false, ..Rules::ALL }, SCOPE, LOSS);
}

#[test]
fn a_collector_that_tombstones_packs_of_open_sessions_robs_them() {
    falls(Rules { spares_open: false, ..Rules::ALL }, SCOPE, &[GREEDY]);
}

#[test]
fn a_collector_that_takes_a_fenced_session_for_over_at_once_robs_it() {
    falls(Rules { spares_fenced: false, ..Rules::ALL }, SCOPE, &[GREEDY]);
}

#[test]
fn a_successor_that_closes_its_predecessor_at_once_is_robbed() {
    falls(Rules { inherits: false, ..Rules::ALL }, SCOPE, &[GREEDY]);
}

/// A point that needs a pack, which a collector may move.
const MOVING: Scope = Scope { old_point: true, moves: true, ..Scope::SMALLEST };

#[test]
fn a_collector_that_publishes_a_move_before_the_copy_is_durable_loses() {
    falls(Rules { copies_first: false, ..Rules::ALL }, MOVING, LOSS);
}

#[test]
fn a_collector_that_does_not_follow_forwards_loses_nothing_and_gives_nothing_back() {
    let rules = Rules { follows_forwards: false, ..Rules::ALL };
    let outcome = check(Collection { rules, scope: MOVING }, 1);
    assert!(outcome.violation.is_none(), "{outcome}");
    assert_eq!(outcome.never_met.first(), Some(&"what a point names is gone, and its copy is there"));
}

#[test]
fn a_generation_that_drops_forwards_that_a_point_needs_loses() {
    falls(Rules { keeps_forwards: false, ..Rules::ALL }, MOVING, LOSS);
}

/// Segments may be merged, also by a collector that sleeps while another works.
const MERGING: Scope = Scope { collectors: 2, generations: 3, merges: true, moods: true, ..Scope::SMALLEST };

#[test]
fn a_merged_segment_that_counts_by_its_signature_brings_back_what_went() {
    falls(Rules { counts_merged_by_generation: false, ..Rules::ALL }, MERGING, LOSS);
}

#[test]
fn a_cache_that_does_not_let_go_offers_what_went() {
    let scope = Scope { collectors: 1, restarts: true, ..MERGING };
    falls(Rules { lets_go: false, ..Rules::ALL }, scope, LOSS);
}

#[test]
fn a_collector_that_merges_segments_of_sessions_at_work_robs_them() {
    falls(Rules { merges_what_is_over: false, ..Rules::ALL }, MERGING, &[GREEDY]);
}

/// A session may be over, and its writer only asleep between a pack and its segment.
const SLEEPING: Scope = Scope { late_segments: true, generations: 3, silences: true, moods: true, ..Scope::SMALLEST };

#[test]
fn a_writer_whose_point_comes_before_its_segment_leaves_a_point_nobody_can_read() {
    falls(Rules { lists_first: false, ..Rules::ALL }, SLEEPING, LOSS);
}

#[test]
fn a_collector_that_leads_to_a_copy_no_segment_lists_loses() {
    falls(Rules { lists_copies_first: false, ..Rules::ALL }, Scope { late_segments: true, ..MOVING }, LOSS);
}

#[test]
fn a_collector_that_takes_unlisted_packs_of_sessions_at_work_robs_them() {
    falls(Rules { waits_for_segments: false, ..Rules::ALL }, SLEEPING, &[GREEDY]);
}

#[test]
fn a_dead_pack_that_is_forgotten_before_its_segment_came_is_believed_in_again() {
    falls(Rules { minds_late_segments: false, ..Rules::ALL }, SLEEPING, LOSS);
}

/// Duplicacy 8985: of two concurrent backups of one client the first to end vouches for the other.
#[test]
fn scenario_08_a_collector_that_takes_a_machines_newer_point_for_the_end_of_its_older_session_loses() {
    let scope = Scope { writers: 2, attempts: 1, generations: 1, ..Scope::SMALLEST };
    falls(Rules { fences_by_session: false, ..Rules::ALL }, scope, LOSS);
}
