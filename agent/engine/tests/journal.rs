//! A run that goes by the change journal finds what a full scan finds, whatever happened between. Needs root, as the journal does.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its filesystem has failed")]

#[path = "../../platform/tests/support/filesystem.rs"]
mod filesystem;
#[path = "support/mapped.rs"]
mod mapped;
mod support;

use filesystem::{Filesystem, hidden_processes, mount, run};
use mapped::Mapped;
use nightkeep_engine::backup::{BackupOptions, BackupReport, Faults, PlanRef};
use nightkeep_engine::changed::{ChangedDirs, ScanTally};
use nightkeep_engine::progress::{Silent, Stop, StopKind};
use nightkeep_platform::journal::{Journal, Position};
use nightkeep_vault::catalogue::Entry;
use nightkeep_vault::id::PointId;
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use support::Bench;

const SEEDS: u64 = 12;
const ROUNDS: usize = 25;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A source with a journal, and the vault its runs go to.
struct Watched {
    bench: Bench,
    filesystem: Filesystem,
    journal: Journal,
    /// The last point, and the moment before its run.
    base: Option<(Position, PointId)>,
    full_runs: u8,
}

impl Watched {
    fn new(filesystem: Filesystem) -> Self {
        let journal = Journal::open(filesystem.path(), hidden_processes()).unwrap();
        Self { bench: Bench::new(), filesystem, journal, base: None, full_runs: 0 }
    }

    fn root(&self) -> &Path {
        self.filesystem.path()
    }

    fn options(&self) -> BackupOptions {
        let mut options = self.bench.options();
        options.source.machine_root = self.root().to_path_buf();
        options
    }

    /// A run by the journal, and what came of its word.
    fn run(&mut self, stop: &Stop) -> Option<ScanTally> {
        let (position, changed) = match self.base {
            Some((past, point)) => {
                let (position, changes) = self.journal.since(past);
                (position, Some(Arc::new(ChangedDirs::new(point, changes.unwrap()))))
            }
            None => (self.journal.position(), None),
        };
        let options = BackupOptions { changed: changed.clone(), ..self.options() };
        if let Ok(report) = self.bench.run_with(&options, &Silent, stop) {
            self.base = Some((position, report.point));
            self.journal.forget_before(position);
        }
        changed.map(|changed| changed.tally())
    }

    /// The catalogue of a run that knows of no other and reads everything.
    fn full(&mut self) -> Vec<Entry> {
        self.full_runs += 1;
        let plan = PlanRef { id: [self.full_runs; 16], name: "full".into() };
        let report = self.bench.run(&BackupOptions { plan: Some(plan), ..self.options() }).unwrap();
        assert_eq!(report.parent, None);
        self.entries(&report)
    }

    fn entries(&self, report: &BackupReport) -> Vec<Entry> {
        self.entries_of(report.point)
    }

    fn entries_of(&self, id: PointId) -> Vec<Entry> {
        let point = self.bench.points().into_iter().find(|point| point.id == id).unwrap();
        let reader = CatalogueReader::open(Arc::new(BlockReader::new(self.bench.vault.clone())), point).unwrap();
        reader.entries(b"").map(Result::unwrap).collect()
    }

    fn assert_exact(&mut self, story: &[String]) {
        let (found, expected) = (self.entries_of(self.base.unwrap().1), self.full());
        let story = || story.join("\n");
        let path = |entry: &Entry| String::from_utf8_lossy(&entry.path).into_owned();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found == expected, "{}: {found:?}\n{}: {expected:?}\n{}", path(found), path(expected), story());
        }
        assert_eq!(found.len(), expected.len(), "{}", story());
    }
}

/// xorshift64*: the same history for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len())]
    }

    fn contents(&mut self) -> Vec<u8> {
        let (byte, bytes) = (self.below(256) as u8, [0, 10, 5000, 70_000][self.below(4)]);
        vec![byte; bytes + self.below(3)]
    }
}

/// What goes on in a folder: somebody who does anything to it, and holds some files open.
struct Somebody {
    root: PathBuf,
    random: Random,
    /// Whether a write through a mapping changes the file's times here.
    maps: bool,
    held: Vec<File>,
    mapped: Vec<(PathBuf, Mapped)>,
    mounts: Vec<PathBuf>,
    story: Vec<String>,
}

