//! Snapshots of logical volumes.
//!
//! The kernel freezes a mounted filesystem for the moment in which LVM makes its snapshot, so its journal is written out and the
//! snapshot needs no repair; it is mounted without one, as it is read-only down to the device.

use std::path::{Path, PathBuf};

use super::entry::{self, Entry, TAG};
use super::machine::{Access, Mapped, System};
use super::{Run, WhyLive, failed};
use crate::mounts::Mount;
use crate::volume_snapshot::program::RunError;

/// Room for what is overwritten meanwhile, as a part of the volume.
const ROOM_PART: u64 = 5;
/// And in bytes at least, where the volume itself is not smaller.
const ROOM_BYTES: u64 = 256 << 20;
/// With less room than this a snapshot is not worth beginning.
const ROOM_BYTES_MIN: u64 = 32 << 20;
/// A fuller thin pool is not given more to keep: when it is full, every volume in it stops.
const POOL_PERCENT_MAX: f64 = 90.0;

/// A logical volume as LVM tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    group: String,
    name: String,
    bytes: u64,
    free_bytes: u64,
    /// The pool of a thin volume.
    pool: Option<String>,
}

/// Whether a snapshot could be made.
pub(super) fn prospect(system: &dyn System, mapped: &Mapped) -> Result<(), WhyLive> {
    room(system, &facts(system, mapped)?).map(drop)
}

/// Makes a snapshot and mounts it; answers where.
pub(super) fn take(run: &mut Run, mount: &Mount, mapped: &Mapped) -> Result<PathBuf, WhyLive> {
    let facts = facts(run.system.as_ref(), mapped)?;
    let room = room(run.system.as_ref(), &facts)?;
    let (name, at) = run.next_place().map_err(|error| failed(&error, "look at the agent's state folder"))?;
    let made =
        Entry::Lvm { group: facts.group.clone(), name: name.clone(), origin: facts.name.clone(), at: at.clone() };
    run.note(made).map_err(|error| failed(&error, "look at the agent's state folder"))?;

    let origin = format!("{}/{}", facts.group, facts.name);
    let size = room.map(|bytes| format!("{bytes}b"));
    let mut arguments = vec!["--yes", "--snapshot", "--permission", "r", "--addtag", TAG];
    arguments.extend(["--setactivationskip", "n", "--name", name.as_str()]);
    if let Some(size) = &size {
        // Its monitoring would start LVM's daemon among our processes. That of a thin pool is not ours to end.
        arguments.extend(["--monitor", "n", "--size", size.as_str()]);
    }
    arguments.push(&origin);
    entry::run(run.system.as_ref(), "lvcreate", &arguments)
        .map_err(|error| failed(&error, "try `lvcreate --snapshot` by hand"))?;
    let device = Path::new("/dev").join(&facts.group).join(&name);
    let mounted = run.system.mount(&device, &at, &mount.filesystem, Access::ReadOnly, options(&mount.filesystem));
    mounted.map_err(|error| {
        let words = format!("the snapshot of {origin} cannot be mounted: {error}");
        failed(&words, "check the filesystem, or look at the kernel's messages")
    })?;
    Ok(at)
}

/// Why the snapshot is worth nothing any more; none while it is.
pub(super) fn broken(system: &dyn System, group: &str, name: &str) -> Option<String> {
    let snapshot = format!("{group}/{name}");
    let fields = ["--noheadings", "--separator", "|", "-o", "lv_snapshot_invalid,data_percent,lv_attr", &snapshot];
    let listed = match entry::run(system, "lvs", &fields) {
        Ok(listed) => listed,
        Err(error) => return Some(format!("the snapshot {snapshot} cannot be looked at: {error}")),
    };
    let mut words = listed.trim().split('|');
    let (invalid, percent) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let attributes = words.next().unwrap_or_default();
    // Fifth: I and S mark one that lost its room.
    let lost = matches!(attributes.as_bytes().get(4), Some(b'I' | b'S')) || invalid.contains("invalid");
    let full = percent.parse::<f64>().is_ok_and(|percent| percent >= 100.0) && attributes.starts_with(['s', 'S']);
    (lost || full).then(|| {
        format!("the snapshot {snapshot} was filled up by changes while it was read, and lost what it had not read")
    })
}

/// XFS knows its volume by a number that its snapshot bears, too.
fn options(filesystem: &str) -> &'static str {
    match filesystem {
        "xfs" => "nouuid,norecovery",
        "ext3" | "ext4" => "noload",
        _ => "",
    }
}

