//! What was made, as the ledger names it, and how it is taken away again.
//!
//! **Invariant**: only what bears our name and is what the ledger says it is gets removed; the name holds the run's id.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::{Access, System};
use crate::volume_snapshot::program::RunError;

/// How the names of our logical volumes begin, and, behind a dot, those of our subvolumes.
pub(super) const PREFIX: &str = "nightkeep-";
/// A device or a mount may be busy for a moment: with the system's own programs that look at whatever appears.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// A thing that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A snapshot of the logical volume `origin`, and where it is mounted.
    Lvm { group: String, name: String, origin: String, at: PathBuf },
    /// A snapshot in the filesystem `uuid`, whose top is mounted at `top`.
    Btrfs { uuid: String, name: String, top: PathBuf },
    /// The top of a btrfs filesystem.
    Top { at: PathBuf },
}

impl Entry {
    /// One line of a ledger; none when a path does not fit in one.
    pub(super) fn line(&self) -> Option<String> {
        let path = |path: &Path| path.to_str().filter(|text| !text.contains('\n')).map(str::to_owned);
        Some(match self {
            Self::Lvm { group, name, origin, at } => format!("lvm {group} {name} {origin} {}", path(at)?),
            Self::Btrfs { uuid, name, top } => format!("btrfs {uuid} {name} {}", path(top)?),
            Self::Top { at } => format!("top {}", path(at)?),
        })
    }

    /// What a line of a ledger says; none when it is none of ours.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        let entry = match kind {
            "lvm" => {
                let [group, name, origin, at] = words::<4>(rest)?;
                Self::Lvm { group, name, origin, at: at.into() }
            }
            "btrfs" => {
                let [uuid, name, top] = words::<3>(rest)?;
                Self::Btrfs { uuid, name, top: top.into() }
            }
            "top" => Self::Top { at: rest.into() },
            _ => return None,
        };
        entry.is_ours().then_some(entry)
    }

    /// A ledger that somebody else wrote cannot name what is not ours.
    fn is_ours(&self) -> bool {
        let plain = |name: &str| !name.starts_with('-') && !name.contains(['/', '\0']);
        match self {
            Self::Lvm { group, name, origin, at } => {
                name.starts_with(PREFIX) && [group, name, origin].iter().all(|name| plain(name)) && at.is_absolute()
            }
            Self::Btrfs { uuid, name, top } => {
                name.strip_prefix('.').is_some_and(|name| name.starts_with(PREFIX))
                    && plain(name)
                    && plain(uuid)
                    && top.is_absolute()
            }
            Self::Top { at } => at.is_absolute(),
        }
    }

    /// Takes it away; whether it was there.
    pub(super) fn remove(&self, system: &dyn System) -> io::Result<bool> {
        match self {
            Self::Lvm { group, name, origin, at } => {
                unmount(system, at)?;
                forget_folder(at);
                remove_logical(system, group, name, origin)
            }
            Self::Btrfs { uuid, name, top } => remove_subvolume(system, uuid, name, top),
            Self::Top { at } => {
                let was_there = unmount(system, at)?;
                forget_folder(at);
                Ok(was_there)
            }
        }
    }
}

/// So many words, of which the last may hold blanks.
fn words<const N: usize>(text: &str) -> Option<[String; N]> {
    let words: Vec<String> = text.splitn(N, ' ').map(str::to_owned).collect();
    words.try_into().ok().filter(|words: &[String; N]| words.iter().all(|word| !word.is_empty()))
}

fn remove_logical(system: &dyn System, group: &str, name: &str, origin: &str) -> io::Result<bool> {
    let wanted = format!("vg_name={group} && lv_name={name}");
    let fields = ["--noheadings", "--separator", "|", "-o", "origin,lv_tags", "-S", &wanted];
    let listed = run(system, "lvs", &fields)?;
    let Some(line) = listed.lines().map(str::trim).find(|line| !line.is_empty()) else { return Ok(false) };
    if line != format!("{origin}|{TAG}") {
        return Err(io::Error::other(format!("{group}/{name} is not the snapshot of {origin} that was made: {line}")));
    }
    retry(|| run(system, "lvremove", &["--yes", "--force", &format!("{group}/{name}")]))?;
    Ok(true)
}

/// What all our logical volumes are tagged with.
pub(super) const TAG: &str = "nightkeep";

