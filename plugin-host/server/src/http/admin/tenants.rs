//! Customers, clients, locations, plans, tokens.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, Duration, Utc};
use nightkeep_database::{Client, Customer, Location, User};
use nightkeep_wire::plan::Plan;
use nightkeep_wire::{ClientId, CustomerId, LocationId, PlanId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::authority::Authority;
use super::super::session::{Operator, SignedIn};
use crate::app::tokens::TokenWish;
use crate::app::{AppError, SharedApp};

#[derive(Serialize)]
pub(super) struct CustomerView {
    id: CustomerId,
    name: String,
    created_at: DateTime<Utc>,
}

pub(super) async fn customers(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
) -> Result<Json<Vec<CustomerView>>, AppError> {
    let customers = app.database.customers().await?.into_iter().filter(|customer| sees(&user, customer.id));
    let view = |c: Customer| CustomerView { id: c.id, name: c.name, created_at: c.created_at };
    Ok(Json(customers.map(view).collect()))
}

#[derive(Serialize)]
pub(super) struct ClientView {
    id: ClientId,
    customer: CustomerId,
    name: String,
    auto_apply: bool,
}

pub(super) async fn clients(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
) -> Result<Json<Vec<ClientView>>, AppError> {
    let clients = app.database.clients(user.customer).await?;
    let view = |c: Client| ClientView { id: c.id, customer: c.customer, name: c.name, auto_apply: c.auto_apply };
    Ok(Json(clients.into_iter().map(view).collect()))
}

#[derive(Serialize)]
pub(super) struct LocationView {
    id: LocationId,
    client: ClientId,
    name: String,
    auto_apply: bool,
}

#[derive(Deserialize)]
pub(super) struct LocationQuery {
    client: Option<ClientId>,
}

pub(super) async fn locations(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
    Query(query): Query<LocationQuery>,
) -> Result<Json<Vec<LocationView>>, AppError> {
    let visible: Vec<ClientId> = app.database.clients(user.customer).await?.into_iter().map(|c| c.id).collect();
    let locations = app.database.locations(query.client).await?.into_iter().filter(|l| visible.contains(&l.client));
    let view = |l: Location| LocationView { id: l.id, client: l.client, name: l.name, auto_apply: l.auto_apply };
    Ok(Json(locations.map(view).collect()))
}

#[derive(Deserialize)]
pub(super) struct Switch {
    on: bool,
}

pub(super) async fn client_auto_apply(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Path(client): Path<ClientId>,
    Json(switch): Json<Switch>,
) -> Result<StatusCode, AppError> {
    let visible = app.database.clients(user.customer).await?;
    let Some(client) = visible.into_iter().find(|known| known.id == client) else {
        return Err(AppError::not_found("client"));
    };
    app.database.set_client_auto_apply(client.id, switch.on).await?;
    app.audit(&user.name, "set_auto_apply", client.id, format!("{}: {}", client.name, switch.on)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn location_auto_apply(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Path(location): Path<LocationId>,
    Json(switch): Json<Switch>,
) -> Result<StatusCode, AppError> {
    let place = app.database.place(location).await?.filter(|place| sees(&user, place.customer.id));
    let Some(place) = place else { return Err(AppError::not_found("location")) };
    app.database.set_location_auto_apply(location, switch.on).await?;
    app.audit(&user.name, "set_auto_apply", location, format!("{}: {}", place.location.name, switch.on)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
pub(super) struct PlanView {
    id: PlanId,
    revision: u64,
    is_default: bool,
    customer: Option<CustomerId>,
    plan: Plan,
}

pub(super) async fn plans(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
) -> Result<Json<Vec<PlanView>>, AppError> {
    let plans = app.database.plans_for(user.customer.unwrap_or(Customer::PROVIDER)).await?;
    let view = |record: nightkeep_database::PlanRecord| PlanView {
        id: record.plan.id,
        revision: record.revision,
        is_default: record.is_default,
        customer: record.customer,
        plan: record.plan,
    };
    Ok(Json(plans.into_iter().map(view).collect()))
}

#[derive(Serialize)]
pub(super) struct TokenView {
    id: Uuid,
    location: LocationId,
    plan: Option<PlanId>,
    backup_monitor: bool,
    expires_at: DateTime<Utc>,
    uses_left: u32,
    created_by: String,
}

pub(super) async fn tokens(
    State(app): State<SharedApp>,
    Operator(user): Operator,
) -> Result<Json<Vec<TokenView>>, AppError> {
    provider_only(&user)?;
    let view = |token: nightkeep_database::Token| TokenView {
        id: token.id,
        location: token.location,
        plan: token.plan,
        backup_monitor: token.backup_monitor,
        expires_at: token.expires_at,
        uses_left: token.uses_left,
        created_by: token.created_by,
    };
    Ok(Json(app.database.open_tokens(app.now()).await?.into_iter().map(view).collect()))
}

#[derive(Deserialize)]
pub(super) struct TokenRequest {
    client: String,
    location: String,
    customer: Option<String>,
    plan: Option<String>,
    #[serde(default = "one")]
    uses: u32,
    #[serde(default = "seven")]
    valid_days: u16,
    #[serde(default)]
    backup_monitor: bool,
    #[serde(default)]
    auto_plan: bool,
}

const fn one() -> u32 {
    1
}

const fn seven() -> u16 {
    7
}

#[derive(Serialize)]
pub(super) struct MadeTokenView {
    token: String,
    expires_at: DateTime<Utc>,
    customer: CustomerId,
    client: ClientId,
    location: LocationId,
}

pub(super) async fn create_token(
    State(app): State<SharedApp>,
    Authority(authority): Authority,
    Operator(user): Operator,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, Json<MadeTokenView>), AppError> {
    provider_only(&user)?;
    let wish = TokenWish {
        client: request.client,
        location: request.location,
        customer: request.customer,
        plan: request.plan,
        uses: request.uses,
        valid_for: Duration::days(request.valid_days.into()),
        backup_monitor: request.backup_monitor,
        auto_plan: request.auto_plan,
    };
    let made = app.create_token(wish, &format!("https://{authority}"), &user.name).await?;
    let view = MadeTokenView {
        token: made.text,
        expires_at: made.expires_at,
        customer: made.customer.id,
        client: made.client.id,
        location: made.location.id,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

fn sees(user: &User, customer: CustomerId) -> bool {
    user.customer.is_none_or(|own| own == customer)
}

/// Tokens may make customers, so a user bound to one has no part in them.
fn provider_only(user: &User) -> Result<(), AppError> {
    match user.customer {
        None => Ok(()),
        Some(_) => Err(AppError::not_found("page")),
    }
}