fn facts(system: &dyn System, mapped: &Mapped) -> Result<Facts, WhyLive> {
    let device = Path::new("/dev/mapper").join(&mapped.name);
    let mut arguments: Vec<&std::ffi::OsStr> = Vec::new();
    let fields = "vg_name,lv_name,lv_size,vg_free,lv_attr,pool_lv";
    let words = ["--noheadings", "--nosuffix", "--units", "b", "--separator", "|", "-o", fields];
    arguments.extend(words.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    arguments.push(device.as_os_str());
    let listed = system.run("lvs", &arguments).map_err(|error| match error {
        RunError::NotThere => WhyLive::Unavailable {
            reason: "LVM's programs are not installed".to_owned(),
            remedy: "install lvm2".to_owned(),
        },
        RunError::Failed(words) => failed(&words, "look at the volume with `lvs`"),
    })?;
    parse(&listed).ok_or_else(|| failed(&format!("`lvs` said {:?}", listed.trim()), "look at the volume with `lvs`"))
}

fn parse(listed: &str) -> Option<Facts> {
    let mut words = listed.trim().split('|');
    let (group, name) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (bytes, free_bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (attributes, pool) = (words.next()?, words.next()?);
    // The first letter tells a thin volume; one with a cache names a pool, too.
    let pool = (attributes.starts_with('V') && !pool.is_empty()).then(|| pool.to_owned());
    (!group.is_empty() && !name.is_empty()).then_some(Facts { group, name, bytes, free_bytes, pool })
}

/// How large a snapshot would be, in bytes; one of a thin volume has no size. Or why there is no room.
fn room(system: &dyn System, facts: &Facts) -> Result<Option<u64>, WhyLive> {
    if let Some(pool) = &facts.pool {
        return pool_has_room(system, &format!("{}/{pool}", facts.group)).map(|()| None);
    }
    let wanted = (facts.bytes / ROOM_PART).max(ROOM_BYTES.min(facts.bytes));
    let least = ROOM_BYTES_MIN.min(wanted);
    if facts.free_bytes < least {
        let (group, free) = (&facts.group, facts.free_bytes >> 20);
        return Err(WhyLive::Unavailable {
            reason: format!("the volume group {group} has {free} MiB free for a snapshot of {}", facts.name),
            remedy: format!("leave at least {} MiB of it free, better {}", least >> 20, wanted >> 20),
        });
    }
    Ok(Some(wanted.min(facts.free_bytes)))
}

fn pool_has_room(system: &dyn System, pool: &str) -> Result<(), WhyLive> {
    let arguments = ["--noheadings", "--separator", "|", "-o", "data_percent,metadata_percent", pool];
    let listed =
        entry::run(system, "lvs", &arguments).map_err(|error| failed(&error, "look at the pool with `lvs`"))?;
    let fullest = listed.trim().split('|').filter_map(|word| word.parse::<f64>().ok()).fold(0.0, f64::max);
    if fullest > POOL_PERCENT_MAX {
        return Err(WhyLive::Unavailable {
            reason: format!("the thin pool {pool} is full to {fullest:.0} %"),
            remedy: "make it larger".to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Facts, broken, parse, room};
    use crate::volume_snapshot::WhyLive;
    use crate::volume_snapshot::system::tests::Script;

    const MIB: u64 = 1 << 20;

    fn thick(bytes: u64, free_bytes: u64) -> Facts {
        Facts { group: "vg".into(), name: "data".into(), bytes, free_bytes, pool: None }
    }

    #[test]
    fn a_line_of_lvs_tells_thin_from_thick() {
        let check = |line: &str, pool: Option<&str>| {
            assert_eq!(parse(line).map(|facts| facts.pool), Some(pool.map(str::to_owned)), "{line}");
        };
        check("  vg|data|1073741824|536870912|-wi-ao----|\n", None);
        check("  vg|data|1073741824|536870912|owi-aos---|\n", None);
        check("  vg|data|1073741824|0|Vwi-aotz--|pool0\n", Some("pool0"));
        check("  vg|data|1073741824|0|Cwi-aoC---|cache0\n", None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("vg|data|x|0|-wi-ao----|"), None);
    }

    #[test]
    fn room_is_a_part_of_the_volume_as_far_as_it_is_free() {
        let script = Script::default();
        let check = |bytes: u64, free: u64, expected: Option<u64>| {
            let told = room(&script, &thick(bytes * MIB, free * MIB)).map(|room| room.map(|bytes| bytes / MIB));
            match expected {
                Some(_) => assert_eq!(told, Ok(expected), "{bytes} {free}"),
                None => assert!(matches!(told, Err(WhyLive::Unavailable { .. })), "{bytes} {free}: {told:?}"),
            }
        };
        check(10_000, 50_000, Some(2000));
        check(10_000, 500, Some(500));
        check(500, 50_000, Some(256));
        check(100, 50_000, Some(100));
        check(10_000, 31, None);
        check(10_000, 0, None);
    }

    #[test]
    fn a_full_thin_pool_is_given_nothing_more_to_keep() {
        let facts = Facts { pool: Some("pool0".into()), ..thick(MIB, 0) };
        let told = |line: &str| room(&Script::default().answers("lvs", line), &facts);
        assert_eq!(told("  12.50|3.10\n"), Ok(None));
        assert!(matches!(told("  12.50|91.00\n"), Err(WhyLive::Unavailable { .. })));
        assert!(matches!(told("  99.10|3.10\n"), Err(WhyLive::Unavailable { .. })));
    }

    #[test]
    fn a_snapshot_that_lost_its_room_says_so() {
        let told = |line: &str| broken(&Script::default().answers("lvs", line), "vg", "nightkeep-1-0").is_some();
        assert!(!told("  |12.40|sri-a-s---\n"));
        assert!(told("  snapshot invalid|100.00|sri-I-s---\n"));
        assert!(told("  |100.00|sri-a-s---\n"));
        assert!(!told("  |100.00|Vri-a-tz--\n"));
        assert!(broken(&Script::default(), "vg", "nightkeep-1-0").is_some());
    }
}
