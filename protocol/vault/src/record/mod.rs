//! What the small objects say: one file per kind, each with its name, its encoding and who may sign it.
//!
//! **Invariant**: a record is returned only after its frame, its seal and, where the table of FORMAT.md names a signer,
//! its signature were checked.

pub mod config;
pub mod epoch;
pub mod generation;
pub mod machine;
pub mod point;
pub mod retention;
pub mod segment;
pub mod session;
pub mod slot;

use crate::id::MachineId;
use crate::store::ObjectName;

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
