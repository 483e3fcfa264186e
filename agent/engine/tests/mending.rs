//! Damage at rest: found by a scrub, named by a check, withdrawn by a repair, healed by the next backup.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::check::{self, CheckOptions, CheckReport, Part};
use nightkeep_engine::progress::{FindingKind, Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions, RestoreReport};
use nightkeep_vault::codec::Time;
use nightkeep_vault::record::point::Point;
use nightkeep_vault::record::quarantine::Verdict;
use nightkeep_vault::repair::{self, Repaired};
use nightkeep_vault::scrub::{self, Scrub, ScrubOptions};
use nightkeep_vault::store::{ObjectName, Store};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use support::{Bench, Files, noise, read_all, write};

/// Small files that fill more than one bundle, a large one, and a second point that shares most of the first.
fn two_points() -> Bench {
    let bench = Bench::new();
    for n in 0..150u64 {
        write(&bench.source().join(format!("folder-{}/file-{n}", n % 5)), &noise(20_000 + n as usize, n));
    }
    write(&bench.source().join("large"), &noise(3 << 20, 99));
    bench.run(&bench.options()).unwrap();
    write(&bench.source().join("folder-1/new"), &noise(50_000, 1000));
    bench.run(&bench.options()).unwrap();
    bench
}

fn names(bench: &Bench, prefix: &str) -> Vec<ObjectName> {
    let store: &dyn Store = &bench.store;
    store.list_all(prefix).unwrap().into_iter().map(|info| info.name).collect()
}

fn flip(bench: &Bench, name: &ObjectName, part: f64) {
    bench.store.damage(name, |bytes| {
        let at = (bytes.len() as f64 * part) as usize;
        bytes[at] ^= 0x10;
    });
}

fn scrubbed(bench: &Bench) -> Scrub {
    scrub::scrub(&bench.store, &ScrubOptions { workers: 2, ..ScrubOptions::default() }, &|_| true).unwrap()
}

fn checked(bench: &Bench, read_data: bool) -> CheckReport {
    check::run(&bench.vault, CheckOptions { read_data, workers: 2 }, &Silent, &Stop::new()).unwrap()
}

fn repaired(bench: &Bench, scrub: Option<&Scrub>) -> Repaired {
    let found = scrub.map(Scrub::verdicts);
    let plan = repair::plan(&bench.vault, found.as_deref()).unwrap();
    let done = repair::execute(&bench.vault, &plan, Time::default()).unwrap();
    let again = repair::plan(&bench.vault, found.as_deref()).unwrap();
    assert!(again.is_empty(), "a repair that is done twice does nothing: {again:?}");
    done
}

fn restore(bench: &Bench, point: &Point) -> (RestoreReport, Files) {
    let target: PathBuf = bench.dir.path().join("target");
    let _ = fs::remove_dir_all(&target);
    let options = RestoreOptions { target: target.clone(), include: Vec::new(), overwrite: false, workers: 2 };
    let report = restore::run(&bench.vault, point, &options, &Silent, &Stop::new()).unwrap();
    (report, read_all(&target))
}

/// Every file that was restored is right; answers what is missing.
fn missing(bench: &Bench, restored: &Files) -> BTreeSet<Vec<u8>> {
    let source = read_all(&bench.source());
    for (path, bytes) in restored {
        assert!(source[path] == *bytes, "{} was restored with wrong bytes", String::from_utf8_lossy(path));
    }
    source.keys().filter(|path| !restored.contains_key(*path)).cloned().collect()
}

fn named(report: &CheckReport, point: &Point) -> BTreeSet<Vec<u8>> {
    let of_point = report.affected.iter().filter(|file| file.point == point.id.to_string());
    of_point.map(|file| file.path.clone()).collect()
}

/// After a repair the next backup sends again what the machine still has, and old points have it, too.
fn assert_heals(bench: &Bench) {
    bench.run(&bench.options()).unwrap();
    let report = checked(bench, true);
    assert_eq!((report.problems, report.affected_count, report.entries_lost), (vec![], 0, 0));
    for point in bench.points() {
        let (report, files) = restore(bench, &point);
        assert_eq!(report.findings, []);
        assert!(missing(bench, &files).iter().all(|path| path.ends_with(b"new")));
    }
}

