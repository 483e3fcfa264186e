//! What can go wrong on the way to the host, by what the caller can do about it.

use std::error::Error as StdError;

use nightkeep_wire::problem::{Problem, ProblemCode, Remedy};

use super::tls::Untrusted;

/// Why the host gave no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// No connection, or it broke: may work later.
    #[error("cannot reach the host {host}; check that it runs and that this computer reaches it")]
    Unreachable {
        /// Address of the host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Somebody else answers at that address.
    #[error("{host} is not trusted: {untrusted}; ask for a new token, or whether somebody intercepts the connection")]
    Untrusted {
        /// Address of the host.
        host: String,
        /// The certificate.
        untrusted: Untrusted,
    },
    /// The host says what is wrong.
    #[error("{problem}")]
    Problem {
        /// Its words.
        problem: Box<Problem>,
    },
    /// The host, or a proxy before it, failed without saying why.
    #[error("{host} answered {status} to {request}")]
    Status {
        /// Address of the host.
        host: String,
        /// What was asked.
        request: String,
        /// HTTP status.
        status: u16,
    },
    /// An answer that cannot be understood.
    #[error("the answer of {host} to {request} cannot be understood; is this a Nightkeep host of a fitting version?")]
    Answer {
        /// Address of the host.
        host: String,
        /// What was asked.
        request: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No request can be made from what is configured.
    #[error("no request to {host} can be made")]
    Setup {
        /// Address of the host.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl LinkError {
    /// A failed exchange: the certificate was refused, or the network failed.
    pub(super) fn of_exchange(host: &str, error: reqwest::Error) -> Self {
        match find_untrusted(&error) {
            Some(untrusted) => Self::Untrusted { host: host.to_owned(), untrusted },
            None => Self::Unreachable { host: host.to_owned(), source: error },
        }
    }

    /// The host's code, when it gave one.
    pub(crate) fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem { problem } => Some(problem.code),
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Status { .. }
            | Self::Answer { .. }
            | Self::Setup { .. } => None,
        }
    }

    /// Whether the same request may succeed later without anybody doing anything.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Problem { problem } => match problem.code.remedy() {
                Remedy::Later | Remedy::Correct => true,
                Remedy::Person | Remedy::Never => false,
            },
            Self::Untrusted { .. } | Self::Answer { .. } | Self::Setup { .. } => false,
        }
    }

    /// The error with its causes in one line, for people.
    pub(crate) fn in_words(&self) -> String {
        crate::chain::chain(self)
    }
}

/// Looks for our own verdict on the certificate among the causes; rustls and the HTTP client wrap it in their errors.
fn find_untrusted(error: &(dyn StdError + 'static)) -> Option<Untrusted> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) = error.downcast_ref() {
            return other.0.downcast_ref::<Untrusted>().cloned();
        }
        // std::io::Error answers its inner error's source, not the inner error itself.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
