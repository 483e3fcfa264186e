//! A run that is limited to a share of the processors, by what the system counts.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::backup::{BackupOptions, CpuLimit, Executor};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use support::{Bench, noise, write};

/// Processor time of this process so far. A test of nextest has a process of its own.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of all, in hundredths of a second.
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_run_limited_to_a_tenth_of_the_processors_takes_no_more_and_backs_up_all_the_same() {
    let bench = Bench::new();
    for n in 0..40 {
        write(&bench.source().join(format!("text{n}")), format!("line {n} of some length\n").repeat(20_000).as_bytes());
        write(&bench.source().join(format!("noise{n}")), &noise(300_000, n));
    }
    let options = BackupOptions {
        executor: Executor::Threads { workers: 2, uploads: 1 },
        cpu: Some(CpuLimit::new(|| Some(10))),
        ..bench.options()
    };
    let (begun, before) = (Instant::now(), processor_time());
    bench.run(&options).unwrap();
    let (passed, taken) = (begun.elapsed(), processor_time() - before);
    let share = passed.mul_f64(0.1 * available_parallelism().unwrap().get() as f64);
    // What is not paced: opening, the last objects, and one unit of work for each thread.
    assert!(taken <= share + Duration::from_millis(150), "{taken:?} in {passed:?}, whose tenth is {share:?}");
    assert!(passed > Duration::from_millis(300), "{passed:?}: too little to do for a claim");
    bench.assert_restores_the_source();
}
