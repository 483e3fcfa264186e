//! The vault: what lies at rest, and how it is written and read. `FORMAT.md` is its law.
//!
//! **Invariant**: this crate knows no files, hosts or plans; it turns blobs and records into objects of a [`store::Store`]
//! and back, and checks every length, hash and signature on the way.

pub mod catalogue;
pub mod codec;
pub mod collect;
pub mod crypto;
pub mod id;
pub mod index;
pub mod keys;
pub mod object;
pub mod pack;
pub mod reader;
pub mod record;
pub mod references;
pub mod release;
pub mod repair;
pub mod scrub;
pub mod session;
pub mod store;
pub mod vault;
pub mod verify;