#[test]
fn scenario_14_a_flipped_bit_in_a_data_pack_is_found_by_its_name_and_healed_by_the_next_backup() {
    let bench = two_points();
    let pack = names(&bench, "p/").swap_remove(2);
    flip(&bench, &pack, 0.4);

    let scrub = scrubbed(&bench);
    assert_eq!(scrub.problems.iter().map(|problem| &problem.name).collect::<Vec<_>>(), [&pack]);
    let newest = bench.points().pop().unwrap();
    let (report, files) = restore(&bench, &newest);
    let lost = missing(&bench, &files);
    // One block of the pack is hit: a chunk of the large file, or a bundle, which holds at most 1.5 MiB of small files, 78 of
    // the 151, and the end of the large one.
    assert!((1..=79).contains(&lost.len()), "other blocks are restored: {} files are lost", lost.len());
    assert!(report.findings.iter().all(|finding| finding.kind == FindingKind::Damaged));
    let checked_before = checked(&bench, true);
    assert_eq!(named(&checked_before, &newest), lost, "the list of files is exact");
    assert_eq!(checked_before.problems.len(), 1);

    let done = repaired(&bench, Some(&scrub));
    assert_eq!((done.verdicts, done.segments), (1, 0));
    assert!(bench.store.head(&pack).unwrap().is_some(), "nothing is deleted");
    let after = checked(&bench, false);
    assert_eq!((after.problems, after.quarantined), (vec![], 1), "known damage is no new problem");
    assert_eq!(
        after.affected.len(),
        checked_before.affected.len(),
        "but what it touches is still told, block by block"
    );
    let (_, files) = restore(&bench, &newest);
    assert_eq!(missing(&bench, &files), lost, "what a withdrawn pack still gives is taken");
    assert_heals(&bench);
}

#[test]
fn scenario_15_a_flipped_bit_in_a_metadata_pack_spares_other_points_and_is_healed() {
    let bench = two_points();
    let first = bench.points().swap_remove(0);
    let second = bench.points().pop().unwrap();
    let own = second.header.meta_packs.iter().find(|pack| !first.header.meta_packs.contains(pack)).copied().unwrap();
    let name = nightkeep_vault::pack::Area::Meta.name(own);
    flip(&bench, &name, 0.3);

    let report = checked(&bench, true);
    let objects: BTreeSet<&str> = report.problems.iter().map(|problem| problem.object.as_str()).collect();
    assert!(objects.contains(name.as_str()) && objects.contains(second.name().as_str()), "{objects:?}");
    assert!(!objects.contains(first.name().as_str()), "the other point is unaffected");
    let (restored, files) = restore(&bench, &first);
    assert_eq!(restored.findings, []);
    assert_eq!(missing(&bench, &files), BTreeSet::from([b"folder-1/new".to_vec()]));

    let scrub = scrubbed(&bench);
    repaired(&bench, Some(&scrub));
    bench.run(&bench.options()).unwrap();
    let newest = bench.points().pop().unwrap();
    let (restored, files) = restore(&bench, &newest);
    assert_eq!((restored.findings, missing(&bench, &files)), (vec![], BTreeSet::new()), "the next point is whole");
}

#[test]
fn scenario_15_a_damaged_index_segment_is_rebuilt_from_the_packs() {
    let bench = two_points();
    for segment in names(&bench, "i/") {
        flip(&bench, &segment, 0.5);
    }
    let newest = bench.points().pop().unwrap();
    assert!(!checked(&bench, false).problems.is_empty());
    let done = repaired(&bench, None);
    assert!(done.segments == 1 && done.packs >= 4 && done.verdicts >= 2, "{done:?}");
    let report = checked(&bench, true);
    assert_eq!((report.problems, report.affected_count, report.unlisted_packs), (vec![], 0, 0));
    let (restored, files) = restore(&bench, &newest);
    assert_eq!((restored.findings, missing(&bench, &files)), (vec![], BTreeSet::new()));
    let next = bench.run(&bench.options()).unwrap();
    assert_eq!((next.totals.bytes_new, next.totals.bytes_read), (0, 0), "the rebuilt index counts for its machine");
}

