//! What the system itself tells or is told, beside files. Under Wine, which has no change journal and keeps no events.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_platform::event_log::{self, Event};
use nightkeep_platform::journal::{Journal, JournalError, JournalOptions};
use std::fs;
use std::path::Path;

#[test]
fn without_a_change_journal_the_reason_is_told_and_the_systems_start_remembered() {
    if std::env::var_os("NIGHTKEEP_UNDER_WINE").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("journals");
    let open = || {
        let options = JournalOptions { memory: Some(memory.clone()), ..JournalOptions::default() };
        match Journal::open(Path::new("C:\\"), options) {
            Err(JournalError::Nothing { reason }) => (reason, fs::read_to_string(&memory).unwrap()),
            other => unreachable!("{other:?}"),
        }
    };
    let (reason, remembered) = open();
    assert!(reason.starts_with("C:"), "{reason}");
    // The same start of the system, as the registry's key of this start says.
    assert_eq!(open().1, remembered);
    let nowhere = Journal::open(Path::new("C:\\"), JournalOptions::default());
    assert!(matches!(nowhere, Err(JournalError::Nothing { .. })), "{nowhere:?}");
}

#[test]
fn an_event_is_told_and_one_of_a_source_without_texts_is_not_shown() {
    event_log::tell("NightkeepTest", Event::ServiceStarted, "of a test").unwrap();
    assert!(event_log::shown("NightkeepTest", Event::ServiceStarted, "of a test").is_err());
    event_log::unregister("NightkeepTest").unwrap();
}
