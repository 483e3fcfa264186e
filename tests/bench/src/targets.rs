//! What we want to reach, each a ratio of medians of one run, or a bound on memory or objects.
//!
//! **Invariant**: a target that is missed is printed with its figure like one that is met; one whose program is not
//! installed says so.

#![expect(clippy::print_stdout, reason = "the table is the product of this program")]

use crate::measure::{Sample, Samples};
use crate::table::peak_mib;

/// What a target compares.
enum Beside {
    /// Our seconds with those of this program or bound.
    Time(&'static str),
    /// Our seconds with those of the quickest peer.
    QuickestPeer,
    /// The bytes that were added with those of this peer.
    Bytes(&'static str),
    /// The bytes that were added with those of the thriftiest peer.
    FewestBytes,
    /// Our peak memory, in MiB.
    Peak,
    /// Our objects.
    Objects,
    /// Our seconds.
    Seconds,
    /// Our seconds with our own of another operation.
    Operation(&'static str),
}

struct Target(&'static str, &'static str, Beside, f64);

const TARGETS: &[Target] = &[
    Target("kernel", "first", Beside::Time("bupstash"), 0.75),
    Target("kernel", "first", Beside::Time("restic"), 0.33),
    Target("kernel", "first", Beside::Time("tar|zstd"), 1.4),
    Target("kernel", "first", Beside::Bytes("bupstash"), 1.0),
    Target("kernel", "first", Beside::Peak, 100.0),
    Target("kernel", "unchanged", Beside::Time("bupstash"), 0.6),
    Target("kernel", "unchanged", Beside::Time("restic"), 0.2),
    Target("kernel", "unchanged", Beside::Peak, 100.0),
    Target("kernel", "next", Beside::Time("bupstash"), 0.5),
    Target("kernel", "next", Beside::FewestBytes, 1.0),
    Target("kernel", "next", Beside::Peak, 100.0),
    Target("kernel", "restore", Beside::Time("bupstash"), 0.75),
    Target("kernel", "restore", Beside::Time("cp -a"), 0.9),
    Target("kernel", "restore", Beside::Peak, 100.0),
    Target("kernel", "check", Beside::Time("restic"), 0.8),
    Target("kernel", "check", Beside::Peak, 100.0),
    Target("small", "first", Beside::QuickestPeer, 0.6),
    Target("small", "unchanged", Beside::Time("find"), 2.0),
    Target("small", "restore", Beside::QuickestPeer, 0.7),
    Target("small", "first", Beside::Peak, 120.0),
    Target("small", "unchanged", Beside::Peak, 120.0),
    Target("small", "restore", Beside::Peak, 120.0),
    Target("small", "first", Beside::Objects, 600.0),
    Target("random", "first", Beside::Time("b3sum+cp+sync"), 1.3),
    Target("image", "writes", Beside::QuickestPeer, 0.5),
    Target("image", "writes", Beside::FewestBytes, 1.5),
    Target("points", "prune", Beside::Seconds, 10.0),
    Target("points", "backup beside", Beside::Operation("backup alone"), 1.1),
];

/// Prints every target of the workloads that ran.
pub(crate) fn print(samples: &Samples) {
    println!("\n{:<8} {:<12} {:<28} {:>8} {:>8}", "workload", "operation", "target", "at most", "is");
    for target in TARGETS {
        let Some(ours) = samples.get(target.0, target.1, "nightkeep") else { continue };
        let (name, is) = target.measured(samples, ours);
        let verdict = match is {
            Some(is) if is <= target.3 => format!("{is:>8.2}  met"),
            Some(is) => format!("{is:>8.2}  MISSED"),
            None => "       -  not installed".into(),
        };
        println!("{:<8} {:<12} {:<28} {:>8.2} {verdict}", target.0, target.1, name, target.3);
    }
}

impl Target {
    fn measured(&self, samples: &Samples, ours: &Sample) -> (String, Option<f64>) {
        let seconds = |other: Option<f64>| Some(ours.seconds()? / other?);
        let bytes = |other: Option<u64>| Some(ours.added? as f64 / other.filter(|bytes| *bytes > 0)? as f64);
        match self.2 {
            Beside::Time(program) => {
                let other = samples.get(self.0, self.1, program).and_then(Sample::seconds);
                (format!("wall time / {program}"), seconds(other))
            }
            Beside::QuickestPeer => {
                let peers = samples.peers(self.0, self.1).filter_map(|(_, peer)| peer.seconds());
                ("wall time / quickest peer".into(), seconds(peers.min_by(f64::total_cmp)))
            }
            Beside::Bytes(program) => {
                let other = samples.get(self.0, self.1, program).and_then(|peer| peer.added);
                (format!("bytes added / {program}"), bytes(other))
            }
            Beside::FewestBytes => (
                "bytes added / fewest".into(),
                bytes(samples.peers(self.0, self.1).filter_map(|(_, peer)| peer.added).min()),
            ),
            Beside::Peak => ("peak memory, MiB".into(), Some(peak_mib(ours))),
            Beside::Seconds => ("wall time, s".into(), ours.seconds()),
            Beside::Operation(operation) => {
                let other = samples.get(self.0, operation, "nightkeep").and_then(Sample::seconds);
                (format!("wall time / {operation}"), seconds(other))
            }
            Beside::Objects => ("objects".into(), ours.stored.map(|(_, objects)| objects as f64)),
        }
    }
}
