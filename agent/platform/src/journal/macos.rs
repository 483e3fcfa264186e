//! macOS: a stream of FSEvents over everything, with file events and extended data (macOS 10.13 and later, root). What its events
//! mean and why they can be trusted stands in `fsevents.rs`; here are the calls alone.
//!
//! Whether all of the past has arrived is asked with a cookie, as Watchman does: a file is made and removed in a folder of ours, and
//! its event is waited for. One stream watches all volumes and delivers in the order of event ids, and a flush after the
//! cookie brings what was held back to be joined with more.
#![expect(unsafe_code, reason = "FSEvents is an interface of C")]

use std::collections::HashSet;
use std::ffi::c_void;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use dispatch2::{DispatchQueue, DispatchRetained};
use objc2_core_foundation::{CFArray, CFDictionary, CFNumber, CFString, CFType};
use objc2_core_services as apple;

#[path = "macos/writers.rs"]
mod writers;

use super::fsevents::{Event, Memory, System, Volume, Watcher};
use super::{Changes, Coverage, JournalError, JournalOptions, Lost, Position};
use crate::mounts::{Mount, MountClass, Mounts};
use crate::{names, paths, secret_file};

/// Events of this span may come joined, in seconds.
const LATENCY: f64 = 0.05;
/// Longer than any healthy machine needs for the cookie's event.
const COOKIE_WAIT: Duration = Duration::from_secs(10);
/// Filesystems whose inode numbers stay with their files and whose events are kept by the system.
const WATCHABLE: [&str; 2] = ["apfs", "hfs"];

#[derive(Debug)]
pub(super) struct Journal(Watcher<Stream>);

impl Journal {
    pub(super) fn open(place: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        // What other people have open only root can see.
        if !crate::process::is_root() {
            return Err(JournalError::Rights);
        }
        let failed = |what| move |source| JournalError::System { what, source };
        let place = place.canonicalize().map_err(failed("find the folder to watch"))?;
        let memory = Arc::new(Memory::default());
        let stream = Stream::start(&place, memory.clone()).map_err(failed("start a stream of file events"))?;
        let watcher = Watcher::new(stream, memory, options).map_err(failed("look at what is mounted"))?;
        let coverage = watcher.coverage();
        match coverage.unwatched.first() {
            Some((_, reason)) if coverage.watched.is_empty() => Err(JournalError::Nothing { reason: reason.clone() }),
            Some(_) | None => Ok(Self(watcher)),
        }
    }

    pub(super) fn collect(&self, timeout: Duration) -> io::Result<()> {
        self.0.collect(timeout)
    }

    pub(super) fn position(&self) -> Position {
        self.0.position()
    }

    pub(super) fn since(&self, past: Position) -> (Position, Result<Changes, Lost>) {
        self.0.since(past)
    }

    pub(super) fn forget_before(&self, position: Position) {
        self.0.forget_before(position);
    }

    pub(super) fn coverage(&self) -> Coverage {
        self.0.coverage()
    }
}

/// A stream that runs until it is dropped.
#[derive(Debug)]
struct Stream {
    raw: apple::FSEventStreamRef,
    queue: DispatchRetained<DispatchQueue>,
    intake: Arc<Intake>,
    place: PathBuf,
    cookies: AtomicU64,
}

// SAFETY: FSEvents takes calls for one stream from any thread; after its start only flushes are made, and the end.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

/// What the stream's own thread has to do with.
#[derive(Debug)]
struct Intake {
    memory: Arc<Memory>,
    cookie_dir: PathBuf,
    /// The last cookie that came back.
    seen: Mutex<u64>,
    came: Condvar,
}

