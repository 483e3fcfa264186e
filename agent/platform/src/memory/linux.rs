//! Linux: procfs, the control groups of both versions, getrlimit(2), and the allocator of glibc.

use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";

pub(super) fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kibibytes(&text, "MemAvailable:"));
    let groups = fs::read_to_string("/proc/self/cgroup").map(|text| limit_files(&text)).unwrap_or_default();
    let groups = groups.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let own = [Resource::As, Resource::Data].map(|resource| getrlimit(resource).current);
    machine.into_iter().chain(groups).chain(own.into_iter().flatten()).min()
}

pub(super) fn peak_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "neither the standard library nor rustix speaks to the allocator")]
pub(super) fn give_back() {
    // SAFETY: it takes no pointers, and may be called at any time by any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}

/// The value of a line like `VmHWM:  1234 kB`, in bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Files that may hold a limit on the memory of the groups in `/proc/self/cgroup`, and of the groups above them.
fn limit_files(text: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => (Path::new(CGROUPS).to_path_buf(), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let groups = Path::new(group.trim_start_matches('/')).ancestors();
        files.extend(groups.map(|group| root.join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_looked_for_in_both_kinds_of_groups_and_above_them() {
        let files = limit_files("12:cpu,cpuacct:/a\n4:memory:/job/7\n0::/user.slice\n");
        let expected =
            ["memory/job/7/memory.limit_in_bytes", "memory/job/memory.limit_in_bytes", "memory/memory.limit_in_bytes"];
        let expected = expected.into_iter().chain(["user.slice/memory.max", "memory.max"]);
        assert_eq!(files, expected.map(|path| Path::new(CGROUPS).join(path)).collect::<Vec<_>>());
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn what_was_freed_in_small_pieces_is_given_back() {
        let resident = || kibibytes(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS:");
        // On a thread of its own, as the engine's work is; what it keeps to the end holds the rest in place.
        let kept = std::thread::spawn(|| {
            let mut pieces: Vec<Vec<u8>> = (0..65_536).map(|_| vec![1; 1024]).collect();
            pieces.split_off(65_535)
        });
        let kept = kept.join();
        let before = resident();
        super::give_back();
        let after = resident();
        assert!(before.zip(after).is_some_and(|(before, after)| before > after + (32 << 20)), "{before:?} {after:?}");
        drop(kept);
    }

    #[test]
    fn a_process_knows_its_peak_and_what_is_left() {
        assert!(peak_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
