//! Snapshots of btrfs subvolumes.
//!
//! A snapshot holds one subvolume; those nested in it show as empty directories, so each is a volume of its own here, with a
//! moment of its own. All snapshots lie at the filesystem's top, which is mounted at a place of ours: nothing appears in the
//! folders of people. What is read-only already is read where it is.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::entry::{self, Entry, PREFIX};
use super::machine::Access;
use super::volumes::Mounted;
use super::{Run, WhyLive, failed, join, names_of};
use crate::volume_snapshot::program::RunError;

/// The number of every subvolume's own directory.
const SUBVOLUME_INODE: u64 = 256;
/// More than this many snapshots of one filesystem in a run are a mistake rather than a wish.
const SUBVOLUMES_MAX: usize = 1000;
const REMEDY: &str = "look at the filesystem with `btrfs subvolume list`";

/// A filesystem whose top is mounted at a place of ours.
pub(super) struct Filesystem {
    uuid: String,
    top: PathBuf,
    subvolumes: Vec<Subvolume>,
    /// By number, where it can be read.
    taken: Vec<(u64, Result<PathBuf, WhyLive>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Subvolume {
    id: u64,
    /// From the filesystem's top.
    path: PathBuf,
    read_only: bool,
}

/// A subvolume, or a part of one, at its place in the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) place: PathBuf,
    id: u64,
    /// What of the subvolume is seen there.
    rest: PathBuf,
}

/// Mounts the top of a filesystem and learns its subvolumes.
pub(super) fn open(run: &mut Run, mounted: &Mounted) -> Result<Filesystem, WhyLive> {
    let source = &mounted.mount.source;
    let uuid = entry::run(run.system.as_ref(), "blkid", &["-s", "UUID", "-o", "value", source]);
    let uuid = uuid.map_err(|error| failed(&error, "look at the device with `blkid`"))?.trim().to_owned();
    let (_, top) = run.next_place().map_err(|error| failed(&error, "look at the agent's state folder"))?;
    run.note(Entry::Top { at: top.clone() }).map_err(|error| failed(&error, "look at the agent's state folder"))?;
    let mount = run.system.mount(Path::new(source), &top, "btrfs", Access::ReadWrite, "subvolid=5");
    mount.map_err(|error| failed(&format!("the top of {source} cannot be mounted: {error}"), REMEDY))?;
    let list = |more: &[&str]| {
        let mut arguments = vec!["subvolume".as_ref(), "list".as_ref()];
        arguments.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
        arguments.push(top.as_os_str());
        run.system.run("btrfs", &arguments).map_err(|error| match error {
            RunError::NotThere => WhyLive::Unavailable {
                reason: "the programs of btrfs are not installed".to_owned(),
                remedy: "install btrfs-progs".to_owned(),
            },
            RunError::Failed(words) => failed(&words, REMEDY),
        })
    };
    let read_only: Vec<u64> = parse(&list(&["-r"])?).into_iter().map(|(id, _)| id).collect();
    let mut subvolumes = vec![Subvolume { id: 5, path: PathBuf::new(), read_only: false }];
    for (id, path) in parse(&list(&[])?) {
        // What a line says of a name with a line break in it leads nowhere.
        let is_there = fs::symlink_metadata(top.join(&path)).is_ok_and(|meta| meta.ino() == SUBVOLUME_INODE);
        let is_ours = path.to_string_lossy().starts_with(&format!(".{PREFIX}"));
        if is_there && !is_ours {
            subvolumes.push(Subvolume { id, path, read_only: read_only.contains(&id) });
        }
    }
    Ok(Filesystem { uuid, top, subvolumes, taken: Vec::new() })
}

/// Lines such as `ID 257 gen 7 top level 256 path @home/nested folder`.
fn parse(listed: &str) -> Vec<(u64, PathBuf)> {
    let subvolume = |line: &str| {
        let (numbers, path) = line.split_once(" path ")?;
        let id = numbers.strip_prefix("ID ")?.split(' ').next()?.parse().ok()?;
        Some((id, OsString::from_vec(path.as_bytes().to_vec()).into()))
    };
    listed.lines().filter_map(subvolume).collect()
}

impl Filesystem {
    /// The subvolumes that are seen through a mount of this filesystem: the one it shows, and those nested in it as far as no
    /// other mount hides them.
    pub(super) fn places(&self, mounted: &Mounted, all: &[Mounted]) -> Vec<Place> {
        let root = names_of(&mounted.mount.root);
        let holder = self.subvolumes.iter().filter(|subvolume| root.starts_with(&subvolume.path));
        let Some(holder) = holder.max_by_key(|subvolume| subvolume.path.components().count()) else {
            return Vec::new();
        };
        let rest = root.strip_prefix(&holder.path).unwrap_or(Path::new("")).to_owned();
        let mut places = vec![Place { place: mounted.place.clone(), id: holder.id, rest }];
        for nested in self.subvolumes.iter().filter(|nested| nested.path.starts_with(&root) && nested.id != holder.id) {
            let Ok(beneath) = nested.path.strip_prefix(&root) else { continue };
            let place = mounted.place.join(beneath);
            let hides = |other: &Mounted| other.place.starts_with(&mounted.place) && other.place != mounted.place;
            if !all.iter().any(|other| hides(other) && place.starts_with(&other.place)) {
                places.push(Place { place, id: nested.id, rest: PathBuf::new() });
            }
        }
        places
    }

