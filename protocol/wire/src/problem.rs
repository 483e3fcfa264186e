//! Errors of the host's API as `application/problem+json` (RFC 9457).
//!
//! Invariant: a code has exactly one HTTP status; agents decide by the code, people read the detail.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Media type of a [`Problem`].
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

const TYPE_BASE: &str = "https://nightkeep.invalid/problems/";

/// An error as the host tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The kind in words.
    pub title: String,
    /// HTTP status, repeated.
    pub status: u16,
    /// Names the input and the remedy.
    #[serde(default)]
    pub detail: String,
    /// What programs decide by.
    pub code: ProblemCode,
    /// Of `sequence-gap`: the number that should have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

impl Problem {
    /// The problem of this code.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            type_uri: format!("{TYPE_BASE}{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            expected: None,
        }
    }

    /// A gap in the reports of a machine.
    pub fn sequence_gap(expected: u64, found: u64) -> Self {
        let detail = format!("report {found} came where {expected} was expected: send from {expected} on");
        Self { expected: Some(expected), ..Self::new(ProblemCode::SequenceGap, detail) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { f.write_str(&self.title) } else { f.write_str(&self.detail) }
    }
}

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $retry:ident, $title:literal;)*) => {
        /// What went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
            /// A code that this build does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ProblemCode {
            /// Every code the host may answer with.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as text.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unknown => "unknown",
                }
            }

            /// Its HTTP status.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                    Self::Unknown => 500,
                }
            }

            /// The kind in words.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                    Self::Unknown => "Unknown problem",
                }
            }

            /// What the caller can do about it.
            pub const fn remedy(self) -> Remedy {
                match self {
                    $(Self::$name => Remedy::$retry,)*
                    Self::Unknown => Remedy::Later,
                }
            }
        }
    };
}

/// What a caller can do about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Correct the request (clock, number, grant) and send it again at once.
    Correct,
    /// The same request may succeed later.
    Later,
    /// A person has to act first.
    Person,
    /// Sending it again is pointless.
    Never,
}

problem_codes! {
    /// The token's time is over.
    TokenExpired = "token-expired", 401, Person, "Enrolment token expired";
    /// The token's uses are used up.
    TokenUsed = "token-used", 401, Person, "Enrolment token used up";
    /// No such token.
    TokenUnknown = "token-unknown", 401, Person, "Enrolment token unknown";
    /// The agent's clock is too far from the host's.
    ClockSkew = "clock-skew", 401, Correct, "Clock too far off";
    /// Signature missing or wrong.
    SignatureInvalid = "signature-invalid", 401, Person, "Request signature invalid";
    /// The nonce came before.
    NonceReplayed = "nonce-replayed", 401, Correct, "Request repeated";
    /// No such machine, or it was removed.
    MachineUnknown = "machine-unknown", 401, Person, "Machine unknown";
    /// The machine waits for approval.
    MachineInLobby = "machine-in-lobby", 403, Person, "Machine waits for approval";
    /// The machine is out of service.
    MachineRetired = "machine-retired", 403, Person, "Machine retired";
    /// Not this caller's to read or write.
    NotAllowed = "not-allowed", 403, Never, "Not allowed";
    /// The grant's time is over, or it was for something else.
    GrantInvalid = "grant-invalid", 403, Correct, "Upload grant invalid";
    /// Nobody signed in.
    NotSignedIn = "not-signed-in", 401, Person, "Not signed in";
    /// No such thing, or not the caller's.
    NotFound = "not-found", 404, Never, "Not found";
    /// There already is one.
    Exists = "exists", 409, Never, "Already exists";
    /// Reports are missing before this one.
    SequenceGap = "sequence-gap", 409, Correct, "Report number out of order";
    /// The number was used with other content: two machines share one identity.
    SequenceConflict = "sequence-conflict", 409, Person, "Report number used twice";
    /// The request contradicts the present state.
    Conflict = "conflict", 409, Person, "Conflict";
    /// The request cannot be understood.
    BadRequest = "bad-request", 400, Never, "Bad request";
    /// The agent is too old or too new.
    VersionUnsupported = "version-unsupported", 400, Person, "Protocol version not supported";
    /// The bytes do not have the announced length or hash.
    ContentMismatch = "content-mismatch", 422, Correct, "Content differs from what was announced";
    /// The request is too large.
    TooLarge = "too-large", 413, Never, "Too large";
    /// The range lies outside the object.
    RangeInvalid = "range-invalid", 416, Never, "Range outside the object";
    /// Too many requests.
    RateLimited = "rate-limited", 429, Later, "Too many requests";
    /// The customer's quota is used up.
    QuotaExceeded = "quota-exceeded", 403, Person, "Quota exceeded";
    /// The host's storage has reached its reserve.
    StorageFull = "storage-full", 507, Person, "Storage full";
    /// The host's storage does not answer.
    StorageUnavailable = "storage-unavailable", 503, Later, "Storage unavailable";
    /// The host is starting or stopping.
    Unavailable = "unavailable", 503, Later, "Host unavailable";
    /// A fault of the host.
    Internal = "internal", 500, Later, "Internal error";
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
