//! `w/…/partial-…`: what an unfinished run has confirmed, so that the next one does not do it again.
//!
//! **Invariant**: a partial names only hunks whose references are written and whose packs an index segment lists. It is
//! no recovery point: it is never listed or restored, it serves as a parent.

use super::point::{self, Point, PointBody, PointHeader};
use crate::crypto::VerifyingKey;
use crate::id::{MachineId, SessionId, VaultId};
use crate::keys::{MachineKeys, VaultKeys};
use crate::object::{Kind, ObjectError};
use crate::store::ObjectName;

/// Where a partial point lies.
pub fn name_of(machine: MachineId, session: SessionId, counter: u32) -> ObjectName {
    super::name(format!("w/{machine}/{session}/partial-{counter:08x}"))
}

/// `w/<machine>/`, below which sessions and their partial points lie.
pub fn prefix(machine: MachineId) -> String {
    format!("w/{machine}/")
}

/// Session folder and counter of a partial point's name; none for other names.
pub fn parse(name: &ObjectName) -> Option<(&str, u32)> {
    let (session, counter) = name.as_str().rsplit_once("/partial-")?;
    Some((session, u32::from_str_radix(counter, 16).ok()?))
}

/// Seals a partial point.
pub fn seal(
    vault: VaultId,
    counter: u32,
    header: &PointHeader,
    body: &PointBody,
    keys: &VaultKeys,
    machine: &MachineKeys,
) -> (ObjectName, Vec<u8>) {
    let name = name_of(header.machine, header.session, counter);
    let bytes = point::seal_as(Kind::Partial, &name, vault, (header, body), keys, machine);
    (name, bytes)
}

/// Reads a partial point that `signer` signed.
pub fn open(
    vault: VaultId,
    name: &ObjectName,
    bytes: Vec<u8>,
    keys: &VaultKeys,
    signer: VerifyingKey,
) -> Result<Point, ObjectError> {
    let point = Point::open_as(Kind::Partial, vault, name, bytes, keys, signer)?;
    let counter = parse(name).map(|(_, counter)| counter);
    let fits = counter.is_some_and(|counter| name_of(point.header.machine, point.header.session, counter) == *name);
    if fits { Ok(point) } else { Err(ObjectError::Frame("the partial point's name is not its machine and session")) }
}
