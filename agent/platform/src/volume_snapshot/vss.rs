//! How shadow copies are asked for: the order of calls, what each failure means, and that nothing is left behind.
//!
//! ```text
//! open -> gather metadata -> supported? -> start set -> (ledger) -> add each volume -> prepare -> make -> writers' status
//!      -> device of each; later: complete -> delete the set
//! ```
//! It makes no call of Windows itself: those stand behind [`Requester`], which a test plays. All volumes go into one set, so that
//! they are of one moment; when a set cannot be made, each volume is tried alone, and one that is in trouble costs the others
//! nothing.
//!
//! **Invariant**: once a set was started, [`Set`] owns it, and a set that is dropped was aborted, or completed and deleted.

#[cfg(test)]
mod tests;
pub(super) mod words;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Method, Volume, WhyLive};
pub(super) use words::Code;

/// How often a step is asked whether it is done.
const POLL: Duration = Duration::from_millis(200);
/// How long the end of a backup may take; its snapshots are deleted whatever comes of it.
const COMPLETE_MAX: Duration = Duration::from_secs(60);
/// Another backup at work, or a disk too busy for the few seconds that count: tried again so often.
const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(20);

/// A set of snapshots, or one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(pub(super) u128);

/// A call that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    GatherMetadata,
    Prepare,
    Make,
    GatherStatus,
    Complete,
}

impl Step {
    /// The call's own name, for people who look it up.
    const fn name(self) -> &'static str {
        match self {
            Self::GatherMetadata => "GatherWriterMetadata",
            Self::Prepare => "PrepareForBackup",
            Self::Make => "DoSnapshotSet",
            Self::GatherStatus => "GatherWriterStatus",
            Self::Complete => "BackupComplete",
        }
    }
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepState {
    Pending,
    Done,
    #[cfg_attr(not(windows), expect(dead_code, reason = "only Windows itself answers it"))]
    Cancelled,
}

/// A program that could not get its data in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) name: String,
    pub(super) code: Code,
}

/// The calls that one backup makes of the service.
pub(super) trait Requester {
    fn start(&mut self, step: Step) -> Result<(), Code>;
    /// Waits for the step that was started last, at most so long.
    fn wait(&mut self, at_most: Duration) -> Result<StepState, Code>;
    /// Gives up the step that was started last.
    fn cancel(&mut self);
    /// Whether there can be a snapshot of the volume at a root such as `C:\`.
    fn is_supported(&mut self, root: &str) -> Result<bool, Code>;
    fn start_set(&mut self) -> Result<Id, Code>;
    /// Adds a volume to the set; answers its snapshot's id.
    fn add(&mut self, root: &str) -> Result<Id, Code>;
    /// The writers that are in trouble, after their status was gathered.
    fn troubled_writers(&mut self) -> Result<Vec<Writer>, Code>;
    /// The device that holds a snapshot: `\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy1`.
    fn device_of(&mut self, snapshot: Id) -> Result<String, Code>;
    /// Takes back a set that is not made yet.
    fn abort(&mut self);
    fn delete_set(&mut self, set: Id) -> Result<(), Code>;
}

/// A volume that is to have a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its root, which is also its place: `C:\`.
    pub(super) root: String,
}

/// What making snapshots needs from around it.
pub(super) struct Around<'a> {
    /// A requester that is initialised for a backup.
    pub(super) open: &'a mut dyn FnMut() -> Result<Box<dyn Requester>, Code>,
    /// Writes a set down before it is made.
    pub(super) note: &'a mut dyn FnMut(Id) -> io::Result<()>,
    pub(super) pause: &'a mut dyn FnMut(Duration),
    pub(super) cancelled: &'a dyn Fn() -> bool,
    /// How long everything may still take; counted by what was waited for.
    pub(super) left: Duration,
}

/// What came of a request.
pub(super) struct Made {
    pub(super) volumes: Vec<Volume>,
    pub(super) sets: Vec<Set>,
}

