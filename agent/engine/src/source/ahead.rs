//! Reads directories on a thread of its own shortly before a walk comes to them.
//!
//! **Invariant**: what is read ahead is bounded by [`ENTRIES_AHEAD`] (one directory may exceed it), and the walk never waits
//! for anything but a directory that is being read this moment.

use nightkeep_platform::files::{Dir, DirEntry, Listing};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// While so many entries wait for the walk, no further directory is read.
const ENTRIES_AHEAD: usize = 16 << 10;

/// A directory with the names in it, and the metadata of the first of them.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) dir: Dir,
    pub(super) listing: Listing,
    pub(super) entries: Vec<DirEntry>,
}

impl Opened {
    /// Opens and lists a subdirectory; metadata is read later.
    pub(super) fn open(parent: &Dir, name: &[u8]) -> io::Result<Self> {
        Self::list(parent.open_dir(name)?)
    }

    /// Opens and lists the directory at a path; metadata is read later.
    pub(super) fn open_at(place: &Path) -> io::Result<Self> {
        Self::list(Dir::open(place)?)
    }

    fn list(dir: Dir) -> io::Result<Self> {
        let listing = dir.list()?;
        Ok(Self { dir, listing, entries: Vec::new() })
    }
}

/// A directory to read.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) parent: Arc<Dir>,
    pub(super) name: Vec<u8>,
    pub(super) path: Vec<u8>,
}

/// The thread that reads ahead; it ends with this.
#[derive(Debug)]
pub(super) struct Ahead {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something is to be done, or there is room for more.
    work: Condvar,
    /// A directory was read.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What to read; the walk comes to the last one first.
    coming: Vec<Coming>,
    /// The path of what is being read.
    reading: Option<Vec<u8>>,
    ready: HashMap<Vec<u8>, io::Result<Opened>>,
    entries: usize,
    closed: bool,
}