impl Somebody {
    /// Files and folders there are now, the root first.
    fn all(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut folders, mut files, mut next) = (vec![self.root.clone()], Vec::new(), 0);
        while next < folders.len() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(&folders[next]).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for path in entries {
                let kind = path.symlink_metadata().unwrap().file_type();
                if kind.is_dir() {
                    folders.push(path)
                } else if kind.is_file() {
                    files.push(path)
                }
            }
            next += 1;
        }
        (folders, files)
    }

    /// Does one thing. What fails has not happened, which is as good a history as any.
    fn act(&mut self) {
        let (folders, files) = self.all();
        let random = &mut self.random;
        let folder = random.of(&folders).unwrap().clone();
        let other = random.of(&folders).unwrap().clone();
        let (new, file) =
            (folder.join(random.name()), random.of(&files).cloned().unwrap_or_else(|| folder.join("none")));
        let contents = random.contents();
        let byte = contents.first().copied().unwrap_or(7);
        let mode = fs::Permissions::from_mode([0o600, 0o644, 0o755][random.below(3)]);
        let kept = !self.mapped.iter().any(|(path, _)| *path == file);
        let action = random.below(26);
        let done = match action {
            0..=2 => fs::write(&new, &contents),
            3 => append(&file, &contents),
            4 => OpenOptions::new().write(true).open(&file).and_then(|file| file.write_all_at(&[byte], 0)),
            5 if kept => {
                OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(contents.len() as u64 / 2))
            }
            6..=8 => fs::create_dir(&new),
            9 | 10 => fs::rename(&file, &new),
            11 | 12 => fs::rename(&folder, other.join(random.name())),
            13 => swap(&folder, &other),
            14 => away_and_back(&folder, &self.root.join("away"), &contents),
            15 | 16 => fs::hard_link(&file, &new),
            17 => fs::remove_file(&file),
            18 if folder != self.root => fs::remove_dir_all(&folder).and_then(|()| fs::create_dir(&folder)),
            19 => fs::set_permissions(&folder, fs::Permissions::from_mode(mode.mode() | 0o700)),
            20 => fs::set_permissions(&file, mode).and_then(|()| chown(&file, Some(byte.into()), None)),
            21 => File::open(&file).and_then(|file| file.set_modified(std::time::UNIX_EPOCH)),
            22 => symlink("somewhere", &new),
            23 => self.hold(&file, byte),
            24 if self.maps => self.map(&file, byte),
            25 => self.mount(&folder),
            _ => Ok(()),
        };
        self.story.push(format!("  action {action}, {new:?} {other:?} {file:?}: {done:?}"));
    }

    /// Writes to a file that stays open, to one held for long, or closes one.
    fn hold(&mut self, file: &Path, byte: u8) -> std::io::Result<()> {
        if self.held.len() < 3 {
            self.held.push(OpenOptions::new().write(true).open(file)?);
        }
        let index = self.random.below(self.held.len());
        if self.random.below(3) == 0 {
            self.held.remove(index);
            return Ok(());
        }
        self.held[index].write_all_at(&[byte, byte], 1)
    }

    /// Writes through memory: to a file mapped and closed, to one mapped long ago, or lets go of one.
    fn map(&mut self, path: &Path, byte: u8) -> std::io::Result<()> {
        if self.mapped.len() < 3 && path.metadata()?.len() >= 5000 {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            self.mapped.push((path.to_path_buf(), Mapped::new(&file)?));
            if self.random.below(2) == 0 && self.held.len() < 3 {
                self.held.push(file);
            }
        }
        let Some(index) = (!self.mapped.is_empty()).then(|| self.random.below(self.mapped.len())) else {
            return Ok(());
        };
        self.mapped[index].1.write(byte)?;
        if self.random.below(3) == 0 {
            self.mapped.remove(index);
        }
        Ok(())
    }

    /// Mounts memory or another folder over a folder, or takes it away.
    fn mount(&mut self, folder: &Path) -> std::io::Result<()> {
        if let Some(mounted) = self.mounts.pop() {
            return run(Command::new("umount").arg("-l").arg(mounted));
        }
        if *folder == self.root {
            return Ok(());
        }
        match self.random.below(3) {
            0 => mount(&["-t", "tmpfs", "nightkeep-test"], folder)?,
            _ => {
                let (folders, _) = self.all();
                let source = self.random.of(&folders).unwrap();
                // Not into itself: the walk would not end.
                if folder.starts_with(source) {
                    return Ok(());
                }
                mount(&["--bind", &source.to_string_lossy()], folder)?;
            }
        }
        self.mounts.push(folder.to_path_buf());
        Ok(())
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        for mounted in self.mounts.drain(..) {
            let _ = run(Command::new("umount").arg("-l").arg(mounted));
        }
    }
}

fn append(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(contents)
}

fn swap(one: &Path, other: &Path) -> std::io::Result<()> {
    let between = one.with_extension("between");
    fs::rename(one, &between)?;
    fs::rename(other, one).and_then(|()| fs::rename(&between, other)).or_else(|_| fs::rename(&between, one))
}

fn away_and_back(folder: &Path, away: &Path, contents: &[u8]) -> std::io::Result<()> {
    fs::rename(folder, away)?;
    let _ = fs::write(away.join("b"), contents);
    fs::rename(away, folder)
}

