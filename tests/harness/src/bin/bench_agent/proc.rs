//! What the kernel knows of a running process: `/proc/PID` (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The kernel's `USER_HZ`, a hundred a second on every machine that we build for.
const TICK: Duration = Duration::from_millis(10);

/// A process that is watched.
pub(crate) struct Watched(u32);

/// The counters of a process at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) at: Option<Instant>,
    /// Processor time of all threads that are or were, to the kernel's tick (10 ms).
    ticks: Duration,
    /// By thread: processor time to the nanosecond, and how often it went to sleep or was sent to.
    threads: BTreeMap<u32, Thread>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Thread {
    cpu: Duration,
    voluntary: u64,
    involuntary: u64,
}

/// Memory of a process at one moment, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// All that is in memory, the program's own pages included.
    pub(crate) resident: u64,
    /// Of it what is no file's.
    pub(crate) anonymous: u64,
}

/// What happened between two moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Work {
    pub(crate) elapsed: Duration,
    /// The larger of the two ways in which the kernel counts.
    pub(crate) cpu: Duration,
    /// Threads that had slept and ran again.
    pub(crate) wakes: u64,
    /// Threads that were made to wait for others.
    pub(crate) preempted: u64,
}

impl Watched {
    /// The process with this number.
    pub(crate) fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// Its counters, now.
    pub(crate) fn counters(&self) -> Result<Counters> {
        let stat = self.read("stat")?;
        let ticks = ticks_of(&stat).with_context(|| format!("not a line of /proc/PID/stat: {stat}"))?;
        let mut counters =
            Counters { at: Some(Instant::now()), ticks: TICK * u32::try_from(ticks)?, threads: BTreeMap::new() };
        for entry in fs::read_dir(self.path("task"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // One that ends while we look is counted by its ticks.
            let files = ["schedstat", "status"].map(|file| self.read(&format!("task/{name}/{file}")).ok());
            let (Ok(id), [Some(sched), Some(status)]) = (name.parse(), files) else { continue };
            let nanoseconds = sched.split(' ').next().and_then(|word| word.parse().ok());
            let count = |field| number(&status, field).unwrap_or_default();
            counters.threads.insert(
                id,
                Thread {
                    cpu: Duration::from_nanos(nanoseconds.unwrap_or_default()),
                    voluntary: count("voluntary_ctxt_switches:"),
                    involuntary: count("nonvoluntary_ctxt_switches:"),
                },
            );
        }
        Ok(counters)
    }

    /// Its memory, now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = self.read("status")?;
        let bytes = |field| number(&status, field).map(|kib| kib * 1024).with_context(|| format!("no {field}"));
        Ok(Memory { resident: bytes("VmRSS:")?, anonymous: bytes("RssAnon:")? })
    }

    /// Its open files.
    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(self.path("fd"))?.count())
    }

    /// Its threads, by name.
    pub(crate) fn threads(&self) -> Result<BTreeMap<String, usize>> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(self.path("task"))? {
            let name = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
            *names.entry(name.trim().to_owned()).or_default() += 1;
        }
        Ok(names)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

impl Counters {
    /// What happened from `before` to these.
    pub(crate) fn since(&self, before: &Self) -> Work {
        let (mut cpu, mut wakes, mut preempted) = (Duration::ZERO, 0, 0);
        for (id, now) in &self.threads {
            let then = before.threads.get(id).copied().unwrap_or_default();
            cpu += now.cpu.saturating_sub(then.cpu);
            wakes += now.voluntary.saturating_sub(then.voluntary);
            preempted += now.involuntary.saturating_sub(then.involuntary);
        }
        let elapsed = self.at.zip(before.at).map(|(now, then)| now.duration_since(then));
        Work {
            elapsed: elapsed.unwrap_or_default(),
            cpu: cpu.max(self.ticks.saturating_sub(before.ticks)),
            wakes,
            preempted,
        }
    }
}

/// Bytes that went over the loopback device of this network namespace, with all headers.
pub(crate) fn loopback_bytes() -> Result<u64> {
    let table = fs::read_to_string("/proc/self/net/dev")?;
    let line = table.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let received = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
    received.context("no loopback device in /proc/self/net/dev")
}

/// Fields 14 and 15, user and system mode, counted behind the name, which may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The number of a field of a `status` file.
fn number(status: &str, field: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Watched, number, ticks_of};

    #[test]
    fn a_name_with_blanks_and_brackets_moves_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 6 0 100 1 1";
        assert_eq!(ticks_of(stat), Some(200));
        assert_eq!(ticks_of("7 (a) S 1"), None);
        assert_eq!(number("VmRSS:\t  2048 kB\nRssAnon:\t 1 kB\n", "RssAnon:"), Some(1));
    }

    #[test]
    fn work_and_sleep_of_this_process_are_seen() -> anyhow::Result<()> {
        let me = Watched::new(std::process::id());
        let before = me.counters()?;
        let begun = Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed() < Duration::from_millis(200) {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let work = me.counters()?.since(&before);
        assert!(work.cpu >= Duration::from_millis(50), "{work:?}");
        assert!(work.cpu <= work.elapsed * 64, "{work:?}");
        assert!(work.wakes >= 20, "{work:?}");
        assert!(me.memory()?.resident >= me.memory()?.anonymous && me.memory()?.anonymous > 0);
        assert!(me.open_files()? >= 3 && me.threads()?.values().sum::<usize>() >= 1);
        Ok(())
    }
}
