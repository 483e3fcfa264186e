//! What a machine signs when it speaks to the host, and the headers that carry it.
//!
//! Invariant: the signed bytes determine method, path with query, time, nonce and body; no two requests share them.

use crate::id::{ContentHash, Nonce};

/// Header with the machine's id.
pub const HEADER_MACHINE: &str = "x-nk-machine";
/// Header with the agent's time in milliseconds since 1970, UTC.
pub const HEADER_TIME: &str = "x-nk-time";
/// Header with sixteen random bytes as hexadecimal digits.
pub const HEADER_NONCE: &str = "x-nk-nonce";
/// Header with the Ed25519 signature as base64.
pub const HEADER_SIGNATURE: &str = "x-nk-signature";
/// Header of a `clock-skew` answer: the host's time in milliseconds since 1970.
pub const HEADER_HOST_TIME: &str = "x-nk-host-time";

/// How far the agent's time may lie from the host's, either way.
pub const CLOCK_SKEW_MAX_MS: u64 = 15 * 60 * 1000;

const LABEL: &str = "nightkeep request v1";

/// The parts of a request that its signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedParts<'a> {
    /// Upper-case HTTP method.
    pub method: &'a str,
    /// Path and query exactly as sent, from the first slash.
    pub path_and_query: &'a str,
    /// Milliseconds since 1970, as in [`HEADER_TIME`].
    pub time_unix_ms: u64,
    /// As in [`HEADER_NONCE`].
    pub nonce: Nonce,
    /// BLAKE3 of the body; of the empty string when there is none.
    pub body_hash: ContentHash,
}

impl SignedParts<'_> {
    /// The bytes to sign or to verify.
    pub fn to_bytes(self) -> Vec<u8> {
        let Self { method, path_and_query, time_unix_ms, nonce, body_hash } = self;
        format!("{LABEL}\n{method}\n{path_and_query}\n{time_unix_ms}\n{nonce}\n{body_hash}").into_bytes()
    }
}

/// Whether a request of this time may be taken at this host time.
pub const fn is_fresh(time_unix_ms: u64, host_unix_ms: u64) -> bool {
    time_unix_ms.abs_diff(host_unix_ms) <= CLOCK_SKEW_MAX_MS
}
