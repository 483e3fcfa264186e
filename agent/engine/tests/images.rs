//! Images of disks: only what is allocated is read, and a write in place costs its block.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use support::{Bench, noise};

const BLOCK: u64 = 256 << 10;

/// A file of 10 GiB with 24 MiB of data in three places, and a stretch of zeros that somebody wrote.
fn make_image(bench: &Bench) -> File {
    let file = File::create(bench.source().join("disk")).unwrap();
    for (n, at) in [0, 3 << 30, (9 << 30) + 4096 * 5].into_iter().enumerate() {
        file.write_all_at(&noise(8 << 20, n as u64), at).unwrap();
    }
    file.write_all_at(&vec![0; 4 << 20], 5 << 30).unwrap();
    file.set_len(10 << 30).unwrap();
    file.sync_all().unwrap();
    file
}

#[test]
fn only_allocated_bytes_of_an_image_are_read_and_zeros_are_not_sent() {
    let bench = Bench::new();
    let file = make_image(&bench);
    let report = bench.run(&bench.options()).unwrap();
    assert_eq!(report.totals.bytes, 10 << 30);
    assert!(report.totals.bytes_read <= file.metadata().unwrap().blocks() * 512, "{:?}", report.totals);
    assert_eq!(report.totals.bytes_new, 24 << 20, "zeros are holes");
    // The file is far too long to compare in memory.
    let restored = File::open(bench.restored(&[]).join("disk")).unwrap();
    assert_eq!(restored.metadata().unwrap().len(), 10 << 30);
    let (mut a, mut b) = (vec![0; 9 << 20], vec![0; 9 << 20]);
    let file = File::open(bench.source().join("disk")).unwrap();
    for at in [0, 3 << 30, 5 << 30, 9 << 30] {
        file.read_exact_at(&mut a, at).unwrap();
        restored.read_exact_at(&mut b, at).unwrap();
        assert!(a == b, "at {at}");
    }
}

#[test]
fn a_write_in_place_costs_the_blocks_it_touches() {
    let bench = Bench::new();
    let file = make_image(&bench);
    bench.run(&bench.options()).unwrap();
    let before = bench.stored_bytes();
    for n in 0..5 {
        file.write_all_at(&noise(4096, 90 + n), (3 << 30) + n * (1 << 20) + 8192).unwrap();
    }
    let report = bench.run(&bench.options()).unwrap();
    assert_eq!(report.totals.bytes_new, 5 * BLOCK);
    let added = bench.stored_bytes() - before;
    assert!(added < 5 * BLOCK + (160 << 10), "{added} bytes");
}
