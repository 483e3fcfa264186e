//! The service is played: no system here can make a shadow copy. The play keeps the rules that the documentation gives, and
//! counts what is left behind.
#![expect(clippy::unwrap_used, reason = "a test whose play goes wrong has failed")]

use super::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

const DENIED: Code = Code(0x8007_0005);
const PROVIDER_VETO: Code = Code(0x8004_2306);
const NO_ROOM: Code = Code(0x8004_231F);
const IN_PROGRESS: Code = Code(0x8004_2316);

/// What the service does, and what was asked of it.
#[derive(Default)]
struct Play {
    calls: RefCell<Vec<String>>,
    /// Calls that fail, by name, with how often.
    failing: RefCell<HashMap<String, (Code, u32)>>,
    /// Steps that never end.
    hanging: RefCell<Vec<Step>>,
    /// Sets that hold snapshots now.
    alive: RefCell<Vec<Id>>,
    unsupported: RefCell<Vec<String>>,
    writers: RefCell<Vec<Writer>>,
    numbers: Cell<u128>,
    paused: Cell<Duration>,
}

impl Play {
    fn call(&self, name: &str) -> Result<(), Code> {
        self.calls.borrow_mut().push(name.to_owned());
        let mut failing = self.failing.borrow_mut();
        match failing.get_mut(name) {
            Some((code, times)) if *times > 0 => {
                *times -= 1;
                Err(*code)
            }
            _ => Ok(()),
        }
    }

    fn fail(&self, name: &str, code: Code, times: u32) {
        self.failing.borrow_mut().insert(name.to_owned(), (code, times));
    }

    fn count(&self, name: &str) -> usize {
        self.calls.borrow().iter().filter(|call| *call == name).count()
    }

    fn number(&self) -> u128 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }
}

struct Played {
    play: Rc<Play>,
    step: Option<Step>,
    set: Option<Id>,
    added: Vec<Id>,
}

impl Requester for Played {
    fn start(&mut self, step: Step) -> Result<(), Code> {
        self.step = Some(step);
        self.play.call(step.name())
    }

    fn wait(&mut self, _at_most: Duration) -> Result<StepState, Code> {
        let step = self.step.unwrap();
        if self.play.hanging.borrow().contains(&step) {
            return Ok(StepState::Pending);
        }
        self.play.call(&format!("{} ends", step.name()))?;
        if step == Step::Make {
            assert!(!self.added.is_empty(), "a set without volumes is made");
            self.play.alive.borrow_mut().push(self.set.unwrap());
        }
        Ok(StepState::Done)
    }

    fn cancel(&mut self) {
        let _ = self.play.call("Cancel");
    }

    fn is_supported(&mut self, root: &str) -> Result<bool, Code> {
        self.play.call("IsVolumeSupported")?;
        Ok(!self.play.unsupported.borrow().iter().any(|unsupported| unsupported == root))
    }

    fn start_set(&mut self) -> Result<Id, Code> {
        self.play.call("StartSnapshotSet")?;
        self.set = Some(Id(self.play.number()));
        Ok(self.set.unwrap())
    }

    fn add(&mut self, root: &str) -> Result<Id, Code> {
        self.play.call(&format!("Add {root}"))?;
        self.added.push(Id(self.play.number()));
        Ok(self.added[self.added.len() - 1])
    }

    fn troubled_writers(&mut self) -> Result<Vec<Writer>, Code> {
        self.play.call("GetWriterStatus")?;
        Ok(self.play.writers.borrow().clone())
    }