fn remove_subvolume(system: &dyn System, uuid: &str, name: &str, top: &Path) -> io::Result<bool> {
    let is_mounted = system.mounts()?.iter().any(|mount| Path::new(os(&mount.mount_point)) == top);
    if !is_mounted {
        let Some(device) = device_of(system, uuid)? else { return Ok(false) };
        fs::create_dir_all(top)?;
        system.mount(&device, top, "btrfs", Access::ReadWrite, "subvolid=5")?;
    }
    let snapshot = top.join(name);
    let removed = match fs::symlink_metadata(&snapshot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(_) => {
            let arguments = ["subvolume".as_ref(), "delete".as_ref(), snapshot.as_os_str()];
            system.run("btrfs", &arguments).map(|_| true).map_err(|error| in_words("btrfs", error))
        }
    };
    if !is_mounted {
        unmount(system, top)?;
        forget_folder(top);
    }
    removed
}

/// The device of a filesystem; none when it is not plugged in any more.
fn device_of(system: &dyn System, uuid: &str) -> io::Result<Option<PathBuf>> {
    match system.run("blkid", &["-U".as_ref(), uuid.as_ref()]) {
        Ok(device) => Ok(Some(device.trim().into())),
        Err(RunError::Failed(_)) => Ok(None),
        Err(error) => Err(in_words("blkid", error)),
    }
}

fn unmount(system: &dyn System, at: &Path) -> io::Result<bool> {
    retry(|| system.unmount(at))
}

/// The place of a mount and the folder of the run; the latter stays while there are others in it.
fn forget_folder(at: &Path) {
    let _ = fs::remove_dir(at);
    if let Some(folder) = at.parent() {
        let _ = fs::remove_dir(folder);
    }
}

fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut outcome = attempt();
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        std::thread::sleep(BETWEEN_TRIES);
        outcome = attempt();
    }
    outcome
}

/// Runs a program of which every argument is text.
pub(super) fn run(system: &dyn System, program: &'static str, arguments: &[&str]) -> io::Result<String> {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    system.run(program, &arguments).map_err(|error| in_words(program, error))
}

fn in_words(program: &str, error: RunError) -> io::Error {
    io::Error::other(match error {
        RunError::NotThere => format!("{program} is not installed"),
        RunError::Failed(words) => words,
    })
}

fn os(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::Entry;
    use crate::volume_snapshot::system::tests::Script;

    fn lvm() -> Entry {
        Entry::Lvm {
            group: "vg".to_owned(),
            name: "nightkeep-1f-0".to_owned(),
            origin: "data".to_owned(),
            at: "/nightkeep no such/my run/0".into(),
        }
    }

    #[test]
    fn a_line_says_what_was_made_and_nothing_else_is_ours() {
        let btrfs = Entry::Btrfs { uuid: "ab-cd".into(), name: ".nightkeep-1f-257".into(), top: "/st/1f/0".into() };
        for entry in [lvm(), btrfs, Entry::Top { at: "/st/1f/0".into() }] {
            let line = entry.line().unwrap_or_default();
            assert_eq!(Entry::of_line(&line), Some(entry), "{line}");
        }
        for line in [
            "",
            "lvm vg root data /x",
            "lvm vg/x nightkeep-1 data /x",
            "lvm -f nightkeep-1 data /x",
            "lvm vg nightkeep-1 data x",
            "lvm vg nightkeep-1 data",
            "btrfs ab home /x",
            "btrfs ab .nightkeep-1/../home /x",
            "btrfs ab nightkeep-1 /x",
            "vss {x}",
        ] {
            assert_eq!(Entry::of_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_logical_volume_is_removed_only_when_it_is_the_snapshot_that_was_made() {
        let check = |listed: &str, removes: bool, expected: Result<bool, ()>| {
            let script = Script::default().answers("lvs", listed).answers("lvremove", "");
            assert_eq!(lvm().remove(&script).map_err(drop), expected, "{listed}");
            assert_eq!(script.ran("lvremove"), usize::from(removes), "{listed}");
        };
        check("  data|nightkeep\n", true, Ok(true));
        check("\n", false, Ok(false));
        check("  other|nightkeep\n", false, Err(()));
        check("  data|\n", false, Err(()));
        check("  |nightkeep\n", false, Err(()));
    }
}
