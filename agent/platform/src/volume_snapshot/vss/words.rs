//! What the service's codes mean, for people: a reason and a remedy.

use std::fmt;
use std::io;

use super::Writer;
use crate::volume_snapshot::WhyLive;

/// A code that a call of COM answers (`HRESULT`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::volume_snapshot) struct Code(pub(in crate::volume_snapshot) u32);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010X}", self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(code, _)| *code == self.0) {
            Some((_, name)) => write!(f, "{:#010X} {name}", self.0),
            None => write!(f, "{:#010X}", self.0),
        }
    }
}

const NOT_IMPLEMENTED: u32 = 0x8000_4001;
const CLASS_NOT_REGISTERED: u32 = 0x8004_0154;
const MODULE_NOT_FOUND: u32 = 0x8007_007E;
const PROCEDURE_NOT_FOUND: u32 = 0x8007_007F;
const ACCESS_DENIED: u32 = 0x8007_0005;
const SERVICE_DISABLED: u32 = 0x8007_0422;
const BAD_STATE: u32 = 0x8004_2301;
const PROVIDER_VETO: u32 = 0x8004_2306;
const PROVIDER_IN_USE: u32 = 0x8004_2307;
const OBJECT_NOT_FOUND: u32 = 0x8004_2308;
const ASYNC_CANCELLED: u32 = 0x0004_230B;
const VOLUME_NOT_SUPPORTED: u32 = 0x8004_230C;
const VOLUME_NOT_SUPPORTED_BY_PROVIDER: u32 = 0x8004_230E;
const UNEXPECTED_PROVIDER_ERROR: u32 = 0x8004_230F;
const FLUSH_WRITES_TIMEOUT: u32 = 0x8004_2313;
const HOLD_WRITES_TIMEOUT: u32 = 0x8004_2314;
const SNAPSHOT_SET_IN_PROGRESS: u32 = 0x8004_2316;
const MAXIMUM_NUMBER_OF_SNAPSHOTS: u32 = 0x8004_2317;
const WRITER_INFRASTRUCTURE: u32 = 0x8004_2318;
const WRITER_NOT_RESPONDING: u32 = 0x8004_2319;
const MAXIMUM_DIFFERENCE_AREAS: u32 = 0x8004_231E;
const INSUFFICIENT_STORAGE: u32 = 0x8004_231F;
const REBOOT_REQUIRED: u32 = 0x8004_2327;
const WRITER_TIMEOUT: u32 = 0x8004_23F2;
const WRITER_RETRYABLE: u32 = 0x8004_23F3;

const NAMES: [(u32, &str); 21] = [
    (ACCESS_DENIED, "E_ACCESSDENIED"),
    (BAD_STATE, "VSS_E_BAD_STATE"),
    (PROVIDER_VETO, "VSS_E_PROVIDER_VETO"),
    (PROVIDER_IN_USE, "VSS_E_PROVIDER_IN_USE"),
    (OBJECT_NOT_FOUND, "VSS_E_OBJECT_NOT_FOUND"),
    (VOLUME_NOT_SUPPORTED, "VSS_E_VOLUME_NOT_SUPPORTED"),
    (VOLUME_NOT_SUPPORTED_BY_PROVIDER, "VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER"),
    (UNEXPECTED_PROVIDER_ERROR, "VSS_E_UNEXPECTED_PROVIDER_ERROR"),
    (FLUSH_WRITES_TIMEOUT, "VSS_E_FLUSH_WRITES_TIMEOUT"),
    (HOLD_WRITES_TIMEOUT, "VSS_E_HOLD_WRITES_TIMEOUT"),
    (SNAPSHOT_SET_IN_PROGRESS, "VSS_E_SNAPSHOT_SET_IN_PROGRESS"),
    (MAXIMUM_NUMBER_OF_SNAPSHOTS, "VSS_E_MAXIMUM_NUMBER_OF_SNAPSHOTS_REACHED"),
    (WRITER_INFRASTRUCTURE, "VSS_E_WRITER_INFRASTRUCTURE"),
    (WRITER_NOT_RESPONDING, "VSS_E_WRITER_NOT_RESPONDING"),
    (MAXIMUM_DIFFERENCE_AREAS, "VSS_E_MAXIMUM_DIFFAREA_ASSOCIATIONS_REACHED"),
    (INSUFFICIENT_STORAGE, "VSS_E_INSUFFICIENT_STORAGE"),
    (REBOOT_REQUIRED, "VSS_E_REBOOT_REQUIRED"),
    (WRITER_TIMEOUT, "VSS_E_WRITERERROR_TIMEOUT"),
    (WRITER_RETRYABLE, "VSS_E_WRITERERROR_RETRYABLE"),
    (ASYNC_CANCELLED, "VSS_S_ASYNC_CANCELLED"),
    (SERVICE_DISABLED, "ERROR_SERVICE_DISABLED"),
];

