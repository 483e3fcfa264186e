//! The link to the host: HTTPS out, signed requests, answers by problem code.
//!
//! Invariant: the host is the one whose certificate the token pinned, or one the platform trusts; nothing is sent before
//! that is known.

mod client;
mod enrol;
mod error;
mod tls;

pub(crate) use client::{HostLink, Signer};
pub(crate) use enrol::{EnrolError, enrol, undelivered_meta_key};
pub(crate) use error::LinkError;

#[cfg(test)]
mod tests;