/// Waits until a change has another time than any before it.
fn let_time_pass(probe: &Path) {
    let stamp = || {
        fs::write(probe, b"now").unwrap();
        let meta = fs::metadata(probe).unwrap();
        (meta.ctime(), meta.ctime_nsec())
    };
    let first = stamp();
    while stamp() == first {}
}

fn histories(make: impl Fn() -> Filesystem, maps: bool) {
    let seed = std::env::var("NIGHTKEEP_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let (mut taken_over, mut read) = (0, 0);
    for seed in seed.map_or(1..SEEDS + 1, |seed| seed..seed + 1) {
        let mut watched = Watched::new(make());
        let probe = watched.bench.dir.path().join("probe");
        let mut somebody = Somebody {
            root: watched.root().to_path_buf(),
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            maps,
            held: Vec::new(),
            mapped: Vec::new(),
            mounts: Vec::new(),
            story: vec![format!("NIGHTKEEP_SEED={seed}")],
        };
        (0..40).for_each(|_| somebody.act());
        for round in 0..ROUNDS {
            somebody.story.push(format!("round {round}"));
            let_time_pass(&probe);
            (0..=somebody.random.below(4)).for_each(|_| somebody.act());
            if somebody.random.below(5) == 0 {
                // A run that is stopped makes no point; the next one begins where the last point did.
                let stop = Stop::new();
                stop.request(StopKind::Interrupt);
                watched.run(&stop);
                somebody.act();
            }
            let tally = watched.run(&Stop::new());
            watched.assert_exact(&somebody.story);
            if let Some(tally) = tally {
                assert!(tally.used, "{}", somebody.story.join("\n"));
                taken_over += tally.taken_over;
                read += tally.read;
            }
        }
    }
    assert!(taken_over > read / 4, "{taken_over} directories taken over and {read} read: the journal was of no use");
}

#[test]
fn a_run_by_the_journal_finds_what_a_full_scan_finds_on_tmpfs() {
    histories(|| Filesystem::tmpfs().unwrap(), false);
}

#[test]
fn a_run_by_the_journal_finds_what_a_full_scan_finds_on_ext4() {
    histories(|| Filesystem::ext4().unwrap(), true);
}

/// `one/two/file` and `three/file`, backed up once.
fn backed_up() -> Watched {
    let mut watched = Watched::new(Filesystem::tmpfs().unwrap());
    fs::create_dir_all(watched.root().join("one/two")).unwrap();
    fs::create_dir(watched.root().join("three")).unwrap();
    fs::write(watched.root().join("one/two/file"), b"old").unwrap();
    fs::write(watched.root().join("three/file"), b"old").unwrap();
    watched.run(&Stop::new());
    watched
}

#[test]
fn only_what_changed_is_read() {
    let mut watched = backed_up();
    let tally = watched.run(&Stop::new()).unwrap();
    assert_eq!((tally.used, tally.read, tally.taken_over), (true, 1, 3), "the root alone");
    fs::write(watched.root().join("three/file"), b"new").unwrap();
    let tally = watched.run(&Stop::new()).unwrap();
    assert_eq!((tally.read, tally.taken_over), (2, 2));
    watched.assert_exact(&[]);
}

#[test]
fn scenario_23_a_journal_that_does_not_begin_with_the_parent_is_not_believed() {
    let mut watched = backed_up();
    let other = watched.bench.run(&watched.options()).unwrap();
    fs::write(watched.root().join("three/file"), b"new").unwrap();
    // The journal begins with the point before; what it vouches for is not asked.
    assert_eq!(watched.run(&Stop::new()).map(|tally| tally.used), Some(false));
    assert_ne!(watched.base.unwrap().1, other.point);
    watched.assert_exact(&[]);
    assert_eq!(watched.run(&Stop::new()).map(|tally| tally.used), Some(true), "it begins anew with that run");
}

/// A disk that does not give back one file.
#[derive(Debug)]
struct BadFile;

impl Faults for BadFile {
    fn read(&self, path: &[u8], _offset: u64) -> std::io::Result<()> {
        if path == b"one/two/file" { Err(std::io::Error::other("bad sector")) } else { Ok(()) }
    }
}

#[test]
fn what_the_last_run_had_trouble_with_is_looked_at_again() {
    let mut watched = backed_up();
    fs::write(watched.root().join("one/two/file"), b"new").unwrap();
    let position = watched.journal.position();
    let bad = BackupOptions { faults: Some(Arc::new(BadFile)), ..watched.options() };
    let report = watched.bench.run(&bad).unwrap();
    assert_eq!(report.findings.len(), 1);
    watched.base = Some((position, report.point));
    assert!(watched.run(&Stop::new()).unwrap().used);
    watched.assert_exact(&[]);
}
