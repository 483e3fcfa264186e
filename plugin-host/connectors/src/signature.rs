//! Signed messages as the Standard Webhooks specification has them, so that receivers can use the libraries they know:
//! HMAC-SHA256 over `id.timestamp.body`.
//!
//! Invariant: a message is good for five minutes and under one id; a receiver that remembers ids for that long takes it
//! once.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Header with the id of the message; the same when it is delivered again.
pub(crate) const HEADER_ID: &str = "webhook-id";
/// Header with the time of this delivery, in seconds since 1970.
pub(crate) const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// Header with `v1,` and the signature in base64; several are separated by blanks.
pub(crate) const HEADER_SIGNATURE: &str = "webhook-signature";

const SECRET_PREFIX: &str = "whsec_";
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const AGE_SECONDS_MAX: u64 = 300;

/// The secret that both sides know. Its debug form hides it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// A text that is no secret. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook secret: expected \"whsec_\" and 24 to 64 bytes in base64")]
pub struct SecretError;

impl Secret {
    /// The secret of these random bytes, 24 to 64 of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretError);
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix(SECRET_PREFIX).ok_or(SecretError)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError)?);
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The value of the signature header.
pub fn sign(secret: &Secret, id: &str, timestamp: u64, body: &[u8]) -> String {
    let tag = context(secret, id, timestamp, body).sign();
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Too old, or from the future.
    #[error("the message's time is more than five minutes off")]
    Stale,
    /// No signature that fits.
    #[error("the message's signature does not fit")]
    Wrong,
}

/// Checks a message that came in; any of the signatures in the header may fit, so that secrets can be changed.
pub fn verify(
    secret: &Secret,
    id: &str,
    timestamp: u64,
    body: &[u8],
    header: &str,
    now: u64,
) -> Result<(), SignatureError> {
    if timestamp.abs_diff(now) > AGE_SECONDS_MAX {
        return Err(SignatureError::Stale);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
    let message = [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat();
    let fits = |signature: &str| {
        let tag = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        tag.is_some_and(|tag| hmac::verify(&key, &message, &tag).is_ok())
    };
    if header.split(' ').any(fits) { Ok(()) } else { Err(SignatureError::Wrong) }
}

fn context(secret: &Secret, id: &str, timestamp: u64, body: &[u8]) -> hmac::Context {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &secret.0));
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    context
}