    /// Makes a snapshot of the subvolume at a place, unless there is one already; answers where the place is read.
    pub(super) fn take(&mut self, run: &mut Run, place: &Place) -> Result<PathBuf, WhyLive> {
        let known = self.taken.iter().find(|(id, _)| *id == place.id).map(|(_, outcome)| outcome.clone());
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                let outcome = self.snapshot(run, place.id);
                self.taken.push((place.id, outcome.clone()));
                outcome
            }
        };
        outcome.map(|root| join(root, &place.rest))
    }

    fn snapshot(&self, run: &mut Run, id: u64) -> Result<PathBuf, WhyLive> {
        let Some(subvolume) = self.subvolumes.iter().find(|subvolume| subvolume.id == id) else {
            return Err(failed(&"the subvolume is gone", REMEDY));
        };
        let original = self.top.join(&subvolume.path);
        if subvolume.read_only {
            return Ok(original);
        }
        if self.taken.len() >= SUBVOLUMES_MAX {
            let reason = format!("the filesystem has more than {SUBVOLUMES_MAX} subvolumes");
            return Err(WhyLive::Unavailable { reason, remedy: "leave some of them out of the plan".to_owned() });
        }
        let name = format!(".{PREFIX}{}-{id}", run.id());
        let snapshot = self.top.join(&name);
        let made = Entry::Btrfs { uuid: self.uuid.clone(), name, top: self.top.clone() };
        run.note(made).map_err(|error| failed(&error, "look at the agent's state folder"))?;
        let arguments =
            ["subvolume".as_ref(), "snapshot".as_ref(), "-r".as_ref(), original.as_os_str(), snapshot.as_os_str()];
        match run.system.run("btrfs", &arguments) {
            Ok(_) => Ok(snapshot),
            Err(RunError::Failed(words)) => Err(failed(&words, "look for room with `btrfs filesystem usage`")),
            Err(RunError::NotThere) => Err(failed(&"the programs of btrfs are gone", "install btrfs-progs")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Filesystem, Subvolume, parse};
    use crate::volume_snapshot::system::tests::{Script, mount};
    use crate::volume_snapshot::system::volumes::mounted;

    fn filesystem(paths: &[(u64, &str)]) -> Filesystem {
        let subvolume = |(id, path): &(u64, &str)| Subvolume { id: *id, path: path.into(), read_only: false };
        let subvolumes = [(5, "")].iter().chain(paths).map(subvolume).collect();
        Filesystem { uuid: "ab".into(), top: "/top".into(), subvolumes, taken: Vec::new() }
    }

    #[test]
    fn a_list_of_subvolumes_is_read_with_blanks_in_names() {
        let listed = "ID 256 gen 7 top level 5 path @home\nID 257 gen 7 top level 256 path @home/a path b\nbroken\n";
        let expected = vec![(256, PathBuf::from("@home")), (257, PathBuf::from("@home/a path b"))];
        assert_eq!(parse(listed), expected);
    }

    #[test]
    fn nested_subvolumes_are_seen_where_no_mount_hides_them() {
        let filesystem =
            filesystem(&[(256, "@"), (257, "@home"), (258, "@/var/lib/machines"), (259, "@/srv/x"), (260, "@2")]);
        let root = |place: &str, root: &str| {
            let mut mount = mount(place, "btrfs", "/dev/vda2", 30);
            mount.root = root.as_bytes().to_vec();
            mount
        };
        let mounts = [
            root("/", "/@"),
            root("/home", "/@home"),
            mount("/srv", "ext4", "/dev/vdb", 9),
            root("/mnt/bound", "/@/var/lib"),
        ];
        let all = mounted(&mounts, &Script::default());
        let check = |place: &str, expected: &[(&str, u64, &str)]| {
            let mounted = all.iter().find(|mounted| mounted.place.as_os_str() == place);
            let places = mounted.map(|mounted| filesystem.places(mounted, &all)).unwrap_or_default();
            let seen: Vec<_> = places.iter().map(|p| (p.place.to_str(), p.id, p.rest.to_str())).collect();
            let expected: Vec<_> = expected.iter().map(|(place, id, rest)| (Some(*place), *id, Some(*rest))).collect();
            assert_eq!(seen, expected, "{place}");
        };
        check("/", &[("/", 256, ""), ("/var/lib/machines", 258, "")]);
        check("/home", &[("/home", 257, "")]);
        check("/mnt/bound", &[("/mnt/bound", 256, "var/lib"), ("/mnt/bound/machines", 258, "")]);
    }
}
