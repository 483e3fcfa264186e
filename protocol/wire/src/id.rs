//! Typed identifiers, so that a machine's id cannot be passed where a plan's is wanted.
//!
//! Invariant: the text form is the only one on the wire; parsing it back gives the same id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: expected {expected}")]
pub struct ParseIdError {
    /// What was wanted, in words.
    pub kind: &'static str,
    /// The form that would have been accepted.
    pub expected: &'static str,
    /// The text given, cut to a bounded length.
    pub text: String,
}

impl ParseIdError {
    fn new(kind: &'static str, expected: &'static str, text: &str) -> Self {
        Self { kind, expected, text: text.chars().take(80).collect() }
    }
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with this value; ids are made from randomness the caller brings.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The value for storage in a database column.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The sixteen bytes, as they enter hashes and associated data.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| ParseIdError::new($kind, "a UUID such as 018f3c1e-0000-7000-8000-000000000001", text))
            }
        }
    )*};
}

uuid_ids! {
    /// A protected computer, as long as its record lives; kept when the machine is renamed.
    MachineId = "machine id";
    /// One life of a machine's numbering of reports: new when local state was lost or rolled back.
    IncarnationId = "incarnation";
    /// A partner (reseller) among the tenants.
    PartnerId = "partner id";
    /// A customer among the tenants; owns one vault.
    CustomerId = "customer id";
    /// A unit below a customer; shares the customer's vault.
    UnitId = "unit id";
    /// A client in the RMM's tree.
    ClientId = "client id";
    /// A location below a client.
    LocationId = "location id";
    /// A plan, whichever machines it is applied to.
    PlanId = "plan id";
    /// A command in the desired state.
    CommandId = "command id";
    /// One run of a plan on one machine.
    JobId = "job id";
    /// A ticket in our own ledger.
    TicketId = "ticket id";
}

macro_rules! hex_ids {
    ($($(#[$doc:meta])* $name:ident[$len:literal] = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| ParseIdError::new($kind, concat!(stringify!($len), " bytes as hexadecimal digits"), text))?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    )*};
}

hex_ids! {
    /// A vault: the store of one customer.
    VaultId[16] = "vault id";
    /// The name of a chunk or tree, as the gateway is asked whether the vault knows it.
    BlobName[16] = "blob name";
    /// BLAKE3 of an object's or a body's bytes.
    ContentHash[32] = "content hash";
    /// SHA-256 of a certificate's subject public key info: the host as a token names it.
    SpkiPin[32] = "certificate pin";
    /// The number used once of a signed request.
    Nonce[16] = "nonce";
}

/// A kept backup as the vault names it: lower-case hexadecimal digits, at least 8 and at most 64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecoveryPointId(String);

impl RecoveryPointId {
    /// The id of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(hex::encode(bytes))
    }

    /// The hexadecimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecoveryPointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RecoveryPointId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let hexadecimal = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hexadecimal || !(8..=64).contains(&text.len()) {
            return Err(ParseIdError::new("recovery point id", "8 to 64 lower-case hexadecimal digits", text));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RecoveryPointId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<RecoveryPointId> for String {
    fn from(id: RecoveryPointId) -> String {
        id.0
    }
}