impl Ahead {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let reader = shared.clone();
        let thread = std::thread::Builder::new().name("read-ahead".to_owned()).spawn(move || reader.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The walk will come to these in this order, before those announced earlier.
    pub(super) fn announce(&self, directories: Vec<Coming>) {
        if !directories.is_empty() {
            self.shared.lock().coming.extend(directories.into_iter().rev());
            self.shared.work.notify_one();
        }
    }

    /// The directory that the walk comes to now; none when the walk reads it itself.
    pub(super) fn take(&self, path: &[u8]) -> Option<io::Result<Opened>> {
        let mut state = self.shared.lock();
        if state.coming.last().is_some_and(|next| next.path == path) {
            state.coming.pop();
            return None;
        }
        while state.reading.as_deref() == Some(path) {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let opened = state.ready.remove(path)?;
        state.entries -= weight(&opened);
        drop(state);
        self.shared.work.notify_one();
        Some(opened)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("The thread that reads directories ahead ended early; the walk read them itself");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.closed {
            let next = if state.entries < ENTRIES_AHEAD { state.coming.pop() } else { None };
            let Some(Coming { parent, name, path }) = next else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.reading = Some(path.clone());
            drop(state);
            let opened = Opened::open(&parent, &name).map(|mut opened| {
                opened.entries = opened.dir.next_entries(&mut opened.listing).unwrap_or_default();
                opened
            });
            drop(parent);
            state = self.lock();
            state.reading = None;
            state.entries += weight(&opened);
            state.ready.insert(path, opened);
            self.done.notify_one();
        }
    }
}

/// What counts against the bound; a directory that is empty or could not be read counts, too.
fn weight(opened: &io::Result<Opened>) -> usize {
    opened.as_ref().map_or(0, |opened| opened.entries.len()) + 1
}

#[cfg(test)]
mod tests {
    use crate::exclude::Excludes;
    use crate::source::{SourceOptions, Step, Walk};
    use std::fs;
    use std::path::Path;

    fn walk(root: &Path, change: impl FnOnce(&mut SourceOptions)) -> Walk {
        let mut options = SourceOptions {
            machine_root: root.to_path_buf(),
            roots: vec![Vec::new()],
            excludes: Excludes::new(&[]).expect("no patterns"),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        change(&mut options);
        Walk::new(options).expect("the root is there")
    }

    fn paths(walk: &mut Walk) -> Vec<String> {
        let mut paths = Vec::new();
        while let Some(step) = walk.next_step() {
            paths.push(match step {
                Step::Entry(entry) => String::from_utf8(entry.path).expect("UTF-8"),
                Step::Finding(finding) => format!("finding {}", finding.path_lossy()),
                Step::Settled(entry) => unreachable!("nothing is trusted: {entry:?}"),
            });
        }
        paths
    }

    /// Three levels of twelve directories, with files beside and among them.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("a folder");
        for (a, b) in (0..12).flat_map(|a| (0..12).map(move |b| (a, b))) {
            let dir = tree.path().join(format!("{a}/{b}-dir"));
            for c in 0..12 {
                fs::create_dir_all(dir.join(format!("{c}"))).expect("a folder");
                fs::write(dir.join(format!("{c}/file")), "x").expect("a file");
                fs::write(dir.join(format!("{c}-file")), "x").expect("a file");
            }
        }
        tree
    }

    #[test]
    fn a_walk_that_reads_ahead_meets_the_same_in_the_same_order() {
        let tree = tree();
        let changes: [fn(&mut SourceOptions); 4] = [
            |_| {},
            |options| options.roots = vec![b"3/5-dir".to_vec(), b"7".to_vec()],
            |options| options.excludes = Excludes::new(&["5-dir".to_owned(), "1-file".to_owned()]).expect("patterns"),
            |options| options.skip = vec![options.machine_root.join("4"), options.machine_root.join("6/0-dir")],
        ];
        for change in changes {
            let alone = paths(&mut walk(tree.path(), change));
            let mut ahead = walk(tree.path(), change);
            ahead.read_ahead();
            assert!(alone.len() > 100);
            assert_eq!(paths(&mut ahead), alone);
        }
    }

    #[test]
    fn a_walk_that_reads_ahead_may_end_anywhere() {
        let tree = tree();
        for steps in [0, 1, 2, 50, 500] {
            let mut ahead = walk(tree.path(), |_| {});
            ahead.read_ahead();
            for _ in 0..steps {
                assert!(ahead.next_step().is_some());
            }
        }
    }

    #[test]
    fn a_directory_that_goes_while_it_is_announced_is_a_finding_or_its_old_self_and_the_walk_goes_on() {
        let tree = tree();
        let mut ahead = walk(tree.path(), |_| {});
        ahead.read_ahead();
        for _ in 0..3 {
            assert!(ahead.next_step().is_some());
        }
        fs::remove_dir_all(tree.path().join("9")).expect("removed");
        let rest = paths(&mut ahead);
        assert!(rest.iter().any(|path| path == "8/11-dir/9/file"), "{rest:?}");
        assert!(rest.iter().all(|path| !path.starts_with("finding") || path.starts_with("finding 9")), "{rest:?}");
    }

    #[test]
    fn what_is_ahead_of_a_walk_that_rests_is_bounded() {
        let tree = tempfile::tempdir().expect("a folder");
        for a in 0..24 {
            let dir = tree.path().join(format!("{a:02}"));
            fs::create_dir(&dir).expect("a folder");
            for file in 0..1000 {
                fs::File::create(dir.join(format!("{file}"))).expect("a file");
            }
        }
        let ahead = super::Ahead::start().expect("a thread");
        let parent = std::sync::Arc::new(super::Dir::open(tree.path()).expect("the folder"));
        let coming = (0..24).map(|a| {
            let name = format!("{a:02}").into_bytes();
            super::Coming { parent: parent.clone(), name: name.clone(), path: name }
        });
        ahead.announce(coming.collect());
        // It stops by the bound, not because it is done.
        while ahead.shared.lock().entries < super::ENTRIES_AHEAD {
            std::thread::yield_now();
        }
        let state = ahead.shared.lock();
        assert_eq!((state.ready.len(), state.reading.is_some()), (17, false));
        drop(state);
        for a in 0..24 {
            let name = format!("{a:02}").into_bytes();
            if let Some(opened) = ahead.take(&name) {
                assert_eq!(opened.expect("a folder").entries.len(), 1000);
            }
        }
        assert_eq!(ahead.shared.lock().entries, 0);
    }
}
