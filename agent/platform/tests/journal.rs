//! The change journal's claims, on filesystems of their own. These tests need root, as the journal does.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its filesystem has failed")]

#[path = "support/filesystem.rs"]
mod filesystem;
#[path = "support/mod.rs"]
mod support;

use filesystem::{Filesystem, mount, run};
use nightkeep_platform::journal::{Beneath, Changes, FileId, Journal, JournalError, JournalOptions, Lost, Position};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn id(path: &Path) -> FileId {
    let meta = fs::symlink_metadata(path).unwrap();
    FileId { device: meta.dev(), inode: meta.ino() }
}

fn inode(path: &Path) -> u64 {
    id(path).inode
}

/// `one/deep/file`, `two/file` and `link`, another name of `two/file`, watched from now on.
struct Watched {
    filesystem: Filesystem,
    journal: Journal,
    start: Position,
}

impl Watched {
    fn new(filesystem: Filesystem) -> Self {
        let root = filesystem.path();
        fs::create_dir_all(root.join("one/deep")).unwrap();
        fs::create_dir(root.join("two")).unwrap();
        fs::write(root.join("one/deep/file"), b"file").unwrap();
        fs::write(root.join("two/file"), b"file").unwrap();
        let journal = Journal::open(root, filesystem::hidden_processes()).unwrap();
        let start = journal.position();
        Self { filesystem, journal, start }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.filesystem.path().join(name)
    }

    fn changes(&self) -> Changes {
        self.journal.since(self.start).1.unwrap()
    }

    fn beneath(&self, name: &str) -> Beneath {
        self.changes().beneath(id(&self.path(name)))
    }
}

