//! The console's pages.

use axum::Router;

use crate::app::SharedApp;

pub(super) fn routes() -> Router<SharedApp> {
    Router::new()
}