impl Stream {
    fn start(place: &Path, memory: Arc<Memory>) -> io::Result<Self> {
        let run = paths::Paths::standard().run;
        // What lies above the cookies is no secret: others look up the control socket in it.
        std::fs::create_dir_all(&run)?;
        let cookie_dir = run.join(format!("journal-{}", std::process::id()));
        secret_file::create_private_dir(&cookie_dir)?;
        // As events name it.
        let cookie_dir = cookie_dir.canonicalize()?;
        let intake = Arc::new(Intake { memory, cookie_dir, seen: Mutex::default(), came: Condvar::new() });
        let watched = [place, &intake.cookie_dir].map(|path| CFString::from_str(&path.to_string_lossy()));
        let watched = CFArray::from_retained_objects(&watched);
        let mut context = apple::FSEventStreamContext {
            version: 0,
            info: Arc::as_ptr(&intake).cast_mut().cast(),
            retain: None,
            release: None,
            copyDescription: None,
        };
        let flags = apple::kFSEventStreamCreateFlagUseCFTypes
            | apple::kFSEventStreamCreateFlagUseExtendedData
            | apple::kFSEventStreamCreateFlagFileEvents
            | apple::kFSEventStreamCreateFlagNoDefer
            | apple::kFSEventStreamCreateFlagWatchRoot;
        let since = apple::kFSEventStreamEventIdSinceNow;
        // SAFETY: the context is copied by the call; what it points to lives until the stream has ended (see `drop`).
        let raw = unsafe {
            apple::FSEventStreamCreate(
                None,
                Some(deliver),
                &raw mut context,
                watched.as_opaque(),
                since,
                LATENCY,
                flags,
            )
        };
        if raw.is_null() {
            return Err(io::Error::other("the system gives no stream of file events"));
        }
        let queue = DispatchQueue::new("nightkeep.journal", None);
        let stream = Self { raw, queue, intake, place: place.to_path_buf(), cookies: AtomicU64::new(0) };
        // SAFETY: the stream was just made and has no queue yet; a queue comes before the start.
        let started = unsafe {
            apple::FSEventStreamSetDispatchQueue(stream.raw, Some(&stream.queue));
            apple::FSEventStreamStart(stream.raw)
        };
        if started { Ok(stream) } else { Err(io::Error::other("the stream of file events does not start")) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: stop is allowed for a stream that has a queue, then it is taken off it and given back, once.
        unsafe {
            apple::FSEventStreamStop(self.raw);
            apple::FSEventStreamInvalidate(self.raw);
            apple::FSEventStreamRelease(self.raw);
        }
        // A delivery that began before the end still uses the intake.
        self.queue.exec_sync(|| {});
        // An empty folder that stays is no harm.
        let _ = std::fs::remove_dir(&self.intake.cookie_dir);
    }
}

impl System for Stream {
    fn volumes(&self) -> io::Result<Vec<Volume>> {
        let mounts = Mounts::read()?;
        let place = names::bytes_of(&self.place);
        let holds = |mount: &&Mount| is_within(&place, &mount.mount_point);
        let holder = mounts.iter().filter(holds).max_by_key(|mount| mount.mount_point.len());
        let beneath = mounts.iter().filter(|mount| mount.mount_point != place && is_within(&mount.mount_point, &place));
        Ok(holder.into_iter().chain(beneath).map(volume).collect())
    }