#[test]
fn scenario_15_a_damaged_recovery_point_is_named_and_the_others_are_restored() {
    let bench = two_points();
    let first = bench.points().swap_remove(0);
    flip(&bench, bench.points().pop().unwrap().name(), 0.5);
    let report = checked(&bench, false);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.points, 1);
    let (restored, files) = restore(&bench, &first);
    assert_eq!((restored.findings.len(), missing(&bench, &files).len()), (0, 1));
}

#[test]
fn scenario_17_a_deleted_pack_is_told_by_a_listing_with_its_files_and_healed_by_the_next_backup() {
    let bench = two_points();
    let pack = names(&bench, "p/").swap_remove(1);
    bench.store.delete(&pack).unwrap();
    let newest = bench.points().pop().unwrap();
    let report = checked(&bench, false);
    assert_eq!(report.problems.iter().map(|p| p.object.as_str()).collect::<Vec<_>>(), [pack.as_str()]);
    let (_, files) = restore(&bench, &newest);
    assert_eq!(named(&report, &newest), missing(&bench, &files), "the list of files is exact");
    assert_eq!(scrubbed(&bench).problems, [], "bytes alone do not tell that an object is missing");

    let plan = repair::plan(&bench.vault, None).unwrap();
    assert_eq!(plan.verdicts, [(pack, Verdict::Missing)]);
    repaired(&bench, None);
    assert_heals(&bench);
}

#[test]
fn a_pack_that_was_put_back_leaves_quarantine() {
    let bench = two_points();
    let pack = names(&bench, "p/").swap_remove(0);
    let store: &dyn Store = &bench.store;
    let bytes = store.get(&pack, 1 << 30).unwrap();
    bench.store.delete(&pack).unwrap();
    repaired(&bench, None);
    assert_eq!(checked(&bench, false).quarantined, 1);
    bench.store.put_create(&pack, &bytes).unwrap();
    repaired(&bench, Some(&scrubbed(&bench)));
    let report = checked(&bench, true);
    assert_eq!((report.quarantined, report.problems, report.affected_count), (0, vec![], 0));
}

#[test]
fn a_scrub_goes_on_where_it_ended() {
    let bench = two_points();
    let damaged = names(&bench, "s/").pop().unwrap();
    flip(&bench, &damaged, 0.9);
    let whole = scrubbed(&bench);
    assert_eq!(whole.problems.len(), 1);
    assert_eq!(whole.objects as usize, names(&bench, "").len());
    let (mut cursor, mut objects, mut problems) = (None, 0, Vec::new());
    for _ in 0..whole.objects {
        let options = ScrubOptions { workers: 1, after: cursor.clone(), bytes_max: Some(1) };
        let part = scrub::scrub(&bench.store, &options, &|_| true).unwrap();
        objects += part.objects;
        problems.extend(part.problems);
        cursor = part.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((objects, problems, cursor), (whole.objects, whole.problems, None));
}

#[test]
fn parts_of_a_check_read_every_pack_once() {
    let bench = two_points();
    let all = checked(&bench, true);
    let read = |part| {
        let options = CheckOptions { read_data: true, workers: 1 };
        check::run_part(&bench.vault, options, part, &Silent, &Stop::new()).unwrap().bytes_read
    };
    let parts: u64 = (1..=4).map(|number| read(Part::OneOf { number, parts: 4 })).sum();
    assert_eq!(parts, all.bytes_read);
    assert_eq!(read(Part::Sample { per_million: 1_000_000, seed: 7 }), all.bytes_read);
    assert!(read(Part::Sample { per_million: 100_000, seed: 7 }) < all.bytes_read);
}
