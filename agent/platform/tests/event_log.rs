//! The events' numbers, and the table of texts that Windows reads.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its table has failed")]

use nightkeep_platform::event_log::table::{Event, Kind, resource};

/// Monitoring outside this repository relies on these: a line may be added, none changed.
const PROMISED: &[(u32, Kind, Event)] = &[
    (1000, Kind::Information, Event::BackupStarted),
    (1001, Kind::Information, Event::BackupOk),
    (1002, Kind::Warning, Event::BackupWarning),
    (1003, Kind::Error, Event::BackupError),
    (1004, Kind::Warning, Event::BackupMissed),
    (1005, Kind::Information, Event::BackupStopped),
    (1006, Kind::Information, Event::Paused),
    (1007, Kind::Information, Event::Resumed),
    (1008, Kind::Information, Event::BackupInterrupted),
    (1010, Kind::Information, Event::PlanApplied),
    (1011, Kind::Information, Event::PlanRevoked),
    (1012, Kind::Warning, Event::PlanRefused),
    (1020, Kind::Information, Event::RestoreDone),
    (1021, Kind::Error, Event::RestoreFailed),
    (1022, Kind::Warning, Event::RestorePartial),
    (1040, Kind::Error, Event::CannotGoOn),
    (1050, Kind::Information, Event::ServiceStarted),
    (1051, Kind::Information, Event::ServiceStopped),
    (1052, Kind::Information, Event::Enrolled),
    (1053, Kind::Information, Event::Unenrolled),
];

#[test]
fn every_event_has_the_number_that_was_promised() {
    let events: Vec<_> = Event::ALL.iter().map(|event| (event.id(), event.kind(), *event)).collect();
    assert_eq!(events, PROMISED);
}

#[test]
fn the_table_has_a_text_for_every_number_in_rising_order() {
    let bytes = resource();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let half = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
    assert_eq!(number(0) as usize, Event::ALL.len());
    for (at, event) in Event::ALL.iter().enumerate() {
        let block = 4 + 12 * at;
        assert_eq!((number(block), number(block + 4)), (event.id(), event.id()));
        let entry = number(block + 8) as usize;
        let (length, flags) = (usize::from(half(entry)), half(entry + 2));
        assert!(entry.is_multiple_of(4) && length.is_multiple_of(4) && flags == 1);
        let units: Vec<u16> = (entry + 4..entry + length).step_by(2).map(half).collect();
        let text = String::from_utf16(&units).unwrap();
        assert_eq!(text.trim_end_matches('\0'), format!("{}: %1\r\n", event.title()));
        assert!(text.ends_with('\0'));
    }
}
