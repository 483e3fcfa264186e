//! Volume snapshots of a run: from a plan's policy to what the run reads, and to what is told of it.
//!
//! Invariant: a volume that is read live although the plan wished for a snapshot is a finding.

use std::path::{Path, PathBuf};

use nightkeep_engine::source::SourceOptions;
use nightkeep_platform::volume_snapshot::{
    self, Policy, SnapshotError, SnapshotOptions, Snapshots, TIME_MAX, Volume, WhyLive,
};
use nightkeep_wire::plan::VssPolicy;
use nightkeep_wire::report::{Finding, FindingKind};

use super::{Run, result};

/// Makes the snapshots that the plan asks for.
pub(super) fn make(run: &Run, source: &SourceOptions) -> Result<Snapshots, SnapshotError> {
    let policy = match run.plan.plan.options.vss {
        VssPolicy::Required => Policy::Required,
        VssPolicy::Preferred => Policy::WhenAvailable,
        VssPolicy::Off => Policy::Never,
    };
    let cancelled = || run.stop.requested().is_some();
    let options = SnapshotOptions { state: &run.snapshots, time_max: TIME_MAX, cancelled: &cancelled };
    let made = volume_snapshot::prepare(&source.root_paths(), policy, &options)?;
    for volume in made.volumes() {
        tracing::info!(
            job = %run.job.id, volume = %volume.place.display(), method = volume.method.name(),
            why = volume.why_live.as_ref().map(ToString::to_string), "A volume is read"
        );
    }
    Ok(made)
}

/// Removes them. A run that has its recovery point does not fail because of it; the next start tries again.
pub(super) fn release(run: &Run, snapshots: Snapshots) {
    if let Err(error) = snapshots.release() {
        tracing::warn!(job = %run.job.id, %error, "A volume snapshot could not be removed; the next start tries again");
    }
}

/// What a technician should know of them.
pub(super) fn findings(snapshots: &Snapshots) -> Vec<Finding> {
    let of_volume = |volume: &Volume| {
        let live = match &volume.why_live {
            None | Some(WhyLive::NotOurs) => None,
            Some(why @ WhyLive::Unavailable { .. }) => Some((FindingKind::SnapshotUnavailable, why.to_string())),
            Some(why @ WhyLive::Failed { .. }) => Some((FindingKind::SnapshotFailed, why.to_string())),
        };
        let live =
            live.map(|(kind, why)| finding(&volume.place, kind, &format!("read without a volume snapshot: {why}")));
        let warnings = volume.warnings.iter().map(|text| finding(&volume.place, FindingKind::SnapshotFailed, text));
        live.into_iter().chain(warnings).collect::<Vec<_>>()
    };
    snapshots.volumes().iter().flat_map(of_volume).collect()
}

/// Those that were lost while they were read; to be asked before they are released.
pub(super) fn lost(snapshots: &mut Snapshots) -> Vec<Finding> {
    let lost = |(place, reason): (PathBuf, String)| {
        finding(
            &place,
            FindingKind::SnapshotFailed,
            &format!("the volume snapshot was lost while it was read: {reason}"),
        )
    };
    snapshots.broken().into_iter().map(lost).collect()
}

fn finding(place: &Path, kind: FindingKind, text: &str) -> Finding {
    Finding { path_lossy: result::bounded(&place.display().to_string()), kind, message: result::bounded(text) }
}

/// Removes what a run left behind whose process ended under it. Takes its time, so it has a thread of its own.
pub(crate) fn remove_leftovers(state: &Path) {
    let state = state.to_path_buf();
    let started =
        std::thread::Builder::new().name("leftovers".to_owned()).spawn(
            move || match volume_snapshot::remove_leftovers(&state) {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "Volume snapshots of a run that died were removed"),
                Err(error) => tracing::warn!(%error, "Volume snapshots of a run that died could not be removed"),
            },
        );
    if let Err(error) = started {
        tracing::warn!(%error, "Nobody looks for volume snapshots of runs that died");
    }
}
