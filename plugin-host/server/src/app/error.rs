//! Errors with two messages: the problem that the caller is told, and the cause that the log is told.

use nightkeep_database::DatabaseError;
use nightkeep_wire::problem::{Problem, ProblemCode};

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct AppError {
    /// For the caller.
    pub(crate) problem: Problem,
    /// For the log.
    pub(crate) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl AppError {
    /// A problem of the caller's making.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(code, detail), cause: None }
    }

    /// There is no such thing, or it is not the caller's to know.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("there is no such {what}"))
    }

    /// A fault of the host.
    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let detail = "the host could not do this; its log says why";
        Self { problem: Problem::new(ProblemCode::Internal, detail), cause: Some(cause.into()) }
    }

    /// The storage's fault or fullness.
    pub(crate) fn storage(cause: std::io::Error) -> Self {
        let full = matches!(cause.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        let (code, detail) = if full {
            (ProblemCode::StorageFull, "the host's storage is full; free space there, nothing was lost")
        } else {
            (ProblemCode::StorageUnavailable, "the host's storage does not answer; try again later")
        };
        Self { problem: Problem::new(code, detail), cause: Some(Box::new(cause)) }
    }
}

impl From<DatabaseError> for AppError {
    fn from(cause: DatabaseError) -> Self {
        Self::internal(cause)
    }
}

impl From<Problem> for AppError {
    fn from(problem: Problem) -> Self {
        Self { problem, cause: None }
    }
}

impl std::fmt::Display for AppError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.detail)
    }
}

impl std::error::Error for AppError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let cause = self.cause.as_ref()?;
        Some(&**cause)
    }
}
