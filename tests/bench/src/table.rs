//! Prints what was measured: medians, with the spread where there were several rounds.

#![expect(clippy::print_stdout, reason = "the table is the product of this program")]

use crate::measure::{Sample, Samples};

pub(crate) fn print(samples: &Samples) {
    println!(
        "\n{:<8} {:<12} {:<14} {:>8} {:>15} {:>8} {:>8} {:>9} {:>8} {:>8}  note",
        "workload",
        "operation",
        "program",
        "wall s",
        "min-max s",
        "cpu s",
        "peak MiB",
        "added MiB",
        "objects",
        "/ ours"
    );
    for (row, sample) in samples.iter() {
        let ours = samples.get(row.workload, row.operation, "nightkeep").and_then(Sample::seconds);
        let seconds = sample.seconds().unwrap_or_default();
        let ratio = ours.map_or(String::new(), |ours| format!("{:.2}", seconds / ours));
        let added = sample.added.map_or(String::new(), |bytes| format!("{:.1}", bytes as f64 / 1_048_576.0));
        let objects = sample.stored.map_or(String::new(), |(_, objects)| objects.to_string());
        println!(
            "{:<8} {:<12} {:<14} {:>8.2} {:>15} {:>8.2} {:>8.0} {:>9} {:>8} {:>8}  {}",
            row.workload,
            row.operation,
            row.program,
            seconds,
            spread(sample),
            sample.median(|cost| cost.cpu_seconds).unwrap_or_default(),
            peak_mib(sample),
            added,
            objects,
            ratio,
            sample.note,
        );
    }
}

fn spread(sample: &Sample) -> String {
    let seconds = sample.costs.iter().map(|cost| cost.seconds);
    let (least, most) = seconds.fold((f64::MAX, 0.0_f64), |(a, b), s| (a.min(s), b.max(s)));
    if sample.costs.len() > 1 { format!("{least:.2}-{most:.2}") } else { String::new() }
}

/// The largest of all rounds: a bound on memory holds always.
pub(crate) fn peak_mib(sample: &Sample) -> f64 {
    sample.costs.iter().map(|cost| cost.peak_kib).max().unwrap_or_default() as f64 / 1024.0
}
