//! The one place that speaks to the engine: opens the vault as this machine, runs a backup, makes its result.
//!
//! Invariant: whatever happens here becomes a result; a job that was started is always reported.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, Offset as _, Utc};
use chrono_tz::Tz;
use nightkeep_engine::backup::{
    self, BackupError, BackupOptions, BackupReport, Executor, Levels, MemoryProfile, PlanRef,
};
use nightkeep_engine::progress::{Phase, Progress as _, Stop};
use nightkeep_engine::source;
use nightkeep_platform::awake::Awake;
use nightkeep_platform::process;
use nightkeep_platform::volume_snapshot::SnapshotError;
use nightkeep_rules::sets::{SetHistory, deciding_date};
use nightkeep_storage::{LocationError, open_location};
use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::{OpenError, SealingPublicKey, Secret, VerifyingKey};
use nightkeep_vault::id::{MachineId as VaultMachineId, VaultId};
use nightkeep_vault::keys::{MachineKeys, VaultKeys};
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::store::Store;
use nightkeep_vault::vault::{Local, Pins, Vault, VaultError};
use nightkeep_wire::desired::{AppliedPlan, MachineSettings};
use nightkeep_wire::enrol::{MACHINE_SECRETS_INFO, VaultGrant};
use nightkeep_wire::exclusions::ExclusionList;
use nightkeep_wire::plan::{Compression, Priority, Retries};
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::report::{BackupSet, CivilStamp, ErrorClass, Finding, FindingKind, JobResult, Outcome};
use nightkeep_wire::{MachineId, RecoveryPointId};
use tokio::runtime::Handle;

use super::commands::{self, Before};
use super::items::{self, ItemsError};
use super::limits::{LimitsOf, RealPulse};
use super::throttle::ThrottledStore;
use super::{Job, Watch, result, snapshots};
use crate::clock::{Clock, HostClock};
use crate::facts::AGENT_VERSION;
use crate::gateway::{GatewayOptions, GatewayStore};
use crate::identity::Identity;
use crate::journal::Keeper;
use crate::link::HostLink;

/// Everything a job needs, gathered before it starts.
pub(crate) struct Run {
    /// The job.
    pub(crate) job: Job,
    /// Its plan.
    pub(crate) plan: AppliedPlan,
    /// What the default exclusions are.
    pub(crate) exclusions: Option<ExclusionList>,
    /// Settings of the machine.
    pub(crate) settings: MachineSettings,
    /// Who this machine is.
    pub(crate) identity: Identity,
    /// The link to the host.
    pub(crate) link: HostLink,
    /// The runtime that does the network's work.
    pub(crate) runtime: Handle,
    /// The folder that is the machine.
    pub(crate) machine_root: PathBuf,
    /// The machine's name.
    pub(crate) hostname: String,
    /// The zone of the schedule.
    pub(crate) zone: Tz,
    /// Where caches of vaults lie.
    pub(crate) cache: PathBuf,
    /// Folders of our own, left out.
    pub(crate) own_folders: Vec<PathBuf>,
    /// Dates on which this plan made recovery points, as far as the state remembers; none when it lost its memory.
    pub(crate) set_dates: Option<Vec<NaiveDate>>,
    /// Threads that read and compress; 0 means the engine's choice.
    pub(crate) workers: usize,
    /// How long storage may be away; none means as the plan says.
    pub(crate) patience: Option<Duration>,
    /// The commands that may be run here.
    pub(crate) commands_file: PathBuf,
    /// What changed since the last run.
    pub(crate) journal: Arc<Keeper>,
    /// A folder for what volume snapshots need.
    pub(crate) snapshots: PathBuf,
    /// Counters.
    pub(crate) watch: Arc<Watch>,
    /// Ends the run early.
    pub(crate) stop: Stop,
}

