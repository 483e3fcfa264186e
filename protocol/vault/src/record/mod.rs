//! What the small objects say: one file per kind, each with its name, its encoding and who may sign it.
//!
//! **Invariant**: a record is returned only after its frame, its seal and, where the table of FORMAT.md names a signer,
//! its signature were checked.

pub mod config;
pub mod epoch;
pub mod forward;
pub mod generation;
pub mod machine;
pub mod partial;
pub mod point;
pub mod quarantine;
pub mod retention;
pub mod segment;
pub mod session;
pub mod slot;

use crate::crypto::{SigningKey, VerifyingKey};
use crate::id::{MachineId, VaultId};
use crate::keys::VaultKeys;
use crate::object::{Binding, Draft, Kind, Object, ObjectError};
use crate::store::ObjectName;

/// Seals a record that is a signed header and nothing else.
fn seal_header(
    kind: Kind,
    vault: VaultId,
    name: &ObjectName,
    header: Vec<u8>,
    keys: &VaultKeys,
    signer: &SigningKey,
) -> Vec<u8> {
    let draft = Draft { header: Some((header, &keys.index)), signer: Some(signer), ..Draft::default() };
    draft.seal(kind, Binding { vault, name })
}

/// Opens the header of a record that `signer` signed.
fn open_header(
    kind: Kind,
    vault: VaultId,
    name: &ObjectName,
    bytes: &[u8],
    keys: &VaultKeys,
    signer: VerifyingKey,
) -> Result<Vec<u8>, ObjectError> {
    let object = Object::parse(bytes, kind)?;
    let binding = Binding { vault, name };
    object.verify(binding, signer)?;
    object.open_header(binding, &keys.index)
}

/// Builds a name from parts that are valid by construction.
pub(crate) fn name(text: String) -> ObjectName {
    ObjectName::new(text).expect("names are built from lower-case hexadecimal numbers")
}

/// `s/<machine>/`, where the points of a machine lie.
pub fn points_prefix(machine: MachineId) -> String {
    format!("s/{machine}/")
}

/// The number at the end of a name: hexadecimal, after the last `/` or `-`.
pub(crate) fn number_of(name: &ObjectName) -> Option<u64> {
    let text = name.as_str();
    let tail = text.rsplit(['/', '-']).next()?;
    u64::from_str_radix(tail, 16).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use crate::codec::Time;
    use crate::crypto::Secret;
    use crate::id::{BlobId, PackId, SessionId};
    use crate::keys::CustomerRoot;
    use point::{BackupSet, CivilTime, PointBody, PointHeader, StoredFinding, Totals};
    use proptest::prelude::*;

    fn header() -> PointHeader {
        let at = |seconds| CivilTime {
            at: Time { seconds, nanoseconds: 7 },
            offset_minutes: -210,
            zone: "America/St_Johns".into(),
        };
        PointHeader {
            machine: MachineId([1; 16]),
            sequence: 900,
            previous: [2; 32],
            session: SessionId([3; 16]),
            base: 4,
            plan: Some([5; 16]),
            plan_name: "Entire machine".into(),
            set: BackupSet::Weekly,
            occurrence: Some(at(-1)),
            started: at(1_700_000_000),
            finished: at(1_700_000_100),
            totals: Totals { files: 3, findings: 9, ..Totals::default() },
            references: BlobId([6; 32]),
            meta_packs: vec![PackId([7; 32]), PackId([8; 32])],
            machine_name: "pc-1".into(),
            agent_version: "1.2.3".into(),
            bootable: false,
            snapshot_method: "btrfs".into(),
            meta_epoch: 1,
            complete: false,
            source: [9; 16],
        }
    }

    fn body() -> PointBody {
        PointBody {
            hunk_list: Some(BlobId([1; 32])),
            roots: vec![b"home/\xff".to_vec()],
            users: vec![(0, b"root".to_vec())],
            groups: vec![(5, b"tty".to_vec())],
            findings: vec![StoredFinding { kind: 1, path: b"x".to_vec(), text: "denied".into() }],
        }
    }

    #[test]
    fn a_point_comes_back_whole_and_opens_for_its_readers_only() {
        let (vault, root) = (VaultId([1; 16]), CustomerRoot::generate());
        let (keys, machine) = (root.vault_keys(vault), root.machine(vault, "pc-1"));
        let header = PointHeader { machine: machine.id, ..header() };
        let (bytes, id) = point::seal(vault, &header, &body(), &keys, &machine);
        let name = point::name_of(machine.id, 900);
        let opened = point::Point::open(vault, &name, bytes.clone(), &keys, machine.signing.public()).unwrap();
        assert_eq!((opened.id, &opened.header), (id, &header));
        assert_eq!(opened.body(&machine.meta).unwrap(), body());
        assert!(opened.body(&Secret::generate()).is_err(), "another machine's key");
        let stranger = SigningKey::from_seed(Secret::generate());
        assert!(point::Point::open(vault, &name, bytes.clone(), &keys, stranger.public()).is_err());
        let elsewhere = point::name_of(machine.id, 901);
        assert!(point::Point::open(vault, &elsewhere, bytes, &keys, machine.signing.public()).is_err());
    }

    /// Every decoder of plaintext, as one: what it answers does not matter, that it answers does.
    fn decode_all(bytes: &[u8]) {
        let name = point::name_of(MachineId([0; 16]), 1);
        let _ = config::Config::decode(bytes);
        let _ = slot::Slot::decode(name, bytes);
        let _ = machine::MachineRecord::decode(bytes);
        let _ = session::SessionRecord::decode(bytes, 0);
        let _ = retention::RetentionRecord::decode(bytes, 0);
        let _ = PointHeader::decode(bytes);
        let _ = PointBody::decode(bytes);
        let _ = segment::Segment::decode(bytes, bytes);
        let _ = config::Config::open(bytes);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes: Vec<u8>) {
            decode_all(&bytes);
        }

        #[test]
        fn changed_records_are_read_or_refused(at in 0usize..4096, byte: u8, cut in 0usize..4096) {
            for mut bytes in [header().encode(), body().encode()] {
                let at = at % bytes.len();
                bytes[at] = byte;
                bytes.truncate(bytes.len() - cut % bytes.len());
                decode_all(&bytes);
            }
        }
    }
}
