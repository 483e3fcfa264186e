//! Room on the host's disk (security.md, rule 15).

use std::path::Path;

use nightkeep_wire::problem::ProblemCode;

use super::super::AppError;

/// Left to the database and to whoever has to clean up. Uploads stop here, long before the database does.
const RESERVE_BYTES: u64 = 512 << 20;

/// A smaller disk keeps a sixteenth of itself.
const RESERVE_SHARE: u64 = 16;

/// Refuses when so many bytes would reach into the reserve.
pub(super) fn check(folder: &Path, wanted: u64) -> Result<(), AppError> {
    let stats = rustix::fs::statvfs(folder).map_err(|error| AppError::storage(error.into()))?;
    let (free, total) = (stats.f_bavail.saturating_mul(stats.f_frsize), stats.f_blocks.saturating_mul(stats.f_frsize));
    let reserve = RESERVE_BYTES.min(total / RESERVE_SHARE);
    if free.saturating_sub(reserve) >= wanted {
        return Ok(());
    }
    let detail = format!(
        "the host's storage has {} MB left and keeps {} MB in reserve: free space there or add a disk, nothing was lost",
        free >> 20,
        reserve >> 20
    );
    Err(AppError::new(ProblemCode::StorageFull, detail))
}
