//! The agents' API, as `nightkeep-wire` has it.

mod machine;
mod signed;
mod vault;

use axum::Router;
use axum::routing::{get, post, put};

use crate::app::SharedApp;

pub(super) fn routes() -> Router<SharedApp> {
    let path = |path: &str| format!("{}{path}", nightkeep_wire::AGENT_API_BASE);
    Router::new()
        .route(&path("/enroll"), post(machine::enroll))
        .route(&path("/machine/keys"), put(machine::keys))
        .route(&path("/desired"), get(machine::desired))
        .route(&path("/reports"), post(machine::reports))
        .route(&path("/progress"), post(machine::progress))
        .route(&path("/vault/list"), get(vault::list))
        .route(&path("/vault/object/{*name}"), get(vault::read).head(vault::look))
        .route(&path("/vault/grants"), post(vault::grants))
        .route(&path("/vault/known"), post(vault::known))
        .route(&path("/vault/upload/{token}"), put(vault::upload))
}
