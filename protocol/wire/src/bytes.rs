//! Binary values in JSON: keys and sealed texts as standard base64.
//!
//! Invariant: a value of the wrong length never gets past parsing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Binary text that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseBytesError {
    /// Not standard base64 with padding.
    #[error("{kind} is not standard base64")]
    NotBase64 {
        /// What the text stands for.
        kind: &'static str,
    },
    /// Base64 of another length.
    #[error("{kind} has {found} bytes, expected {expected}")]
    WrongLength {
        /// What the text stands for.
        kind: &'static str,
        /// Bytes found.
        found: usize,
        /// Bytes wanted.
        expected: usize,
    },
}

fn decode_exactly<const N: usize>(kind: &'static str, text: &str) -> Result<[u8; N], ParseBytesError> {
    let bytes = STANDARD.decode(text).map_err(|_| ParseBytesError::NotBase64 { kind })?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| ParseBytesError::WrongLength { kind, found, expected: N })
}

macro_rules! base64_arrays {
    ($($(#[$doc:meta])* $name:ident[$len:literal] = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads standard base64.
            pub fn parse(text: &str) -> Result<Self, ParseBytesError> {
                decode_exactly($kind, text).map(Self)
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&STANDARD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseBytesError;

            fn try_from(text: String) -> Result<Self, ParseBytesError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}

base64_arrays! {
    /// Ed25519 public key with which a machine signs requests and recovery points, or a host its maintenance records.
    SigningPublicKey[32] = "signing key";
    /// X25519 public key to which secrets are sealed.
    SealingPublicKey[32] = "sealing key";
    /// Ed25519 signature of a request.
    RequestSignature[64] = "signature";
}

/// The secret of an enrolment token. Its debug form hides it; the host stores only its hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// The secret of these random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that are hashed and compared.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(hidden)")
    }
}

impl TryFrom<String> for TokenSecret {
    type Error = ParseBytesError;

    fn try_from(text: String) -> Result<Self, ParseBytesError> {
        decode_exactly("token secret", &text).map(Self)
    }
}

impl From<TokenSecret> for String {
    fn from(secret: TokenSecret) -> String {
        STANDARD.encode(secret.0)
    }
}

/// A sealed (HPKE) text: encapsulated key, then ciphertext. Opaque here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for Sealed {
    type Error = ParseBytesError;

    fn try_from(text: String) -> Result<Self, ParseBytesError> {
        STANDARD.decode(text).map(Self).map_err(|_| ParseBytesError::NotBase64 { kind: "sealed text" })
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> String {
        STANDARD.encode(sealed.0)
    }
}
