//! Retention and collection on demand, and what the last runs did.

use axum::Json;
use axum::extract::State;
use nightkeep_database::Role;
use nightkeep_wire::CustomerId;
use nightkeep_wire::problem::ProblemCode;
use serde::Deserialize;

use super::super::session::{Operator, SignedIn};
use crate::app::keeping::Kept;
use crate::app::{AppError, SharedApp};

/// Which vaults, and how much may go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct KeepRequest {
    /// One customer's vault; all without it.
    customer: Option<CustomerId>,
    /// Lifts the limit of what may go to the trash at once.
    confirm: bool,
}

pub(super) async fn keep(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Json(request): Json<KeepRequest>,
) -> Result<Json<Vec<Kept>>, AppError> {
    if user.role != Role::Admin || user.customer.is_some() {
        return Err(AppError::new(
            ProblemCode::NotAllowed,
            "dropping recovery points needs an administrator of the host",
        ));
    }
    let detail = if request.confirm { "confirmed beyond the limit" } else { "" };
    app.audit(&user.name, "keep_on_demand", "vaults", detail).await?;
    Ok(Json(app.keep_vaults(&user.name, request.customer, request.confirm).await?))
}

pub(super) async fn kept(State(app): State<SharedApp>, SignedIn(user): SignedIn) -> Result<Json<Vec<Kept>>, AppError> {
    let own = match user.customer {
        Some(own) => app.database.vault_of(own).await?.map(|vault| vault.id.to_string()),
        None => None,
    };
    let mut kept = app.kept();
    if user.customer.is_some() {
        kept.retain(|kept| own.as_ref() == Some(&kept.vault));
    }
    Ok(Json(kept))
}
