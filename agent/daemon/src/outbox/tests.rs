//! Crashes at every byte, acknowledgements, renumbering.

#![expect(clippy::unwrap_used, reason = "a test that cannot write its own file has failed")]

use super::*;
use nightkeep_wire::report::PauseState;
use proptest::prelude::*;
use uuid::Uuid;

const MACHINE: MachineId = MachineId::from_uuid(Uuid::from_u128(1));
const LIFE: IncarnationId = IncarnationId::from_uuid(Uuid::from_u128(2));

fn body(text: impl Into<String>) -> ReportBody {
    ReportBody::Pause(PauseState { until: None, by: text.into() })
}

fn text(report: &Report) -> String {
    let ReportBody::Pause(pause) = &report.body else { panic!("unexpected report {report:?}") };
    pause.by.clone()
}

fn open(path: &Path) -> (Outbox, Opened) {
    Outbox::open(path, MACHINE, LIFE).unwrap()
}

fn texts(outbox: &mut Outbox) -> Vec<(u64, String)> {
    outbox.pending(usize::MAX).unwrap().iter().map(|report| (report.sequence, text(report))).collect()
}

/// Cuts the file where `cuts` says, of a file of so many bytes: exactly the reports whose append had returned by then are
/// there, and the next one gets the next number.
fn survives_a_crash<I: IntoIterator<Item = usize>>(sizes: &[usize], cuts: impl FnOnce(usize) -> I) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let (mut outbox, opened) = open(&path);
    assert_eq!(opened, Opened::Fresh);
    let mut ends = vec![outbox.end];
    for (n, size) in sizes.iter().enumerate() {
        outbox.append(DateTime::UNIX_EPOCH, body(format!("{n}").repeat(*size))).unwrap();
        ends.push(outbox.end);
    }
    let whole = std::fs::read(&path).unwrap();
    for cut in cuts(whole.len()) {
        let image = dir.path().join("image");
        std::fs::write(&image, &whole[..cut]).unwrap();
        let recorded = ends.iter().filter(|end| **end <= cut as u64).count() - 1;
        let (mut after, _) = open(&image);
        let found = texts(&mut after);
        assert_eq!(found.len(), recorded, "cut at {cut}");
        assert!(found.iter().enumerate().all(|(n, (sequence, _))| *sequence == n as u64 + 1));
        assert_eq!(after.append(DateTime::UNIX_EPOCH, body("next")).unwrap(), recorded as u64 + 1);
        let (mut again, opened) = open(&image);
        assert_eq!(opened, Opened::Continued { discarded: 0 });
        assert_eq!(texts(&mut again).last().unwrap().1, "next");
    }
}

#[test]
fn a_crash_at_any_byte_loses_no_recorded_report_and_doubles_none() {
    survives_a_crash(&[1, 9, 0], |length| HEADER_BYTES..=length);
}

#[test]
fn any_damaged_byte_ends_the_file_there_and_nothing_foreign_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let (mut outbox, _) = open(&path);
    for n in 0..3 {
        outbox.append(DateTime::UNIX_EPOCH, body(format!("report {n}"))).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&path, &damaged).unwrap();
        let (mut after, _) = open(&path);
        let found = texts(&mut after);
        let good: Vec<_> = (0..3).map(|n| (n + 1, format!("report {n}"))).collect();
        assert_eq!(found, good[..found.len()], "damage at {at}");
    }
}

#[test]
fn acknowledged_reports_are_gone_and_their_space_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let (mut outbox, _) = open(&path);
    for n in 0..200 {
        outbox.append(DateTime::UNIX_EPOCH, body(format!("{n:0>1000}"))).unwrap();
    }
    outbox.acknowledge(198).unwrap();
    assert_eq!(outbox.waiting(), 2);
    assert!(std::fs::metadata(&path).unwrap().len() < 5000);
    let (mut again, _) = open(&path);
    assert_eq!(again.pending(10).unwrap().iter().map(|report| report.sequence).collect::<Vec<_>>(), [199, 200]);
    again.acknowledge(200).unwrap();
    assert_eq!(again.append(DateTime::UNIX_EPOCH, body("more")).unwrap(), 201);
}

#[test]
fn an_emptied_outbox_goes_on_counting_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let (mut outbox, _) = open(&path);
    for _ in 0..100 {
        outbox.append(DateTime::UNIX_EPOCH, body("x".repeat(1000))).unwrap();
    }
    outbox.acknowledge(100).unwrap();
    drop(outbox);
    let (outbox, _) = open(&path);
    assert_eq!((outbox.waiting(), outbox.next_sequence()), (0, 101));
}

#[test]
fn a_new_incarnation_takes_the_waiting_reports_along_from_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let (mut outbox, _) = open(&path);
    for n in 0..5 {
        outbox.append(DateTime::UNIX_EPOCH, body(format!("{n}"))).unwrap();
    }
    outbox.acknowledge(3).unwrap();
    let other = IncarnationId::from_uuid(Uuid::from_u128(3));
    drop(outbox);
    let (mut outbox, _) = Outbox::open(&path, MACHINE, other).unwrap();
    let pending = outbox.pending(10).unwrap();
    assert!(pending.iter().all(|report| report.incarnation == other));
    // What was acknowledged but not yet compacted away is sent again; the host knows reports by their content.
    assert_eq!(pending.last().map(text).unwrap(), "4");
    assert_eq!(outbox.next_sequence(), pending.len() as u64 + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_crash_at_any_byte_of_any_outbox_loses_nothing(
        sizes in prop::collection::vec(0usize..300, 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 12),
    ) {
        survives_a_crash(&sizes, |length| cuts.into_iter().map(move |cut| HEADER_BYTES + cut.index(length - HEADER_BYTES)));
    }

    // Few cases: each makes files durable.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        std::fs::write(&path, &bytes).unwrap();
        let (outbox, _) = open(&path);
        prop_assert_eq!(outbox.waiting(), 0);
    }
}
