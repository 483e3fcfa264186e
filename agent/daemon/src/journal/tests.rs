#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its filesystem has failed")]
//! The keeper's claims, on filesystems of their own. These tests need root, as the journal does.

use chrono::{DateTime, TimeDelta, Utc};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::id::PointId;
use nightkeep_wire::PlanId;
use uuid::Uuid;

use super::{How, Keeper, SourceId};
use crate::config::Jobs;

#[path = "../../../platform/tests/support/filesystem.rs"]
mod filesystem;

use filesystem::Filesystem;

struct Kept {
    filesystem: Filesystem,
    keeper: Keeper,
    plan: PlanId,
}

fn at(day: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(day)
}

fn jobs() -> Jobs {
    Jobs { journal_overlook: filesystem::hidden_processes().overlook, ..Jobs::default() }
}

/// Linux needs none.
fn memory() -> std::path::PathBuf {
    "/nonexistent".into()
}

impl Kept {
    fn new() -> Self {
        let filesystem = Filesystem::tmpfs().unwrap();
        let keeper = Keeper::new(filesystem.path().to_path_buf(), memory(), &jobs());
        Self { filesystem, keeper, plan: PlanId::from_uuid(Uuid::now_v7()) }
    }

    fn source(&self, patterns: &[&str]) -> SourceId {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let source = SourceOptions {
            machine_root: self.filesystem.path().to_path_buf(),
            roots: vec![Vec::new()],
            excludes: Excludes::new(&patterns).unwrap(),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        SourceId::of(&source, &patterns)
    }

    /// Begins a run and has it end with a point; answers what it was told.
    fn run(&self, day: i64, patterns: &[&str]) -> Result<(), String> {
        let begun = self.keeper.begin(self.plan, self.source(patterns), at(day));
        // No engine is at work here, so what is told is all there is to see.
        let told = if begun.changed.is_some() { Ok(()) } else { Err(begun.reason.clone()) };
        self.keeper.finish(&begun, PointId([day as u8; 16]));
        told
    }
}

#[test]
fn the_first_run_is_full_and_the_next_goes_by_the_journal() {
    let kept = Kept::new();
    assert_eq!(kept.run(0, &[]), Err("the first run since the agent started".to_owned()));
    assert!(kept.keeper.last().unwrap().starts_with("full: the first run"));
    assert_eq!(kept.run(1, &[]), Ok(()));
    let other = Kept { plan: PlanId::from_uuid(Uuid::now_v7()), ..kept };
    assert!(other.run(1, &[]).is_err(), "another plan has its own");
}

#[test]
fn another_source_is_looked_at_in_full() {
    let kept = Kept::new();
    let _ = kept.run(0, &[]);
    assert_eq!(kept.run(1, &["*.tmp"]), Err("what the plan backs up has changed".to_owned()));
    assert_eq!(kept.run(2, &["*.tmp"]), Ok(()));
}

#[test]
fn a_run_that_ends_without_a_point_leaves_the_base_where_it_was() {
    let kept = Kept::new();
    let _ = kept.run(0, &[]);
    let folder = kept.filesystem.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let count = || {
        let begun = kept.keeper.begin(kept.plan, kept.source(&[]), at(1));
        format!("{:?}", begun.changed.unwrap())
    };
    let changed = |text: &str| !text.contains("changed: {},");
    assert!(changed(&count()));
    assert!(changed(&count()), "asked for and not used is not forgotten");
    kept.run(1, &[]).unwrap();
    assert!(!changed(&count()));
}

#[test]
fn scenario_23_a_restarted_agent_and_a_journal_that_ended_look_at_everything() {
    let kept = Kept::new();
    let _ = kept.run(0, &[]);
    let restarted = Keeper::new(kept.filesystem.path().to_path_buf(), memory(), &jobs());
    assert!(restarted.begin(kept.plan, kept.source(&[]), at(1)).changed.is_none());
    assert_eq!(kept.run(1, &[]), Ok(()));
    // Its descriptor is closed with the last one who holds it; the collector lets go of it by itself.
    kept.keeper.lock().journal = None;
    assert_eq!(kept.run(2, &[]), Err("the first run since the agent started".to_owned()));
    assert_eq!(kept.run(3, &[]), Ok(()), "and goes by the new journal");
}

#[test]
fn everything_is_looked_at_once_a_week_and_when_the_clock_was_set_back() {
    let kept = Kept::new();
    let _ = kept.run(100, &[]);
    assert_eq!(kept.run(106, &[]), Ok(()));
    let weekly = Err("everything is looked at once a week".to_owned());
    let mut base = kept.keeper.lock().bases.get(&kept.plan).cloned().unwrap();
    base.full_at = at(100);
    kept.keeper.lock().bases.insert(kept.plan, base);
    assert_eq!(kept.run(107, &[]), weekly);
    assert_eq!(kept.run(99, &[]), weekly);
}

#[test]
fn switched_off_it_is_off_and_says_so() {
    let kept = Kept::new();
    let off = Keeper::new(kept.filesystem.path().to_path_buf(), memory(), &Jobs { journal: false, ..jobs() });
    let begun = off.begin(kept.plan, kept.source(&[]), at(0));
    let how = off.finish(&begun, PointId([0; 16]));
    assert_eq!(how, How::Full { reason: "the journal is switched off in the configuration".to_owned() });
}
