//! JSON messages: what an agent or host receives from the other, and the daemon from local clients.

use nightkeep_wire::control::{Line, Request};
use nightkeep_wire::desired::{DesiredState, MachineSettings};
use nightkeep_wire::enrol::{EnrollRequest, EnrollResponse};
use nightkeep_wire::gateway::{GrantRequest, GrantResponse, KnownRequest, KnownResponse, ListResponse};
use nightkeep_wire::id::BlobName;
use nightkeep_wire::plan::Plan;
use nightkeep_wire::problem::Problem;
use nightkeep_wire::progress::JobProgress;
use nightkeep_wire::report::{Report, ReportBatch};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Reads a message; one that was read is written and read again.
fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let message: T = serde_json::from_slice(bytes).ok()?;
    let Ok(written) = serde_json::to_vec(&message) else { unreachable!("a message that was read cannot be written") };
    let again: Option<T> = serde_json::from_slice(&written).ok();
    assert_eq!(again.as_ref(), Some(&message), "a message that was read is written and read again");
    Some(message)
}

pub(super) fn enrolment(bytes: &[u8]) -> bool {
    let request = read::<EnrollRequest>(bytes).is_some();
    request | read::<EnrollResponse>(bytes).is_some() | read::<Problem>(bytes).is_some()
}

pub(super) fn desired(bytes: &[u8]) -> bool {
    let Some(state) = read::<DesiredState>(bytes) else { return false };
    for applied in &state.plans {
        let _ = applied.plan.validate();
    }
    true
}

pub(super) fn report(bytes: &[u8]) -> bool {
    let batch = read::<ReportBatch>(bytes).is_some();
    batch | read::<Report>(bytes).is_some() | read::<JobProgress>(bytes).is_some()
}

pub(super) fn gateway(bytes: &[u8]) -> bool {
    let grants = read::<GrantRequest>(bytes).is_some() | read::<GrantResponse>(bytes).is_some();
    let known = read::<KnownRequest>(bytes).is_some() | read::<KnownResponse>(bytes).is_some();
    grants | known | read::<ListResponse>(bytes).is_some()
}

/// One line between daemon and command line or monitor.
pub(super) fn control(bytes: &[u8]) -> bool {
    read::<Request>(bytes).is_some() | read::<Line>(bytes).is_some()
}

const MACHINE: &str = r#""00000000-0000-0000-0000-000000000007""#;

/// An enrolment, its answer, a problem.
pub(super) fn enrolment_seeds() -> Vec<Vec<u8>> {
    let key = format!("{}=", "A".repeat(43));
    let facts = r#"{"hostname":"anna-pc","os":{"family":"linux","name":"Debian","version":"12"},"arch":"x86_64",
        "class":"workstation","hardware_fingerprint":"4f1c","agent_version":"0.1.0","zone":"Europe/Berlin",
        "boot_id":"b00t","booted_at":null,"virtual_machine":false,"used_bytes":118000000000,"abilities":[]}"#;
    let request = format!(
        r#"{{"version":1,"secret":"{key}","facts":{facts},"signing_key":"{key}","sealing_key":"{key}","incarnation":{MACHINE}}}"#
    );
    let response = format!(
        r#"{{"machine_id":{MACHINE},"state":"active","customer":"Bakery","client":"Bakery","location":"Main street",
        "vault":{{"vault_id":"{vault}","location":"nightkeep+https://host/{vault}","public_key":"{key}","epoch":1,
        "maintenance_key":"{key}","secrets_sealed":"AwMDAwMD"}},"poll_wait_seconds":55}}"#,
        vault = "ab".repeat(16)
    );
    let problem = serde_json::to_vec(&Problem::sequence_gap(4, 9)).unwrap_or_default();
    vec![request.into_bytes(), response.into_bytes(), problem]
}

/// The default plan with a command of each kind.
pub(super) fn desired_seeds() -> Vec<Vec<u8>> {
    let plan = serde_json::to_string(&Plan::default_plan()).unwrap_or_default();
    let settings = serde_json::to_string(&MachineSettings::default()).unwrap_or_default();
    let state = format!(
        r#"{{"version":9,"state":"active","vault":null,"plans":[{{"plan":{plan},"revision":2,"applied_at":"2026-11-20T08:00:00Z"}}],
        "commands":[{{"id":{MACHINE},"issued_at":"2026-11-20T09:00:00Z","expires_at":null,
        "action":{{"kind":"start","plan":{MACHINE}}}}},{{"id":{MACHINE},"issued_at":"2026-11-20T09:00:00Z",
        "expires_at":"2026-11-21T09:00:00Z","action":{{"kind":"stop","job":{MACHINE},"plan":null}}}}],
        "settings":{settings},"exclusions":null}}"#
    );
    vec![state.into_bytes()]
}

/// A batch with reports of several kinds, and progress.
pub(super) fn report_seeds() -> Vec<Vec<u8>> {
    let report = |body: &str| {
        format!(
            r#"{{"machine":{MACHINE},"incarnation":{MACHINE},"sequence":12,"at":"2026-11-20T22:31:00Z","body":{body}}}"#
        )
    };
    let missed = report(&format!(
        r#"{{"kind":"missed","plan":{MACHINE},"occurrence":"2026-11-20T22:00:00Z","reason":"machine_off","online_seconds":0}}"#
    ));
    let pause = report(r#"{"kind":"pause","until":"2026-11-21T02:00:00Z","by":"anna"}"#);
    let started = report(&format!(
        r#"{{"kind":"job_started","job":{MACHINE},"plan":null,"job_kind":"backup","cause":"catch_up","occurrence":null,"started":"2026-11-20T22:12:00Z"}}"#
    ));
    let progress = format!(
        r#"{{"job":{MACHINE},"plan":null,"job_kind":"backup","phase":"backing_up","started":"2026-11-20T22:12:00Z",
        "at":"2026-11-20T22:13:00Z","files_done":42,"files_total":100,"bytes_done":1,"bytes_total":null,"percent":42}}"#
    );
    let batch = format!(r#"{{"reports":[{missed},{pause}]}}"#);
    [batch, missed, pause, started, progress].into_iter().map(String::into_bytes).collect()
}

/// Wishes, grants, listings, questions.
pub(super) fn gateway_seeds() -> Vec<Vec<u8>> {
    let hash = "11".repeat(32);
    let wish = format!(r#"{{"objects":[{{"name":"p/00/ab","len":5,"hash":"{hash}"}}]}}"#);
    let grants = r#"{"grants":[{"name":"p/00/ab","result":"url","url":"https://host/x","expires":"2026-11-20T22:15:00Z"},
        {"name":"p/00/ac","result":"exists"},{"name":"g/1","result":"refused","code":"not-allowed","reason":"no"}]}"#;
    let list = r#"{"objects":[{"name":"cfg/vault","len":200}],"more":false}"#;
    let name = BlobName([0x11; 16]);
    let ids = serde_json::to_string(&KnownRequest { ids: vec![name] }).unwrap_or_default();
    let known = serde_json::to_string(&KnownResponse { known: vec![name] }).unwrap_or_default();
    [&wish, grants, list, &ids, &known].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Requests and lines of every kind.
pub(super) fn control_seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"id":1,"op":"status"}"#,
        r#"{"id":2,"op":"start","plan":null}"#,
        r#"{"id":3,"op":"pause","for_seconds":60}"#,
        r#"{"id":4,"op":"of a later version"}"#,
        r#"{"id":1,"ok":{"reply":"done"}}"#,
        r#"{"id":3,"error":{"code":"not_allowed","message":"only an administrator may"}}"#,
        r#"{"event":"of a later version"}"#,
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
