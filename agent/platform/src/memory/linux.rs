//! Linux: procfs, the control groups of both versions, getrlimit(2).

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

    #[test]
    fn a_process_knows_its_peak_and_what_is_left() {
        assert!(peak_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
