//! The fake host's routes.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use nightkeep_vault::crypto::VerifyingKey;
use nightkeep_vault::keys::MachineKeys as VaultMachineKeys;
use nightkeep_vault::store::{ObjectName, Put, Store as _};
use nightkeep_wire::desired::DesiredQuery;
use nightkeep_wire::enrol::{EnrollRequest, EnrollResponse, EnrollState, MachineKeys};
use nightkeep_wire::gateway::{Grant, GrantOutcome, GrantRequest, GrantResponse, ListQuery, ListResponse, ObjectEntry};
use nightkeep_wire::id::{ContentHash, Nonce};
use nightkeep_wire::problem::{Problem, ProblemCode};
use nightkeep_wire::report::{ReportAck, ReportBatch, ReportBody};
use nightkeep_wire::signing::{
    HEADER_HOST_TIME, HEADER_MACHINE, HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIME, SignedParts, is_fresh,
};
use nightkeep_wire::{AGENT_API_BASE, MachineId};
use uuid::Uuid;

use super::Shared;

/// Pages of a listing, small, so that clients have to go on.
const PAGE: usize = 3;

type Host = State<Arc<Shared>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/enroll", post(enroll))
        .route("/machine/keys", put(keys))
        .route("/desired", get(desired))
        .route("/reports", post(reports))
        .route("/progress", post(async || StatusCode::NO_CONTENT))
        .route("/vault/list", get(list))
        .route("/vault/object/{*name}", get(read))
        .route("/vault/grants", post(grants))
        .route("/vault/upload/{*name}", put(upload))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(shared.clone(), guard));
    Router::new().nest(AGENT_API_BASE, api).with_state(shared)
}

fn problem(code: ProblemCode) -> Response {
    answer(Problem::new(code, format!("the test wants {code}")))
}

fn answer(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(problem)).into_response()
}

