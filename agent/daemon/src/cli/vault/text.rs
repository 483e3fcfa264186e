//! Numbers, times and modes as people read them.

use chrono::{DateTime, FixedOffset};
use nightkeep_vault::catalogue::{Entry, EntryKind};
use nightkeep_vault::codec::Time;
use nightkeep_vault::record::point::{BackupSet, CivilTime};

/// Bytes with a binary unit, such as `1.2 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A count with thousands marked.
pub(super) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// A moment in the zone in which it was taken.
pub(super) fn civil(time: &CivilTime) -> Option<DateTime<FixedOffset>> {
    let zone = FixedOffset::east_opt(time.offset_minutes.checked_mul(60)?)?;
    Some(DateTime::from_timestamp(time.at.seconds, time.at.nanoseconds)?.with_timezone(&zone))
}

/// As [`civil`], for a table.
pub(super) fn civil_text(time: &CivilTime) -> String {
    civil(time).map_or_else(|| "?".into(), |at| at.format("%Y-%m-%d %H:%M:%S %:z").to_string())
}

/// A file's time in the local zone.
pub(super) fn file_time(time: Time) -> String {
    let at = DateTime::from_timestamp(time.seconds, time.nanoseconds);
    at.map_or_else(|| "?".into(), |at| at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M").to_string())
}

/// The name of a backup set.
pub(super) fn set(set: BackupSet) -> &'static str {
    match set {
        BackupSet::None => "none",
        BackupSet::Monthly => "monthly",
        BackupSet::Weekly => "weekly",
        BackupSet::Daily => "daily",
    }
}

/// Kind and permissions as `ls -l` shows them.
pub(super) fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Fifo => 'p',
        EntryKind::Socket => 's',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
    };
    let bit = |mask: u32, letter: char| if entry.mode & mask != 0 { letter } else { '-' };
    let special = |exec: u32, special: u32, lower: char| match (entry.mode & special != 0, entry.mode & exec != 0) {
        (true, true) => lower,
        (true, false) => lower.to_ascii_uppercase(),
        (false, true) => 'x',
        (false, false) => '-',
    };
    [
        kind,
        bit(0o400, 'r'),
        bit(0o200, 'w'),
        special(0o100, 0o4000, 's'),
        bit(0o040, 'r'),
        bit(0o020, 'w'),
        special(0o010, 0o2000, 's'),
        bit(0o004, 'r'),
        bit(0o002, 'w'),
        special(0o001, 0o1000, 't'),
    ]
    .into_iter()
    .collect()
}

/// The kind's word, for JSON.
pub(super) fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
        EntryKind::CharDevice => "char_device",
        EntryKind::BlockDevice => "block_device",
    }
}

/// A path from the machine's root as people write it.
pub(super) fn path(bytes: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightkeep_vault::catalogue::{Content, Extras};

    #[test]
    fn modes_read_as_in_ls() {
        let entry = |kind, mode| Entry {
            kind,
            path: Vec::new(),
            mode,
            uid: 0,
            gid: 0,
            modified: Time::default(),
            changed: Time::default(),
            inode: 0,
            bytes: 0,
            content: Content::Empty,
            extras: Extras::default(),
        };
        assert_eq!(mode(&entry(EntryKind::File, 0o644)), "-rw-r--r--");
        assert_eq!(mode(&entry(EntryKind::Directory, 0o1777)), "drwxrwxrwt");
        assert_eq!(mode(&entry(EntryKind::File, 0o6711)), "-rws--s--x");
        assert_eq!(mode(&entry(EntryKind::File, 0o4600)), "-rwS------");
    }
}
