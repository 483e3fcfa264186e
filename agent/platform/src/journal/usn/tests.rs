#![expect(clippy::unwrap_used, reason = "a test that cannot read what it wrote has failed")]
//! What is read of the change journal's bytes, and what is refused.

use super::{Batch, JournalState, Record, UsnError, directories_of_names, write};

const CLOSED: u32 = super::REASON_CLOSE | super::REASON_RENAME_NEW_NAME;

fn record(number: i64) -> Record {
    Record { file: 0x0003_0000_0000_0123, parent: 5 << 48 | 5, number, reason: CLOSED, directory: true }
}

#[test]
fn records_of_both_versions_are_read() {
    for version in [2, 3] {
        let records = [record(100), Record { directory: false, ..record(180) }];
        let batch = Batch::read(&write::batch(260, version, &records)).unwrap();
        assert_eq!(batch, Batch { next: 260, records: records.to_vec() });
        batch.follows(100).unwrap();
    }
}

/// Laid out by hand after the documentation: version 2, `a.txt`, created and closed.
#[test]
fn a_record_is_read_by_the_documented_offsets() {
    let hex = "50000000020000000a01000000000200050000000000050000010000000000008091c5b2f0d4da0100010080000000000000000020000000\
               0a003c0061002e007400780074000000000000000000";
    let hex: String = hex.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let mut record: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    record.resize(0x50, 0);
    let answer = [0x150_u64.to_le_bytes().to_vec(), record].concat();
    let read = Batch::read(&answer).unwrap();
    let (file, parent) = (0x0002_0000_0000_010a, 0x0005_0000_0000_0005);
    let expected = Record { file, parent, number: 0x100, reason: 0x8000_0100, directory: false };
    assert_eq!(read, Batch { next: 0x150, records: vec![expected] });
}

#[test]
fn what_does_not_fit_is_refused_and_never_left_out() {
    let whole = write::batch(260, 2, &[record(100), record(180)]);
    for length in (0..whole.len()).filter(|length| *length != 8 && *length != 8 + 64) {
        assert!(Batch::read(&whole[..length]).is_err(), "cut to {length} bytes");
    }
    let with = |at: usize, value: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        Batch::read(&bytes).unwrap_err()
    };
    assert_eq!(with(8, &[0; 4]), UsnError::Length { at: 8, length: 0 });
    assert_eq!(with(8, &[60]), UsnError::Length { at: 8, length: 60 });
    assert_eq!(with(8, &[56]), UsnError::Length { at: 8, length: 56 });
    assert_eq!(with(8, &[0xff; 4]), UsnError::Cut { at: 8 });
    assert_eq!(with(12, &[4]), UsnError::Version(4));
    assert_eq!(with(8 + 56, &[0xff]), UsnError::Cut { at: 8 + 60 });
    assert_eq!(with(8 + 58, &[0]), UsnError::Cut { at: 8 });
    let mut wide = write::batch(260, 3, &[record(100)]);
    wide[8 + 16] = 1;
    assert_eq!(Batch::read(&wide), Err(UsnError::Number), "a file of ReFS");
}

#[test]
fn records_follow_one_another() {
    let follows = |next, numbers: &[i64], from| {
        let records = numbers.iter().map(|number| record(*number)).collect();
        Batch { next, records }.follows(from).is_ok()
    };
    assert!(follows(100, &[], 100) && follows(180, &[100], 100) && follows(300, &[100, 180], 50));
    assert!(!follows(99, &[], 100), "the next goes back");
    assert!(!follows(300, &[99], 100), "one from before");
    assert!(!follows(300, &[180, 100], 100) && !follows(300, &[100, 100], 100));
    assert!(!follows(180, &[100, 180], 100), "the next is one that was told");
    assert!(!follows(u64::MAX, &[100], 100));
}

#[test]
fn the_journals_state_is_read_however_long_it_is() {
    let state = JournalState { id: 7, first: 100, next: 260 };
    let mut bytes = write::state(state);
    assert_eq!(JournalState::read(&bytes), Ok(state));
    bytes.extend([0; 24]);
    assert_eq!(JournalState::read(&bytes), Ok(state));
    assert_eq!(JournalState::read(&bytes[..20]), Err(UsnError::Cut { at: 16 }));
}

#[test]
fn the_directories_of_all_names_of_a_file_are_read() {
    assert_eq!(directories_of_names(&write::names(&[5, 77, 5])), Ok(vec![5, 77, 5]));
    assert_eq!(directories_of_names(&write::names(&[])), Ok(Vec::new()));
    let mut bytes = write::names(&[5, 77]);
    bytes[8] = 0;
    assert_eq!(directories_of_names(&bytes), Err(UsnError::Length { at: 8, length: 0 }));
    bytes[8] = 0xff;
    assert!(directories_of_names(&bytes).is_err(), "a name beyond the end");
    assert!(directories_of_names(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).is_err(), "more names than there are");
}
