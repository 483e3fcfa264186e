//! Files of the agent itself. Its modules are included as they stand, as the agent is a program and no library.

#[allow(dead_code, reason = "the agent uses all of it, a check only what reads")]
#[path = "../../../../agent/daemon/src/config.rs"]
mod agent_config;
#[allow(dead_code, reason = "the agent uses all of it, a check only what reads")]
#[path = "../../../../agent/daemon/src/outbox/frame.rs"]
mod frame;

use frame::{HEADER_BYTES, Header};
use nightkeep_platform::journal::usn::{self, Batch, JournalState, Record, directories_of_names};
use nightkeep_wire::IncarnationId;
use uuid::Uuid;

/// The file as the agent reads it when it starts: a header, then frames with rising numbers.
pub(super) fn outbox(bytes: &[u8]) -> bool {
    let Some(header) = Header::read(bytes) else { return false };
    let (mut at, mut sequence) = (HEADER_BYTES, header.first);
    while let Some(payload) = bytes.get(at..).and_then(|rest| frame::decode(rest, sequence)) {
        let _ = serde_json::from_slice::<nightkeep_wire::report::ReportBody>(payload);
        at += payload.len() + frame::FRAME_OVERHEAD;
        sequence = sequence.saturating_add(1);
    }
    at == bytes.len()
}

pub(super) fn outbox_seeds() -> Vec<Vec<u8>> {
    let header = Header { incarnation: IncarnationId::from_uuid(Uuid::from_u128(5)), first: 7 }.to_bytes();
    let frames = [frame::encode(7, br#"{"kind":"pause","until":null,"by":"anna"}"#), frame::encode(8, b"")];
    vec![header.clone(), [header, frames.concat()].concat()]
}

pub(super) fn config(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| toml::from_str::<agent_config::Config>(text).is_ok())
}

pub(super) fn config_seeds() -> Vec<Vec<u8>> {
    let text = "state_dir = \"/var/lib/nightkeep\"\nlog_level = \"info\"\n[jobs]\nworkers = 2\n[link]\nretry_seconds_max = 60\n";
    vec![text.as_bytes().to_vec(), Vec::new()]
}

/// What Windows tells of its change journals: a batch of records, a journal's state, a file's names.
pub(super) fn usn(bytes: &[u8]) -> bool {
    let batch = Batch::read(bytes);
    if let Ok(batch) = &batch {
        // What one form can say is read back as it was.
        let again = Batch::read(&usn::write::batch(batch.next, 3, &batch.records));
        assert_eq!(again.as_ref(), Ok(batch));
        let _ = batch.follows(0);
    }
    let _ = JournalState::read(bytes);
    directories_of_names(bytes).is_ok() || batch.is_ok()
}

pub(super) fn usn_seeds() -> Vec<Vec<u8>> {
    let record = |number, directory| Record {
        file: 2 << 48 | 266,
        parent: 5 << 48 | 5,
        number,
        reason: usn::REASON_RENAME_NEW_NAME | usn::REASON_CLOSE,
        directory,
    };
    let records = [record(256, false), record(336, true)];
    vec![usn::write::batch(416, 2, &records), usn::write::batch(416, 3, &records), usn::write::names(&[5, 77])]
}