    fn device_of(&mut self, snapshot: Id) -> Result<String, Code> {
        self.play.call("GetSnapshotProperties")?;
        assert!(self.added.contains(&snapshot));
        Ok(format!(r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy{}", snapshot.0))
    }

    fn abort(&mut self) {
        let _ = self.play.call("AbortBackup");
    }

    fn delete_set(&mut self, set: Id) -> Result<(), Code> {
        self.play.call("DeleteSnapshots")?;
        let mut alive = self.play.alive.borrow_mut();
        let before = alive.len();
        alive.retain(|known| *known != set);
        if alive.len() == before { Err(Code(0x8004_2308)) } else { Ok(()) }
    }
}

/// Makes snapshots of drives; `notes` are the sets that were written down.
fn make_of(play: &Rc<Play>, drives: &[&str], notes: &RefCell<Vec<Id>>) -> Result<Made, Cancelled> {
    make_until(play, drives, notes, &|| false)
}

fn make_until(
    play: &Rc<Play>,
    drives: &[&str],
    notes: &RefCell<Vec<Id>>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Made, Cancelled> {
    let wanted: Vec<Wanted> = drives.iter().map(|root| Wanted { root: (*root).to_owned() }).collect();
    let mut around = Around {
        open: &mut || {
            play.call("open")?;
            Ok(Box::new(Played { play: play.clone(), step: None, set: None, added: Vec::new() }))
        },
        note: &mut |id| {
            let noted = play.call("note");
            notes.borrow_mut().push(id);
            noted.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
        },
        pause: &mut |pause| play.paused.set(play.paused.get() + pause),
        cancelled,
        left: Duration::from_secs(600),
    };
    make(&mut around, &wanted)
}

fn methods(made: &Made) -> Vec<(String, &'static str)> {
    let mut methods: Vec<_> =
        made.volumes.iter().map(|volume| (volume.place.display().to_string(), volume.method.name())).collect();
    methods.sort();
    methods
}

fn of(methods: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    methods.iter().map(|(place, method)| ((*place).to_owned(), *method)).collect()
}

#[test]
fn the_calls_are_made_in_the_order_that_the_service_wants() {
    let (play, notes) = (Rc::new(Play::default()), RefCell::default());
    let mut made = make_of(&play, &[r"C:\", r"D:\"], &notes).unwrap();
    assert_eq!(methods(&made), of(&[(r"C:\", "vss"), (r"D:\", "vss")]));
    assert_eq!(made.volumes[0].read_at.to_str(), Some(r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy2\"));
    assert_eq!(*notes.borrow(), [Id(1)]);
    made.sets[0].release().unwrap();
    drop(made);
    let expected = [
        "open",
        "GatherWriterMetadata",
        "GatherWriterMetadata ends",
        "IsVolumeSupported",
        "IsVolumeSupported",
        "StartSnapshotSet",
        "note",
        r"Add C:\",
        r"Add D:\",
        "PrepareForBackup",
        "PrepareForBackup ends",
        "DoSnapshotSet",
        "DoSnapshotSet ends",
        "GatherWriterStatus",
        "GatherWriterStatus ends",
        "GetWriterStatus",
        "GetSnapshotProperties",
        "GetSnapshotProperties",
        "BackupComplete",
        "BackupComplete ends",
        "DeleteSnapshots",
    ];
    assert_eq!(*play.calls.borrow(), expected);
    assert!(play.alive.borrow().is_empty());
}

#[test]
fn whichever_call_fails_the_volume_is_told_live_with_a_remedy_and_nothing_is_left() {
    for call in [
        "open",
        "GatherWriterMetadata",
        "GatherWriterMetadata ends",
        "IsVolumeSupported",
        "StartSnapshotSet",
        "note",
        r"Add C:\",
        "PrepareForBackup",
        "PrepareForBackup ends",
        "DoSnapshotSet",
        "DoSnapshotSet ends",
        "GetSnapshotProperties",
    ] {
        let (play, notes) = (Rc::new(Play::default()), RefCell::default());
        play.fail(call, PROVIDER_VETO, u32::MAX);
        let made = make_of(&play, &[r"C:\"], &notes).unwrap();
        assert_eq!(methods(&made), of(&[(r"C:\", "live")]), "{call}");
        let Some(WhyLive::Failed { reason, remedy }) = &made.volumes[0].why_live else { panic!("{call}") };
        assert!(call == "note" || reason.contains("VSS_E_PROVIDER_VETO"), "{call}: {reason}");
        assert!(!remedy.is_empty(), "{call}");
        drop(made);
        assert!(play.alive.borrow().is_empty(), "{call} leaves a snapshot");
        let started = play.count("StartSnapshotSet") > usize::from(call == "StartSnapshotSet");
        let ended = play.count("AbortBackup") + play.count("DeleteSnapshots") > 0;
        assert_eq!(started, ended, "{call}: {:?}", play.calls.borrow());
    }
}

#[test]
fn a_volume_without_shadow_copies_costs_the_others_nothing() {
    let (play, notes) = (Rc::new(Play::default()), RefCell::default());
    play.unsupported.borrow_mut().push(r"E:\".to_owned());
    let made = make_of(&play, &[r"C:\", r"E:\"], &notes).unwrap();
    assert_eq!(methods(&made), of(&[(r"C:\", "vss"), (r"E:\", "live")]));
    let live = made.volumes.iter().find(|volume| volume.method == Method::Live).unwrap();
    assert!(matches!(live.why_live, Some(WhyLive::Unavailable { .. })));
}

#[test]
fn when_a_set_of_all_cannot_be_made_each_volume_is_tried_alone() {
    let (play, notes) = (Rc::new(Play::default()), RefCell::default());
    // The set of both, and then the first one alone.
    play.fail("DoSnapshotSet ends", NO_ROOM, 2);
    let made = make_of(&play, &[r"C:\", r"D:\"], &notes).unwrap();
    assert_eq!(methods(&made), of(&[(r"C:\", "live"), (r"D:\", "vss")]));
    let why = made.volumes.iter().find_map(|volume| volume.why_live.clone()).unwrap();
    assert!(why.to_string().contains("no room") && why.to_string().contains("vssadmin resize"), "{why}");
    assert_eq!(play.alive.borrow().len(), 1);
    drop(made);
    assert!(play.alive.borrow().is_empty());
    // Each set was written down before it was made.
    assert_eq!(notes.borrow().len(), 3);
}

#[test]
fn another_backup_at_work_is_waited_for_and_only_so_long() {
    let (play, notes) = (Rc::new(Play::default()), RefCell::default());
    play.fail("StartSnapshotSet", IN_PROGRESS, 2);
    let made = make_of(&play, &[r"C:\"], &notes).unwrap();
    assert_eq!(methods(&made), of(&[(r"C:\", "vss")]));
    assert_eq!(play.paused.get(), Duration::from_secs(40));

    let play = Rc::new(Play::default());
    play.fail("StartSnapshotSet", IN_PROGRESS, u32::MAX);
    let made = make_of(&play, &[r"C:\"], &notes).unwrap();
    assert!(made.volumes[0].why_live.as_ref().unwrap().to_string().contains("another program"));
    assert_eq!(play.count("StartSnapshotSet"), 3);
}

#[test]
fn a_step_that_never_ends_is_given_up_when_the_time_is_over() {
    for step in [Step::GatherMetadata, Step::Prepare, Step::Make] {
        let (play, notes) = (Rc::new(Play::default()), RefCell::default());
        play.hanging.borrow_mut().push(step);
        let made = make_of(&play, &[r"C:\", r"D:\"], &notes).unwrap();
        assert_eq!(methods(&made), of(&[(r"C:\", "live"), (r"D:\", "live")]));
        let why = made.volumes[0].why_live.as_ref().unwrap().to_string();
        assert!(why.contains(step.name()) && why.contains("in time"), "{why}");
        // All the time is gone: another try for each volume would only hang again.
        assert_eq!((play.count("open"), play.count("Cancel")), (1, 1));
        assert_eq!(play.count("AbortBackup"), usize::from(step != Step::GatherMetadata));
    }
}

#[test]
fn a_stop_is_heard_in_the_middle_of_a_step_and_leaves_nothing() {
    let (play, notes) = (Rc::new(Play::default()), RefCell::default());
    play.hanging.borrow_mut().push(Step::Make);
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 20
    };
    assert!(matches!(make_until(&play, &[r"C:\"], &notes, &cancelled), Err(Cancelled)));
    assert_eq!((play.count("Cancel"), play.count("AbortBackup")), (1, 1));
    assert_eq!(play.count("DeleteSnapshots"), 1, "what the step may have made meanwhile is deleted");
}

#[test]
fn a_writer_in_trouble_is_a_warning_beside_the_snapshot() {
    let (play, notes) = (Rc::new(Play::default()), RefCell::default());
    play.writers.borrow_mut().push(Writer { name: "SqlServerWriter".to_owned(), code: Code(0x8004_23F4) });
    let made = make_of(&play, &[r"C:\"], &notes).unwrap();
    assert_eq!(methods(&made), of(&[(r"C:\", "vss")]));
    assert!(made.volumes[0].warnings[0].contains("SqlServerWriter"), "{:?}", made.volumes[0].warnings);

    let play = Rc::new(Play::default());
    play.fail("GatherWriterStatus", PROVIDER_VETO, 1);
    let made = make_of(&play, &[r"C:\"], &notes).unwrap();
    assert_eq!(methods(&made), of(&[(r"C:\", "vss")]));
    assert!(made.volumes[0].warnings[0].contains("not known"));
}

#[test]
fn snapshots_are_deleted_although_the_end_of_the_backup_fails_or_hangs() {
    for hangs in [false, true] {
        let (play, notes) = (Rc::new(Play::default()), RefCell::default());
        let mut made = make_of(&play, &[r"C:\"], &notes).unwrap();
        match hangs {
            true => play.hanging.borrow_mut().push(Step::Complete),
            false => play.fail("BackupComplete", PROVIDER_VETO, 1),
        }
        made.sets[0].release().unwrap();
        assert!(play.alive.borrow().is_empty());
        assert_eq!(play.count("Cancel"), usize::from(hangs));
    }
}

#[test]
fn what_cannot_be_deleted_is_told_and_what_is_gone_is_not() {
    let (play, notes) = (Rc::new(Play::default()), RefCell::default());
    let mut made = make_of(&play, &[r"C:\"], &notes).unwrap();
    play.fail("DeleteSnapshots", DENIED, 1);
    assert_eq!(made.sets[0].release(), Err(DENIED));

    let mut made = make_of(&play, &[r"C:\"], &notes).unwrap();
    play.alive.borrow_mut().clear();
    assert_eq!(made.sets[0].release(), Ok(()));
}

#[test]
fn a_system_without_the_service_or_an_account_without_the_right_lacks_it_and_did_not_fail() {
    for code in [Code(0x8000_4001), Code(0x8004_0154), Code(0x8007_007E), DENIED] {
        let (play, notes) = (Rc::new(Play::default()), RefCell::default());
        play.fail("open", code, u32::MAX);
        let made = make_of(&play, &[r"C:\"], &notes).unwrap();
        assert!(matches!(made.volumes[0].why_live, Some(WhyLive::Unavailable { .. })), "{code:?}");
        assert!(notes.borrow().is_empty());
    }
}
