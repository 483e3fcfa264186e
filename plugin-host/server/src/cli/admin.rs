//! `admin reset-password` and `api-key create`.

use serde_json::json;

use super::Place;
use super::output::print;
use crate::app::accounts::ADMIN;
use crate::host::open;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Admin {
    /// Give the user admin a new one-time password and sign every browser out.
    ResetPassword {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ApiKey {
    /// Make a key; it is sent as `Authorization: Bearer KEY` and valid for a year.
    Create {
        #[command(flatten)]
        place: Place,
        /// What it is for.
        #[arg(long)]
        label: String,
    },
}

impl Admin {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::ResetPassword { place } = self;
        let password = open(&place.options()).await?.app.reset_admin().await?;
        let document = json!({ "event": "admin-password", "user": ADMIN, "password": password });
        print(place.json, &document, &format!("user {ADMIN}, password {password}"));
        Ok(())
    }
}

impl ApiKey {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Create { place, label } = self;
        let app = open(&place.options()).await?.app;
        // A data directory that no server used yet has no admin to own the key.
        if let Some(password) = app.ensure_admin().await? {
            print(false, &json!({}), &format!("user {ADMIN}, password {password}"));
        }
        let key = app.create_api_key(&label).await?;
        print(place.json, &json!({ "api_key": key }), &key);
        Ok(())
    }
}
