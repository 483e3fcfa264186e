//! What a ticket is about: one cause, one ticket.
//!
//! Invariant: the text form is stable, since it is the key in our ledger and the reference in the ticketing system.

use std::fmt;
use std::str::FromStr;

use nightkeep_wire::report::ErrorClass;
use nightkeep_wire::{CustomerId, MachineId};
use serde::{Deserialize, Serialize};

/// Identity of a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CauseKey {
    /// A machine's own backups, whatever is wrong with them just now.
    Machine(MachineId),
    /// Something that a customer's machines share.
    Customer(CustomerId, Topic),
    /// Something that the whole host shares.
    Everywhere(Topic),
}

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $label:literal;)*) => {
        /// What machines can have trouble with together.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Topic {
            $($(#[$doc])* $name,)*
        }

        impl Topic {
            const ALL: &'static [Self] = &[$(Self::$name),*];

            const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The words in a ticket's summary.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

topics! {
    /// The storage does not answer or fails.
    Storage = "storage", "storage unreachable";
    /// The storage or the host refuses the credentials.
    Credentials = "credentials", "credentials rejected";
    /// The quota is used up, or nearly.
    Quota = "quota", "quota exceeded";
    /// Machines cannot reach the host.
    HostLink = "host_link", "host unreachable";
    /// The vault holds something damaged.
    Vault = "vault", "vault damaged";
    /// A trial ends.
    Trial = "trial", "trial expiring";
    /// Plans could not be synchronised.
    PlanSync = "plan_sync", "plan synchronisation failed";
}

impl Topic {
    /// The topic that a machine's failure shares with others; none for its own troubles.
    pub const fn of_error(class: ErrorClass) -> Option<Self> {
        match class {
            ErrorClass::Storage => Some(Self::Storage),
            ErrorClass::Credentials => Some(Self::Credentials),
            ErrorClass::Quota => Some(Self::Quota),
            ErrorClass::HostUnreachable => Some(Self::HostLink),
            ErrorClass::VaultDamaged => Some(Self::Vault),
            ErrorClass::Machine
            | ErrorClass::VolumeSnapshot
            | ErrorClass::Plan
            | ErrorClass::Internal
            | ErrorClass::Unknown => None,
        }
    }

    /// Whether several customers with it have one cause between them. A quota or a damaged vault is each customer's own.
    pub const fn can_be_everywhere(self) -> bool {
        match self {
            Self::Storage | Self::Credentials | Self::HostLink | Self::PlanSync => true,
            Self::Quota | Self::Vault | Self::Trial => false,
        }
    }
}

/// A text that is no key of a cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the key of a cause")]
pub struct ParseCauseError(String);

impl fmt::Display for CauseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(machine) => write!(f, "machine/{machine}"),
            Self::Customer(customer, topic) => write!(f, "customer/{customer}/{}", topic.as_str()),
            Self::Everywhere(topic) => write!(f, "everywhere/{}", topic.as_str()),
        }
    }
}

impl FromStr for CauseKey {
    type Err = ParseCauseError;

    fn from_str(text: &str) -> Result<Self, ParseCauseError> {
        let topic = |word: &str| Topic::ALL.iter().copied().find(|t| t.as_str() == word);
        let parts: Vec<&str> = text.split('/').collect();
        let key = match parts.as_slice() {
            ["machine", id] => id.parse().ok().map(Self::Machine),
            ["customer", id, word] => id.parse().ok().zip(topic(word)).map(|(id, topic)| Self::Customer(id, topic)),
            ["everywhere", word] => topic(word).map(Self::Everywhere),
            _ => None,
        };
        key.ok_or_else(|| ParseCauseError(text.chars().take(120).collect()))
    }
}

impl TryFrom<String> for CauseKey {
    type Error = ParseCauseError;

    fn try_from(text: String) -> Result<Self, ParseCauseError> {
        text.parse()
    }
}

impl From<CauseKey> for String {
    fn from(key: CauseKey) -> String {
        key.to_string()
    }
}