impl Code {
    pub(super) const ASYNC_CANCELLED: Self = Self(ASYNC_CANCELLED);

    /// Whether the same call may well work in a while.
    pub(super) fn is_passing(self) -> bool {
        const PASSING: [u32; 6] = [
            PROVIDER_IN_USE,
            FLUSH_WRITES_TIMEOUT,
            HOLD_WRITES_TIMEOUT,
            SNAPSHOT_SET_IN_PROGRESS,
            WRITER_TIMEOUT,
            WRITER_RETRYABLE,
        ];
        PASSING.contains(&self.0)
    }

    /// Whether no volume can be added to this set any more.
    pub(super) fn spoils_set(self) -> bool {
        matches!(self.0, BAD_STATE)
    }

    /// What was to be removed is gone already.
    pub(in crate::volume_snapshot) fn is_not_found(self) -> bool {
        self.0 == OBJECT_NOT_FOUND
    }

    /// Whether the system has no such service at all, so that it can have made nothing.
    pub(in crate::volume_snapshot) fn is_no_service(self) -> bool {
        matches!(self.0, NOT_IMPLEMENTED | CLASS_NOT_REGISTERED | MODULE_NOT_FOUND | PROCEDURE_NOT_FOUND)
    }

    /// Why a volume is read live when `call` answered this.
    pub(in crate::volume_snapshot) fn why_live(self, call: &str) -> WhyLive {
        let unavailable = |reason: &str, remedy: &str| WhyLive::Unavailable {
            reason: format!("{reason} ({call}: {self})"),
            remedy: remedy.to_owned(),
        };
        let failed = |reason: &str, remedy: &str| WhyLive::Failed {
            reason: format!("{reason} ({call}: {self})"),
            remedy: remedy.to_owned(),
        };
        if self.is_no_service() {
            return unavailable(
                "this system has no Volume Shadow Copy service",
                "run the agent on a Windows that has it",
            );
        }
        match self.0 {
            ACCESS_DENIED => unavailable(
                "this account may make no shadow copies",
                "run the agent as its service or as administrator",
            ),
            VOLUME_NOT_SUPPORTED | VOLUME_NOT_SUPPORTED_BY_PROVIDER => not_supported(),
            SERVICE_DISABLED => failed(
                "the Volume Shadow Copy service is disabled",
                "set the service \"Volume Shadow Copy\" to start manually",
            ),
            INSUFFICIENT_STORAGE | MAXIMUM_DIFFERENCE_AREAS => failed(
                "there is no room for what changes meanwhile",
                "free 320 MB or more on the volume, or give shadow copies more room: vssadmin resize shadowstorage",
            ),
            MAXIMUM_NUMBER_OF_SNAPSHOTS => failed(
                "the volume has as many shadow copies as it may have",
                "delete old ones: vssadmin delete shadows /oldest",
            ),
            WRITER_INFRASTRUCTURE | WRITER_NOT_RESPONDING | WRITER_TIMEOUT | WRITER_RETRYABLE => failed(
                "a program that takes part did not answer in time",
                "restart the services of the writers that `vssadmin list writers` shows as failed",
            ),
            FLUSH_WRITES_TIMEOUT | HOLD_WRITES_TIMEOUT => {
                failed("the disk was too busy", "let backups start at a quieter time")
            }
            SNAPSHOT_SET_IN_PROGRESS => {
                failed("another program is making a shadow copy", "let the two start at different times")
            }
            REBOOT_REQUIRED => failed("Windows asks for a restart first", "restart the computer"),
            _ => failed(
                "the Volume Shadow Copy service failed",
                "look for VSS and volsnap in the event log, and at `vssadmin list writers` and `list providers`",
            ),
        }
    }
}

pub(in crate::volume_snapshot) fn not_supported() -> WhyLive {
    WhyLive::Unavailable {
        reason: "its filesystem has no shadow copies".to_owned(),
        remedy: "format it with NTFS or ReFS".to_owned(),
    }
}

pub(super) fn timed_out(call: &str) -> WhyLive {
    WhyLive::Failed {
        reason: format!("the Volume Shadow Copy service did not finish {call} in time"),
        remedy: "restart the services of the writers that `vssadmin list writers` shows as waiting".to_owned(),
    }
}

pub(super) fn no_ledger(error: &io::Error) -> WhyLive {
    WhyLive::Failed {
        reason: format!("a shadow copy cannot be written down before it is made: {error}"),
        remedy: "make room in the agent's state folder".to_owned(),
    }
}

pub(super) fn of_writer(writer: &Writer) -> String {
    format!(
        "the program behind {:?} did not get its data in order for the snapshot ({}); its files are as after a power cut",
        writer.name, writer.code
    )
}

pub(super) fn writers_unknown(why: &WhyLive) -> String {
    format!("whether all programs got their data in order for the snapshot is not known: {why}")
}
