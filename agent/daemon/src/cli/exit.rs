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
    /// A code of another program's dialect; where codes have eight bits, the system keeps the lowest.
    Dialect(u16),
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u16 {
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
        match u8::try_from(exit.code()) {
            Ok(code) => Self::from(code),
            // Windows has wider codes, and `ExitCode` does not reach them.
            Err(_) => std::process::exit(i32::from(exit.code())),
        }
    }
}
