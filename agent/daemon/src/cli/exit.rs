//! Exit codes of the contract; scripts decide by them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// The arguments do not make sense.
    Usage,
    /// Done, but some files could not be read.
    Partial,
    /// No vault there.
    NoVault,
    /// Wrong passphrase or key.
    WrongPassphrase,
    /// Stopped by a person.
    Stopped,
    /// A code of another program's dialect.
    Dialect(u8),
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::NoVault => 10,
            Self::WrongPassphrase => 12,
            Self::Stopped => 130,
            Self::Dialect(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