    fn settle(&self) -> io::Result<()> {
        let number = self.cookies.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.intake.cookie_dir.join(number.to_string());
        std::fs::File::create_new(&path)?;
        std::fs::remove_file(&path)?;
        let seen = self.intake.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.intake.came.wait_timeout_while(seen, COOKIE_WAIT, |seen| *seen < number);
        let (seen, _) = wait.unwrap_or_else(PoisonError::into_inner);
        if *seen < number {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        drop(seen);
        // SAFETY: the stream runs, and this is not its own queue.
        unsafe { apple::FSEventStreamFlushSync(self.raw) };
        Ok(())
    }

    fn current_id(&self) -> u64 {
        // SAFETY: it takes nothing.
        unsafe { apple::FSEventsGetCurrentEventId() }
    }

    fn writers(&self, options: &JournalOptions) -> Result<HashSet<u64>, Lost> {
        writers::open_files(&options.overlook)
    }
}

/// Whether `path` is `folder` or lies beneath it.
fn is_within(path: &[u8], folder: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(folder) else { return false };
    rest.is_empty() || folder == b"/" || rest.starts_with(b"/")
}

fn volume(mount: &Mount) -> Volume {
    let events = if mount.class != MountClass::Local {
        Err("no disk of this machine".to_owned())
    } else if !WATCHABLE.contains(&mount.filesystem.as_str()) {
        Err(format!("{} cannot be watched", mount.filesystem))
    } else if is_read_only(mount) {
        Ok([0; 16])
    } else {
        uuid(mount.device).ok_or_else(|| "the system keeps no events of it".to_owned())
    };
    Volume { mount_point: mount.mount_point.clone(), device: mount.device, events }
}

/// The system's own volume is a sealed snapshot, which another one replaces at a restart.
fn is_read_only(mount: &Mount) -> bool {
    let Some(path) = names::path_of(&mount.mount_point) else { return false };
    let flags = rustix::fs::statvfs(&*path).map(|stat| stat.f_flag);
    flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Of the volume's event database; another one when that was made anew.
fn uuid(device: u64) -> Option<[u8; 16]> {
    let device = i32::from_ne_bytes(u32::try_from(device).ok()?.to_ne_bytes());
    // SAFETY: it takes a number; what comes back is given back by its owner.
    let bytes = unsafe { apple::FSEventsCopyUUIDForDevice(device) }?.uuid_bytes();
    // SAFETY: CFUUID.h: sixteen bytes and nothing else.
    Some(unsafe { std::mem::transmute::<objc2_core_foundation::CFUUIDBytes, [u8; 16]>(bytes) })
}

/// Called by the stream, on its queue.
unsafe extern "C-unwind" fn deliver(
    _stream: apple::ConstFSEventStreamRef,
    info: *mut c_void,
    count: usize,
    items: NonNull<c_void>,
    flags: NonNull<u32>,
    ids: NonNull<u64>,
) {
    // SAFETY: the stream was made with the intake as its info, and that outlives it. With the flags it was made with, the
    // items are an array of dictionaries, and there are as many flags and ids.
    let (intake, items, flags, ids) = unsafe {
        (
            &*info.cast::<Intake>(),
            items.cast::<CFArray<CFDictionary<CFString, CFType>>>().as_ref(),
            std::slice::from_raw_parts(flags.as_ptr(), count),
            std::slice::from_raw_parts(ids.as_ptr(), count),
        )
    };
    let (path_key, inode_key) = (CFString::from_static_str("path"), CFString::from_static_str("fileID"));
    let mut events = Vec::with_capacity(count);
    for (at, (flags, id)) in flags.iter().zip(ids).enumerate() {
        let item = items.get(at);
        let value = |key: &CFString| item.as_ref().and_then(|item| item.get(key));
        let path = value(&path_key).and_then(|path| path.downcast_ref::<CFString>().map(ToString::to_string));
        let inode = value(&inode_key).and_then(|inode| inode.downcast_ref::<CFNumber>().and_then(CFNumber::as_i64));
        // One without a path loses the journal, in `Memory::take`.
        let path = path.unwrap_or_default().into_bytes();
        events.push(Event { path, flags: *flags, id: *id, inode: inode.map(i64::cast_unsigned) });
    }
    let cookie = events.iter().filter_map(|event| intake.cookie(event)).max();
    intake.memory.take(events);
    if let Some(number) = cookie {
        let mut seen = intake.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = number.max(*seen);
        intake.came.notify_all();
    }
}

impl Intake {
    /// The number of the cookie that an event tells of.
    fn cookie(&self, event: &Event) -> Option<u64> {
        let path = names::path_of(&event.path)?;
        let name = path.strip_prefix(&self.cookie_dir).ok()?;
        name.to_str()?.parse().ok()
    }
}