/// Somebody asked to stop; nothing is left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cancelled;

/// Why a set was not made.
#[derive(Debug)]
enum Trouble {
    Call { call: &'static str, code: Code },
    TimedOut { call: &'static str },
    Ledger(io::Error),
    Cancelled,
}

fn at(call: &'static str) -> impl Fn(Code) -> Trouble {
    move |code| Trouble::Call { call, code }
}

impl Trouble {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Call { code, .. } if code.is_passing())
    }

    fn why(&self) -> WhyLive {
        match self {
            Self::Call { call, code } => code.why_live(call),
            Self::TimedOut { call } => words::timed_out(call),
            Self::Ledger(error) => words::no_ledger(error),
            // Never told of a volume.
            Self::Cancelled => WhyLive::NotOurs,
        }
    }
}

/// Makes snapshots of `wanted`, as far as it can; what has none is told as live, with the reason.
pub(super) fn make(around: &mut Around<'_>, wanted: &[Wanted]) -> Result<Made, Cancelled> {
    let trouble = match with_tries(around, wanted) {
        Ok(made) => return Ok(made),
        Err(Trouble::Cancelled) => return Err(Cancelled),
        Err(trouble) => trouble,
    };
    let asks_again = wanted.len() > 1 && matches!(trouble, Trouble::Call { .. });
    if !asks_again {
        let volumes = wanted.iter().map(|wanted| live(wanted, trouble.why())).collect();
        return Ok(Made { volumes, sets: Vec::new() });
    }
    let mut made = Made { volumes: Vec::new(), sets: Vec::new() };
    for one in wanted {
        let alone = make(around, std::slice::from_ref(one))?;
        made.volumes.extend(alone.volumes);
        made.sets.extend(alone.sets);
    }
    Ok(made)
}

fn with_tries(around: &mut Around<'_>, wanted: &[Wanted]) -> Result<Made, Trouble> {
    let mut tries = 1;
    loop {
        match one_set(around, wanted) {
            Err(trouble) if trouble.is_passing() && tries < TRIES_MAX => {
                tries += 1;
                around.rest(PAUSE)?;
            }
            outcome => return outcome,
        }
    }
}

fn one_set(around: &mut Around<'_>, wanted: &[Wanted]) -> Result<Made, Trouble> {
    let mut requester = (around.open)().map_err(at("InitializeForBackup"))?;
    around.run(&mut *requester, Step::GatherMetadata)?;
    let (mut volumes, mut chosen) = (Vec::new(), Vec::new());
    for wanted in wanted {
        match requester.is_supported(&wanted.root) {
            Ok(true) => chosen.push(wanted),
            Ok(false) => volumes.push(live(wanted, words::not_supported())),
            Err(code) => volumes.push(live(wanted, code.why_live("IsVolumeSupported"))),
        }
    }
    if chosen.is_empty() {
        return Ok(Made { volumes, sets: Vec::new() });
    }
    let id = requester.start_set().map_err(at("StartSnapshotSet"))?;
    let mut set = Set { requester, id, state: SetState::Started };
    (around.note)(id).map_err(Trouble::Ledger)?;
    let mut added = Vec::new();
    for wanted in chosen {
        match set.requester.add(&wanted.root) {
            Ok(snapshot) => added.push((wanted, snapshot)),
            // The set itself is in trouble, or another backup is at work: not this volume's doing.
            Err(code) if code.is_passing() || code.spoils_set() => return Err(at("AddToSnapshotSet")(code)),
            Err(code) => volumes.push(live(wanted, code.why_live("AddToSnapshotSet"))),
        }
    }
    if added.is_empty() {
        return Ok(Made { volumes, sets: Vec::new() });
    }
    around.run(&mut *set.requester, Step::Prepare)?;
    set.state = SetState::Making;
    around.run(&mut *set.requester, Step::Make)?;
    set.state = SetState::Made;
    let warnings = around.warnings(&mut *set.requester)?;
    for (wanted, snapshot) in added {
        volumes.push(match set.requester.device_of(snapshot) {
            Ok(device) => Volume {
                place: PathBuf::from(&wanted.root),
                read_at: PathBuf::from(format!("{device}\\")),
                method: Method::Vss,
                why_live: None,
                warnings: warnings.clone(),
            },
            Err(code) => live(wanted, code.why_live("GetSnapshotProperties")),
        });
    }
    Ok(Made { volumes, sets: vec![set] })
}