#[test]
fn every_kind_of_change_names_its_directory_and_no_other() {
    let check = |what: &str, change: &dyn Fn(&Path)| {
        for filesystem in [Filesystem::tmpfs().unwrap(), Filesystem::ext4().unwrap()] {
            let watched = Watched::new(filesystem);
            assert_eq!(watched.beneath("one"), Beneath::Unchanged, "{what}: nothing has happened");
            change(&watched.path("one/deep"));
            assert_eq!(watched.beneath("one/deep"), Beneath::Changed, "{what}");
            assert_eq!(watched.beneath("one"), Beneath::Changed, "{what}: leads to it");
            assert_eq!(watched.beneath("two"), Beneath::Unchanged, "{what}");
            assert_eq!(watched.changes().changed_directories(), 1, "{what}");
        }
    };
    let append = |path: &Path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
    let rights = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    check("create", &|deep| fs::write(deep.join("new"), b"").unwrap());
    check("append", &|deep| append(&deep.join("file")));
    check("truncate", &|deep| File::options().write(true).open(deep.join("file")).unwrap().set_len(1).unwrap());
    check("delete", &|deep| fs::remove_file(deep.join("file")).unwrap());
    check("rename", &|deep| fs::rename(deep.join("file"), deep.join("other")).unwrap());
    check("folder", &|deep| fs::create_dir(deep.join("new")).unwrap());
    check("link", &|deep| std::os::unix::fs::symlink("file", deep.join("new")).unwrap());
    check("mode", &|deep| rights(&deep.join("file")));
    check("mode of the folder", &|deep| rights(deep));
    check("times", &|deep| {
        let file = File::open(deep.join("file")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    });
    check("attribute", &|deep| run(Command::new("setfattr").args(["-n", "trusted.a", "-v", "1"]).arg(deep)).unwrap());
    check("hole", &|deep| {
        run(Command::new("fallocate").args(["-p", "-o", "0", "-l", "4096"]).arg(deep.join("file"))).unwrap();
    });
}

#[test]
fn a_file_is_named_when_its_number_of_names_changes_or_it_may_be_written_through_memory() {
    let watched = Watched::new(Filesystem::ext4().unwrap());
    let (file, other) = (watched.path("one/deep/file"), watched.path("two/file"));
    assert!(!watched.changes().names_file(inode(&file)));
    fs::hard_link(&file, watched.path("two/link")).unwrap();
    assert!(watched.changes().names_file(inode(&file)), "a link was made elsewhere");
    assert_eq!(watched.beneath("one"), Beneath::Unchanged);
    let start = watched.journal.position();
    assert!(!watched.journal.since(start).1.unwrap().names_file(inode(&file)));
    fs::remove_file(watched.path("two/link")).unwrap();
    assert!(watched.journal.since(start).1.unwrap().names_file(inode(&file)), "a link was taken away elsewhere");

    let reading = File::open(&other).unwrap();
    assert!(!watched.changes().names_file(inode(&other)));
    let writing = File::options().read(true).write(true).open(&other).unwrap();
    assert!(watched.changes().names_file(inode(&other)), "it may be mapped");
    drop((reading, writing));
    assert_eq!(watched.beneath("two"), Beneath::Changed, "closed after writing");
}

#[test]
fn each_position_has_its_own_changes() {
    let watched = Watched::new(Filesystem::tmpfs().unwrap());
    fs::write(watched.path("one/new"), b"").unwrap();
    let (later, _) = watched.journal.since(watched.start);
    fs::write(watched.path("two/new"), b"").unwrap();
    let one = id(&watched.path("one"));
    let two = id(&watched.path("two"));
    let since = |position| watched.journal.since(position).1.unwrap();
    assert_eq!(
        (since(watched.start).beneath(one), since(watched.start).beneath(two)),
        (Beneath::Changed, Beneath::Changed)
    );
    assert_eq!((since(later).beneath(one), since(later).beneath(two)), (Beneath::Unchanged, Beneath::Changed));
    let last = watched.journal.position();
    watched.journal.forget_before(later);
    assert_eq!(since(later).beneath(two), Beneath::Changed, "what came after is not forgotten");
    assert_eq!(since(last).beneath(two), Beneath::Unchanged);
}

#[test]
fn a_moved_folder_is_found_where_it_is_now() {
    let watched = Watched::new(Filesystem::ext4().unwrap());
    fs::write(watched.path("one/deep/file"), b"changed").unwrap();
    fs::create_dir(watched.path("three")).unwrap();
    fs::create_dir(watched.path("three/four")).unwrap();
    fs::rename(watched.path("one/deep"), watched.path("three/four/deep")).unwrap();
    let later = watched.journal.position();
    fs::write(watched.path("three/four/deep/file"), b"changed again").unwrap();
    let changes = watched.journal.since(later).1.unwrap();
    for (name, expected) in
        [("three", Beneath::Changed), ("three/four/deep", Beneath::Changed), ("one", Beneath::Unchanged)]
    {
        assert_eq!(changes.beneath(id(&watched.path(name))), expected, "{name}");
    }
}

#[test]
fn what_is_mounted_anew_is_unknown_and_always_on_the_way() {
    let watched = Watched::new(Filesystem::tmpfs().unwrap());
    let deep = watched.path("one/deep");
    mount(&["-t", "tmpfs", "nightkeep-test"], &deep).unwrap();
    let within = id(&deep);
    assert_eq!(watched.changes().beneath(within), Beneath::Unknown);
    assert_eq!(watched.beneath("one"), Beneath::Changed);
    let later = watched.journal.position();
    assert_eq!(watched.journal.since(later).1.unwrap().beneath(id(&watched.path("one"))), Beneath::Changed);
    run(Command::new("umount").arg(&deep)).unwrap();
    assert_eq!(watched.journal.since(later).1.unwrap().beneath(id(&deep)), Beneath::Unknown, "uncovered again");
    assert_eq!(watched.journal.since(later).1.unwrap().beneath(id(&watched.path("one"))), Beneath::Changed);
    let last = watched.journal.position();
    assert_eq!(watched.journal.since(last).1.unwrap().beneath(id(&watched.path("one"))), Beneath::Unchanged);
}

#[test]
fn scenario_23_a_filesystem_that_was_away_is_unknown() {
    let place = Filesystem::tmpfs().unwrap();
    let (image, point) = (place.path().join("image"), place.path().join("point"));
    File::create(&image).unwrap().set_len(32 << 20).unwrap();
    fs::create_dir(&point).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image)).unwrap();
    let source = image.to_string_lossy().into_owned();
    mount(&["-o", "loop", source.as_str()], &point).unwrap();
    fs::create_dir(point.join("folder")).unwrap();
    let journal = Journal::open(place.path(), filesystem::hidden_processes()).unwrap();
    let start = journal.position();
    let folder = id(&point.join("folder"));
    assert_eq!(
        journal.since(start).1.unwrap().beneath(folder),
        Beneath::Unchanged,
        "watched: {:?}",
        journal.coverage()
    );
    // Away and back between two looks at the mounts: the table is as before, and the mark is gone.
    run(Command::new("umount").arg(&point)).unwrap();
    mount(&["-o", "loop", source.as_str()], &point).unwrap();
    // Its loop device may be another one now.
    let folder = id(&point.join("folder"));
    assert_eq!(journal.since(start).1.unwrap().beneath(folder), Beneath::Unwatched);
    let again = journal.position();
    assert_eq!(journal.since(again).1.unwrap().beneath(folder), Beneath::Unchanged, "watched anew");
    run(Command::new("umount").arg(&point)).unwrap();
}