/// Why a run made no recovery point.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("this machine waits for approval in the console and has no vault yet")]
    NoVault,
    #[error("the secrets of the vault cannot be opened with this machine's key: enrol it again")]
    Secrets(#[source] OpenError),
    #[error("the vault lies where this agent cannot write")]
    Location(#[from] LocationError),
    #[error("{0}")]
    Command(String),
    #[error("the plan cannot be run on this machine")]
    Items(#[from] ItemsError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Runs the job to its end. Blocks; meant for a thread of its own.
pub(crate) fn run(run: &Run) -> JobResult {
    if let Err(error) = process::set_priority(priority(run)) {
        tracing::debug!(%error, "The job keeps the priority that it has");
    }
    let _awake = run.plan.plan.options.prevent_sleep.then(|| Awake::keep("A backup is running")).and_then(|kept| {
        kept.inspect_err(|error| tracing::info!(%error, "The machine may go to sleep during the backup")).ok()
    });
    let after_panic = commands::AfterPanic(run);
    let done = match commands::before(run) {
        Before::GoOn(finding) => {
            let mut done = back_up(run);
            finding.into_iter().for_each(|finding| commands::add_finding(&mut done, finding));
            done
        }
        Before::Fail(words) => failed(run, &RunError::Command(words), None),
        Before::Stopped => run.job.without_point(Outcome::Interrupted, None, run.link.clock().now()),
    };
    let done = commands::after(run, done);
    drop(after_panic);
    done
}

fn priority(run: &Run) -> process::Priority {
    match run.plan.plan.options.priority {
        Priority::Low => process::Priority::Background,
        Priority::Normal => process::Priority::Usual,
    }
}

fn back_up(run: &Run) -> JobResult {
    let mut gateway = None;
    let outcome = attempt(run, &mut gateway);
    let refusal = gateway.as_ref().and_then(|store| store.last_refusal());
    match outcome {
        Ok(done) => succeeded(run, done),
        Err(RunError::Backup(BackupError::Stopped(_)) | RunError::Snapshot(SnapshotError::Cancelled)) => {
            run.job.without_point(Outcome::Interrupted, None, run.link.clock().now())
        }
        Err(error) => failed(run, &error, refusal),
    }
}

struct Done {
    report: BackupReport,
    set: BackupSet,
    date: NaiveDate,
    own_findings: Vec<Finding>,
}

fn attempt(run: &Run, gateway: &mut Option<Arc<GatewayStore>>) -> Result<Done, RunError> {
    run.watch.phase(Phase::Preparing);
    let enrolled = run.identity.enrolled.as_ref().ok_or(RunError::NoVault)?;
    let grant = enrolled.vault.as_ref().ok_or(RunError::NoVault)?;
    let store = open_store(run, grant, gateway)?;
    let vault = open_vault(run, enrolled.machine, grant, store)?;
    let skip = run.own_folders.iter().cloned().chain(backup::own_folders(&grant.location)).collect();
    let plan = &run.plan.plan;
    let resolved = items::resolve(&plan.items, run.exclusions.as_ref(), &run.machine_root, skip)?;
    let mut own_findings: Vec<Finding> = resolved.missing.into_iter().map(not_there).collect();
    own_findings.iter().for_each(|_| run.watch.note_grave_finding());
    let clock = ZonedClock { clock: run.link.clock().clone(), zone: run.zone };
    let started = run.job.started.unwrap_or_else(|| run.link.clock().now());
    let date = deciding_date(run.job.occurrence, started, run.zone);
    let set = set_of(run, &vault, date)?;
    if run.set_dates.as_ref().is_none_or(Vec::is_empty) {
        count_beside(run, &resolved.source);
    }
    let mut options = BackupOptions::new(resolved.source, run.hostname.clone());
    options.plan = Some(PlanRef { id: *plan.id.as_bytes(), name: plan.name.clone() });
    options.set = result::vault_set(set);
    options.occurrence = run.job.occurrence.map(|at| clock.civil(at));
    options.agent_version = AGENT_VERSION.to_owned();
    options.levels = match plan.options.compression {
        Compression::None => Levels::fixed(1),
        Compression::Normal => options.levels,
        Compression::High => Levels::fixed(12),
    };
    if run.workers > 0 {
        options.executor = Executor::Threads { workers: run.workers, uploads: 2 };
    }
    let limits = limits(run);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    options.executor = limits.executor(options.executor, run.link.clock().now(), processors);
    options.cpu = limits.cpu(run.link.clock());
    options.priority = Some(priority(run));
    let profile = MemoryProfile::for_available(nightkeep_platform::memory::available_bytes());
    let mut options = options.with_memory(profile);
    let begun = run.journal.begin(plan.id, resolved.id, run.link.clock().now());
    options.changed.clone_from(&begun.changed);
    // After the journal was asked: what changes in between is told to the next run as well.
    let mut volumes = snapshots::make(run, &options.source)?;
    options.source.read_through(&volumes);
    options.snapshot_method = volumes.method();
    for finding in snapshots::findings(&volumes) {
        if !finding.kind.is_benign() {
            run.watch.note_grave_finding();
        }
        own_findings.push(finding);
    }
    let outcome = backup::run(&vault, &options, &clock, run.watch.as_ref(), &run.stop);
    for finding in snapshots::lost(&mut volumes) {
        run.watch.note_grave_finding();
        own_findings.push(finding);
    }
    snapshots::release(run, volumes);
    let report = outcome?;
    let how = run.journal.finish(&begun, report.point);
    tracing::info!(job = %run.job.id, recovery_point = %report.point, %how, "The source was looked at");
    Ok(Done { report, set, date, own_findings })
}

fn open_store(
    run: &Run,
    grant: &VaultGrant,
    gateway: &mut Option<Arc<GatewayStore>>,
) -> Result<Arc<dyn Store>, RunError> {
    let store: Arc<dyn Store> = match grant.location.starts_with("nightkeep+") {
        true => {
            let stop = run.stop.clone();
            let options = GatewayOptions {
                patience: run.patience.unwrap_or_else(|| patience(&run.plan.plan.options.reattempts)),
                cancelled: Arc::new(move || stop.requested().is_some()),
            };
            gateway.insert(Arc::new(GatewayStore::new(run.link.clone(), run.runtime.clone(), options))).clone()
        }
        false => open_location(&grant.location)?,
    };
    let limits = limits(run);
    if !limits.limit_bytes() {
        return Ok(store);
    }
    let (clock, stop) = (run.link.clock().clone(), run.stop.clone());
    let pulse = RealPulse { begun: Instant::now(), limits, clock, stop };
    Ok(Arc::new(ThrottledStore::new(store, pulse)))
}

fn limits(run: &Run) -> LimitsOf {
    LimitsOf {
        options: run.plan.plan.options.clone(),
        zone: run.zone,
        upload_bytes_per_second_max: run.settings.upload_bytes_per_second_max,
    }
}

/// How long a plan's reattempts go on: they are made with growing pauses, not every so many seconds.
fn patience(reattempts: &Retries) -> Duration {
    match reattempts.enabled {
        true => Duration::from_secs(u64::from(reattempts.tries) * u64::from(reattempts.interval_seconds)),
        false => Duration::ZERO,
    }
}

fn open_vault(
    run: &Run,
    machine: MachineId,
    grant: &VaultGrant,
    store: Arc<dyn Store>,
) -> Result<Arc<Vault>, RunError> {
    let keys = vault_keys(&run.identity, machine, grant).map_err(RunError::Secrets)?;
    let own = MachineKeys {
        id: VaultMachineId(*machine.as_bytes()),
        name: run.hostname.clone(),
        signing: run.identity.signing_key(),
        meta: run.identity.meta_key().clone(),
    };
    let pins = Pins {
        vault: VaultId(*grant.vault_id.as_bytes()),
        vault_public: SealingPublicKey(*grant.public_key.as_bytes()),
        maintenance_public: VerifyingKey(*grant.maintenance_key.as_bytes()),
    };
    Ok(Arc::new(Vault::open_machine(store, &pins, keys, own)?.with_local(Local::in_dir(&run.cache))))
}

/// Opens what the host sealed to this machine: `K_id || K_chunk || K_index`.
fn vault_keys(identity: &Identity, machine: MachineId, grant: &VaultGrant) -> Result<VaultKeys, OpenError> {
    let info = std::str::from_utf8(MACHINE_SECRETS_INFO).unwrap_or_default();
    let opened = identity.sealing_key().open(info, machine.as_bytes(), &grant.secrets_sealed.0)?;
    let opened = zeroize::Zeroizing::new(opened);
    if opened.len() != 96 {
        return Err(OpenError);
    }
    let key = |n: usize| {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&opened[n * 32..(n + 1) * 32]);
        Secret::new(bytes)
    };
    Ok(VaultKeys { id: key(0), chunk: key(1), index: key(2) })
}

/// The set of this run. A state that lost its memory asks the vault on which dates there are points.
fn set_of(run: &Run, vault: &Vault, date: NaiveDate) -> Result<BackupSet, VaultError> {
    let dates: BTreeSet<NaiveDate> = match &run.set_dates {
        Some(dates) => dates.iter().copied().collect(),
        None => dates_in_vault(run, vault)?,
    };
    Ok(SetHistory::new(dates).set_of(date, run.plan.plan.retention.weekly_anchor))
}

fn dates_in_vault(run: &Run, vault: &Vault) -> Result<BTreeSet<NaiveDate>, VaultError> {
    let plan = *run.plan.plan.id.as_bytes();
    let machine = vault.writer(&run.hostname)?.id;
    let points = vault.points(machine)?;
    let own = points.points.iter().map(|listed| &listed.point.header).filter(|header| header.plan == Some(plan));
    let dates = own.filter_map(|header| {
        let time = |civil: &CivilTime| DateTime::from_timestamp(civil.at.seconds, civil.at.nanoseconds);
        let occurrence = header.occurrence.as_ref().and_then(time);
        Some(deciding_date(occurrence, time(&header.started)?, run.zone))
    });
    Ok(dates.collect())
}

/// A first backup has no parent to estimate by, so the source is counted beside it.
fn count_beside(run: &Run, source: &source::SourceOptions) {
    let (source, watch, stop) = (source.clone(), run.watch.clone(), run.stop.clone());
    let counted = std::thread::Builder::new().name("measure".to_owned()).spawn(move || {
        let _ = process::set_priority(process::Priority::Background);
        if let Some((files, bytes)) = source::measure(&source, || stop.requested().is_some()) {
            watch.estimate(files, bytes);
        }
    });
    if let Err(error) = counted {
        tracing::debug!(%error, "The source is not counted; progress has no percentage");
    }
}

fn not_there(path: String) -> Finding {
    let message = "the plan selects it, but it is not there".to_owned();
    Finding { path_lossy: result::bounded(&path), kind: FindingKind::Unreadable, message }
}

fn succeeded(run: &Run, done: Done) -> JobResult {
    let Done { report, set, date, own_findings } = done;
    let outcome = if run.watch.has_grave_findings() { Outcome::Warning } else { Outcome::Ok };
    let moment = run.job.occurrence.or(run.job.started).unwrap_or_else(Utc::now);
    let finding_count = report.totals.findings + own_findings.len() as u64;
    JobResult {
        civil: Some(CivilStamp {
            zone: run.zone.name().to_owned(),
            offset_seconds: moment.with_timezone(&run.zone).offset().fix().local_minus_utc(),
            date,
        }),
        outcome,
        recovery_point: Some(RecoveryPointId::from_bytes(report.point.as_bytes())),
        set: Some(set),
        stats: result::stats(&report.totals),
        findings: result::findings(&report, own_findings),
        finding_count,
        ..run.job.without_point(outcome, None, run.link.clock().now())
    }
}

fn failed(run: &Run, error: &RunError, refusal: Option<ProblemCode>) -> JobResult {
    let class = match error {
        RunError::NoVault | RunError::Secrets(_) => ErrorClass::Credentials,
        RunError::Location(_) => ErrorClass::Storage,
        RunError::Command(_) => ErrorClass::Machine,
        RunError::Items(_) => ErrorClass::Plan,
        RunError::Snapshot(_) => ErrorClass::VolumeSnapshot,
        RunError::Vault(error) => result::class_of_vault(error, refusal),
        RunError::Backup(error) => result::class_of(error, refusal),
    };
    let words = crate::chain::chain(error);
    tracing::error!(job = %run.job.id, plan = %run.job.plan, error = %words, "Backup failed");
    let result = run.job.without_point(Outcome::Error, Some(result::bounded(&words)), run.link.clock().now());
    JobResult { error_class: Some(class), ..result }
}

/// The engine's clock: the host's time in the zone of the schedule.
struct ZonedClock {
    clock: Arc<HostClock>,
    zone: Tz,
}

impl ZonedClock {
    fn civil(&self, at: DateTime<Utc>) -> CivilTime {
        CivilTime {
            at: Time { seconds: at.timestamp(), nanoseconds: at.timestamp_subsec_nanos().min(999_999_999) },
            offset_minutes: at.with_timezone(&self.zone).offset().fix().local_minus_utc() / 60,
            zone: self.zone.name().to_owned(),
        }
    }
}

impl backup::Clock for ZonedClock {
    fn now(&self) -> CivilTime {
        self.civil(self.clock.now())
    }
}
