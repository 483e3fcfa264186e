//! The ids of the format: one type each, so that a blob id is never taken for a pack id.

use std::fmt;
use std::str::FromStr;

/// A text that is not the hexadecimal form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: expected {digits} hexadecimal digits")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
    digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The id's bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $bytes];
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) => Ok(Self(bytes)),
                    Err(_) => Err(ParseIdError { text: text.to_owned(), what: $what, digits: 2 * $bytes }),
                }
            }
        }
    };
}

id!(
    /// Names a vault: random, part of every authenticated byte.
    VaultId, 16, "vault id"
);
id!(
    /// Names a machine within its vault.
    MachineId, 16, "machine id"
);
id!(
    /// Names one run of a writer.
    SessionId, 16, "session id"
);
id!(
    /// Names a recovery point: the start of the hash of its object.
    PointId, 16, "recovery point id"
);
id!(
    /// Names plain content (chunk, catalogue block, references) by its keyed hash.
    BlobId, 32, "blob id"
);
id!(
    /// Names a pack by the hash of its stored bytes.
    PackId, 32, "pack id"
);