#[test]
fn scenario_23_a_queue_that_ran_over_loses_what_came_before_and_no_more() {
    let watched = Watched::new(Filesystem::tmpfs().unwrap());
    let queue: usize = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap().trim().parse().unwrap();
    for number in 0..=queue {
        File::create(watched.path(&format!("one/{number}"))).unwrap();
    }
    assert_eq!(watched.journal.since(watched.start).1, Err(Lost::Overflow));
    let (later, _) = watched.journal.since(watched.start);
    fs::write(watched.path("two/new"), b"").unwrap();
    let changes = watched.journal.since(later).1.unwrap();
    assert_eq!(changes.beneath(id(&watched.path("two"))), Beneath::Changed);
    assert_eq!(changes.beneath(id(&watched.path("one"))), Beneath::Unchanged);
}

#[test]
fn scenario_23_a_position_of_a_journal_that_ended_is_lost() {
    let watched = Watched::new(Filesystem::tmpfs().unwrap());
    let begun_anew = Journal::open(watched.filesystem.path(), filesystem::hidden_processes()).unwrap();
    let kept = Position::from_bytes(watched.start.to_bytes());
    assert_eq!(begun_anew.since(kept).1, Err(Lost::Restarted));
    assert!(watched.journal.since(kept).1.is_ok());
}

#[test]
fn a_collector_that_waits_takes_in_changes_and_keeps_nobody_waiting() {
    let watched = Watched::new(Filesystem::tmpfs().unwrap());
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| watched.journal.collect(Duration::from_secs(60)));
        fs::write(watched.path("one/new"), b"").unwrap();
        collector.join().unwrap().unwrap();
    });
    assert_eq!(watched.beneath("one"), Beneath::Changed);
    watched.journal.collect(Duration::ZERO).unwrap();
}

#[test]
fn without_root_there_is_no_journal_and_the_reason_is_told() -> std::io::Result<()> {
    let directory = support::shared_tempdir()?;
    support::as_ordinary_user("refuses_an_ordinary_user", directory.path())
}

#[test]
#[ignore = "run by without_root_there_is_no_journal_and_the_reason_is_told"]
fn refuses_an_ordinary_user() {
    let Some(directory) = support::directory() else { return };
    let refused = Journal::open(&directory, JournalOptions::default());
    assert!(matches!(refused, Err(JournalError::Rights)), "{refused:?}");
}