/// Faults, then signatures.
async fn guard(State(host): Host, uri: OriginalUri, request: Request, next: Next) -> Response {
    {
        let mut known = host.known();
        known.requests += 1;
        if known.faults.unavailable > 0 {
            known.faults.unavailable -= 1;
            return problem(ProblemCode::Unavailable);
        }
    }
    let path = uri.path().trim_start_matches(AGENT_API_BASE).to_owned();
    if path == "/enroll" || path.starts_with("/vault/upload/") {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 1 << 26).await else { return problem(ProblemCode::TooLarge) };
    let path_and_query = uri.path_and_query().map_or("", |text| text.as_str());
    if let Err(refusal) = check(&host, &parts.method, path_and_query, &parts.headers, &body) {
        return refusal;
    }
    next.run(Request::from_parts(parts, body.into())).await
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once")]
fn check(host: &Shared, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), Response> {
    let refuse = || problem(ProblemCode::SignatureInvalid);
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(refuse);
    let machine: MachineId = header(HEADER_MACHINE)?.parse().map_err(|_| refuse())?;
    let time_unix_ms: u64 = header(HEADER_TIME)?.parse().map_err(|_| refuse())?;
    let nonce: Nonce = header(HEADER_NONCE)?.parse().map_err(|_| refuse())?;
    let signature = nightkeep_wire::bytes::RequestSignature::parse(header(HEADER_SIGNATURE)?).map_err(|_| refuse())?;
    let known = host.known();
    let now = chrono::Utc::now().timestamp_millis() + known.faults.ahead_ms;
    if !is_fresh(time_unix_ms, now.unsigned_abs()) {
        let mut response = problem(ProblemCode::ClockSkew);
        response.headers_mut().insert(HEADER_HOST_TIME, now.into());
        return Err(response);
    }
    let Some(enrolled) = known.machines.get(&machine) else { return Err(problem(ProblemCode::MachineUnknown)) };
    let body_hash = ContentHash(*blake3::hash(body).as_bytes());
    let parts = SignedParts { method: method.as_str(), path_and_query: path, time_unix_ms, nonce, body_hash };
    let key = VerifyingKey(*enrolled.signing_key.as_bytes());
    if key.verifies(&parts.to_bytes(), signature.as_bytes()) { Ok(()) } else { Err(refuse()) }
}

async fn enroll(State(host): Host, Json(request): Json<EnrollRequest>) -> Response {
    if let Some(code) = host.known().faults.token {
        return problem(code);
    }
    let same = |known: &&MachineId| host.known().machines[*known].signing_key == request.signing_key;
    let earlier: Vec<MachineId> = host.known().machines.keys().copied().collect();
    let machine = earlier.iter().find(same).copied().unwrap_or_else(|| MachineId::from_uuid(Uuid::new_v4()));
    let grant = host.grant(machine, request.sealing_key);
    let record = nightkeep_vault::record::machine::MachineRecord::of_owner(&VaultMachineKeys {
        id: super::in_vault(machine),
        name: request.facts.hostname.clone(),
        signing: nightkeep_vault::crypto::SigningKey::from_seed(nightkeep_vault::crypto::Secret::new([0; 32])),
        meta: nightkeep_vault::crypto::Secret::new([0; 32]),
    });
    let signing = VerifyingKey(*request.signing_key.as_bytes());
    let record = nightkeep_vault::record::machine::MachineRecord { signing, ..record };
    let maintenance = host.root.maintenance(host.vault);
    let name = nightkeep_vault::record::machine::MachineRecord::name_of(super::in_vault(machine));
    let sealed = record.seal(host.vault, &host.root.vault_keys(host.vault), &maintenance);
    let _ = host.store.put_create(&name, &sealed);
    let mut known = host.known();
    known.incarnation.get_or_insert(request.incarnation);
    known.machines.insert(machine, request);
    Json(EnrollResponse {
        machine_id: machine,
        state: EnrollState::Active,
        customer: "Customer".to_owned(),
        client: "Client".to_owned(),
        location: "Location".to_owned(),
        vault: Some(grant),
        poll_wait_seconds: 1,
    })
    .into_response()
}

async fn keys(State(host): Host, Json(_): Json<MachineKeys>) -> StatusCode {
    host.known().meta_keys += 1;
    StatusCode::NO_CONTENT
}

async fn desired(State(host): Host, Query(query): Query<DesiredQuery>) -> Response {
    for _ in 0..query.wait * 50 {
        if host.known().version > query.version {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let newer = host.known().version > query.version;
    if newer { Json(host.desired()).into_response() } else { StatusCode::NO_CONTENT.into_response() }
}

async fn reports(State(host): Host, Json(batch): Json<ReportBatch>) -> Response {
    let mut known = host.known();
    for report in batch.reports {
        if known.incarnation != Some(report.incarnation) && report.sequence == 1 {
            (known.incarnation, known.applied) = (Some(report.incarnation), 0);
        }
        if known.incarnation != Some(report.incarnation) {
            return problem(ProblemCode::SequenceConflict);
        }
        let earlier =
            known.reports.iter().find(|r| r.incarnation == report.incarnation && r.sequence == report.sequence);
        match earlier {
            Some(earlier) if *earlier == report => continue,
            Some(_) => return problem(ProblemCode::SequenceConflict),
            None if report.sequence != known.applied + 1 => {
                return answer(Problem::sequence_gap(known.applied + 1, report.sequence));
            }
            None => {}
        }
        if let ReportBody::CommandDone(done) = &report.body {
            known.commands.retain(|command| command.id != done.command);
            known.version += 1;
        }
        known.applied = report.sequence;
        known.reports.push(report);
    }
    Json(ReportAck { applied_through: known.applied }).into_response()
}

async fn list(State(host): Host, Query(query): Query<ListQuery>) -> Response {
    let after = query.after.and_then(|name| ObjectName::new(name).ok());
    let limit = PAGE.min(query.limit.map_or(PAGE, |limit| limit as usize));
    let mut listed = host.store.list(&query.prefix, after.as_ref(), limit + 1).unwrap_or_default();
    let more = listed.len() > limit;
    listed.truncate(limit);
    let entry = |info: nightkeep_vault::store::ObjectInfo| {
        Some(ObjectEntry { name: info.name.as_str().parse().ok()?, len: info.bytes })
    };
    Json(ListResponse { objects: listed.into_iter().filter_map(entry).collect(), more }).into_response()
}

async fn read(State(host): Host, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Ok(name) = ObjectName::new(name) else { return problem(ProblemCode::BadRequest) };
    if name.as_str().starts_with("p/") {
        return problem(ProblemCode::NotAllowed);
    }
    let Ok(Some(length)) = host.store.head(&name) else { return problem(ProblemCode::NotFound) };
    let range = headers.get("range").and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((from, to)) = range.and_then(|(from, to)| Some((from.parse().ok()?, to.parse::<u64>().ok()?))) else {
        return host.store.get_range(&name, 0..length).unwrap_or_default().into_response();
    };
    if from >= length {
        return problem(ProblemCode::RangeInvalid);
    }
    let bytes = host.store.get_range(&name, from..to.saturating_add(1)).unwrap_or_default();
    (StatusCode::PARTIAL_CONTENT, bytes).into_response()
}

async fn grants(State(host): Host, Json(request): Json<GrantRequest>) -> Json<GrantResponse> {
    let refused = {
        let mut known = host.known();
        known.grant_requests += 1;
        known.faults.grants
    };
    let grant = |wish: nightkeep_wire::gateway::GrantWish| {
        let there = ObjectName::new(wish.name.as_str()).is_ok_and(|name| matches!(host.store.head(&name), Ok(Some(_))));
        let outcome = match refused {
            Some(code) => GrantOutcome::Refused { code, reason: format!("{} is refused: {code}", wish.name.as_str()) },
            None if there => GrantOutcome::Exists,
            None => GrantOutcome::Url {
                url: format!("{}{AGENT_API_BASE}/vault/upload/{}", host.url, wish.name.as_str()),
                expires: chrono::Utc::now() + chrono::Duration::minutes(15),
            },
        };
        Grant { name: wish.name, outcome }
    };
    Json(GrantResponse { grants: request.objects.into_iter().map(grant).collect() })
}

async fn upload(State(host): Host, Path(name): Path<String>, body: Bytes) -> Response {
    let Ok(name) = ObjectName::new(name) else { return problem(ProblemCode::BadRequest) };
    if std::mem::take(&mut host.known().faults.expired_grants) > 0 {
        return problem(ProblemCode::GrantInvalid);
    }
    let put = host.store.put_create(&name, &body);
    let lost = {
        let mut known = host.known();
        let lost = known.faults.lost_answers > 0;
        known.faults.lost_answers = known.faults.lost_answers.saturating_sub(1);
        lost
    };
    match put {
        _ if lost => StatusCode::BAD_GATEWAY.into_response(),
        Ok(Put::Created) => StatusCode::CREATED.into_response(),
        Ok(Put::Exists) => problem(ProblemCode::Exists),
        Err(_) => problem(ProblemCode::StorageUnavailable),
    }
}
