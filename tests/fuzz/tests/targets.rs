//! Every target on its corpus and on changes of it, for five seconds, with memory counted.
//!
//! `NIGHTKEEP_FUZZ_SECONDS` sets another time, `NIGHTKEEP_FUZZ_SEED` another seed, and `NIGHTKEEP_UPDATE_CORPUS=1`
//! writes the corpus anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its corpus has failed")]
#![expect(clippy::print_stdout, reason = "a run tells its seed")]
#![expect(unsafe_code, reason = "an allocator that counts; it hands every call on")]

use nightkeep_fuzz::{Limit, TARGETS, Target, run, target};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What reading an input of at most 64 KiB may hold at one time: a 4 MiB block, its frame, and room.
const HELD_BYTES_MAX: usize = 48 << 20;

/// Counts what each thread holds, and the most it ever held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|held| {
            held.set(held.get().saturating_add(layout.size()));
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        });
        // SAFETY: the caller's layout is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(layout.size())));
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn corpus_of(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn fuzz(name: &str) {
    let target = target(name).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(corpus_of(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let seed = number("NIGHTKEEP_FUZZ_SEED").unwrap_or_else(now);
    let seconds = number("NIGHTKEEP_FUZZ_SECONDS").unwrap_or(5);
    // Keys are derived once, outside what is counted.
    corpus.iter().for_each(|input| _ = (target.check)(input));
    let before = HELD.get();
    PEAK.set(before);
    let outcome = run(target, &corpus, seed, Limit::Time(Duration::from_secs(seconds)));
    let peak = PEAK.get().saturating_sub(before);
    println!("{name}: {} inputs in {seconds} s from seed {seed}, {peak} bytes at most", outcome.inputs);
    if let Some((input, story)) = outcome.failure {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.failed"));
        fs::write(&file, &input).unwrap();
        unreachable!("{name}, seed {seed}, input {}: {story}; the bytes are in {}", outcome.inputs, file.display());
    }
    assert!(peak <= HELD_BYTES_MAX, "{name}, seed {seed}: {peak} bytes held");
}

macro_rules! targets {
    ($($function:ident $name:literal)*) => {
        $(#[test]
        fn $function() {
            fuzz($name);
        })*

        #[test]
        fn every_target_is_tested() {
            let tested: BTreeSet<&str> = [$($name),*].into();
            assert_eq!(tested, TARGETS.iter().map(|target| target.name).collect());
        }
    };
}

targets! {
    object_frame "object-frame"
    config "config"
    key_slot "key-slot"
    machine_record "machine-record"
    epoch "epoch"
    session_record "session-record"
    recovery_point "recovery-point"
    partial_point "partial-point"
    retention_record "retention-record"
    generation "generation"
    fence "fence"
    decision "decision"
    index_segment "index-segment"
    pack_header "pack-header"
    pack_footer "pack-footer"
    pack_block "pack-block"
    pack_end "pack-end"
    hunk "hunk"
    hunk_list "hunk-list"
    content_list "content-list"
    references_leaf "references-leaf"
    references_root "references-root"
    object_name "object-name"
    key_text "key-text"
    enrolment_token "enrolment-token"
    schedule "schedule"
    exclude_patterns "exclude-patterns"
    store_location "store-location"
    wire_enrolment "wire-enrolment"
    wire_desired "wire-desired"
    wire_report "wire-report"
    wire_gateway "wire-gateway"
    control_line "control-line"
    outbox "outbox"
    agent_config "agent-config"
    usn "usn"
}

/// Texts that are refused on purpose: what is refused next to what is read is worth changing, too.
const REFUSED: &[(&str, usize)] = &[("enrolment-token", 1), ("enrolment-token", 2)];

#[test]
fn the_corpus_is_what_the_writers_write_and_every_seed_is_read() {
    for target in TARGETS {
        let folder = corpus_of(target);
        for (at, seed) in (target.seeds)().into_iter().enumerate() {
            let file = folder.join(format!("seed-{at}"));
            if number("NIGHTKEEP_UPDATE_CORPUS") == Some(1) {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&file, &seed).unwrap();
            }
            let committed = fs::read(&file).unwrap_or_default();
            let remedy = "run with NIGHTKEEP_UPDATE_CORPUS=1 and commit the corpus";
            assert!(committed == seed, "{} is not what the writer writes: {remedy}", file.display());
            let is_read = (target.check)(&seed);
            assert_eq!(is_read, !REFUSED.contains(&(target.name, at)), "{}, seed {at}", target.name);
        }
    }
}
