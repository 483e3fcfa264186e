//! Starts real agents and hosts, as the binaries a user gets, for tests and for the demo.
//!
//! **Invariants**: nothing outlives the value that started it; every wait is for a condition, is bounded, and says in its
//! error what it waited for; only processes this process started are ever signalled.

pub mod agent;
pub mod api;
pub mod binaries;
pub mod cluster;
pub mod compare;
pub mod process;
pub mod proxy;
pub mod rogue;
pub mod servers;
pub mod tree;
pub mod wait;

pub use blake3;
pub use reqwest;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// base64url without padding, as enrolment tokens use it.
pub fn base64_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The inverse of [`base64_url`].
pub fn from_base64_url(text: &str) -> anyhow::Result<Vec<u8>> {
    Ok(URL_SAFE_NO_PAD.decode(text)?)
}