fn live(wanted: &Wanted, why: WhyLive) -> Volume {
    Volume::live(PathBuf::from(&wanted.root), why)
}

impl Around<'_> {
    /// Runs a step to its end.
    fn run(&mut self, requester: &mut dyn Requester, step: Step) -> Result<(), Trouble> {
        if (self.cancelled)() {
            return Err(Trouble::Cancelled);
        }
        requester.start(step).map_err(at(step.name()))?;
        loop {
            if (self.cancelled)() {
                requester.cancel();
                return Err(Trouble::Cancelled);
            }
            if self.left.is_zero() {
                requester.cancel();
                return Err(Trouble::TimedOut { call: step.name() });
            }
            let slice = POLL.min(self.left);
            self.left -= slice;
            match requester.wait(slice).map_err(at(step.name()))? {
                StepState::Pending => {}
                StepState::Done => return Ok(()),
                StepState::Cancelled => return Err(at(step.name())(Code::ASYNC_CANCELLED)),
            }
        }
    }

    fn rest(&mut self, pause: Duration) -> Result<(), Trouble> {
        let mut rest = pause.min(self.left);
        while !rest.is_zero() {
            if (self.cancelled)() {
                return Err(Trouble::Cancelled);
            }
            let slice = POLL.min(rest);
            rest -= slice;
            self.left -= slice;
            (self.pause)(slice);
        }
        Ok(())
    }

    /// What writers say of the snapshot. Not to know is a warning, too: the snapshot is there.
    fn warnings(&mut self, requester: &mut dyn Requester) -> Result<Vec<String>, Trouble> {
        let status = self.run(requester, Step::GatherStatus).and_then(|()| {
            let writers = requester.troubled_writers();
            writers.map_err(at("GetWriterStatus"))
        });
        match status {
            Ok(writers) => Ok(writers.iter().map(words::of_writer).collect()),
            Err(Trouble::Cancelled) => Err(Trouble::Cancelled),
            Err(trouble) => Ok(vec![words::writers_unknown(&trouble.why())]),
        }
    }
}

/// How far a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SetState {
    Started,
    /// Perhaps there are snapshots already.
    Making,
    Made,
    Gone,
}

/// A set that was started, with the backup it belongs to.
pub(super) struct Set {
    requester: Box<dyn Requester>,
    id: Id,
    state: SetState,
}

impl Set {
    /// Ends the backup and deletes its snapshots. What cannot be deleted is told, and tried no more.
    pub(super) fn release(&mut self) -> Result<(), Code> {
        let state = std::mem::replace(&mut self.state, SetState::Gone);
        match state {
            SetState::Gone => return Ok(()),
            SetState::Started => {
                self.requester.abort();
                return Ok(());
            }
            SetState::Making => self.requester.abort(),
            SetState::Made => self.complete(),
        }
        match self.requester.delete_set(self.id) {
            Err(code) if code.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    /// Tells the writers that the backup is over. Whatever comes of it, the snapshots go next.
    fn complete(&mut self) {
        let mut around = Around {
            open: &mut || Err(Code::ASYNC_CANCELLED),
            note: &mut |_| Ok(()),
            pause: &mut |_| {},
            cancelled: &|| false,
            left: COMPLETE_MAX,
        };
        let _ = around.run(&mut *self.requester, Step::Complete);
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // Nobody is left to tell; the ledger remembers.
        let _ = self.release();
    }
}
