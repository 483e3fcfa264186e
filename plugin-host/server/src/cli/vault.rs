//! `vault sheet`.

use anyhow::Context as _;
use serde_json::json;

use super::Place;
use super::output::print;
use crate::host::open;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Vault {
    /// Print the recovery sheet of a customer's vault. Whoever holds it reads every backup of the customer.
    Sheet {
        #[command(flatten)]
        place: Place,
        /// The customer.
        #[arg(long)]
        customer: String,
    },
}

impl Vault {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Sheet { place, customer: name } = self;
        let app = open(&place.options()).await?.app;
        let mut found = app.database.customers_named(&name).await?;
        anyhow::ensure!(found.len() <= 1, "{} customers are called {name:?}", found.len());
        let customer = found.pop().with_context(|| format!("there is no customer {name:?}"))?;
        let sheet = app.sheet(&customer).await?;
        app.audit("command line", "print_recovery_sheet", customer.id, name).await?;
        let vault = app.ensure_vault(customer.id).await?;
        let location = format!("file://{}", app.data.vault(vault.id).display());
        let document = json!({ "vault": vault.id, "location": location, "sheet": sheet });
        print(place.json, &document, &sheet);
        Ok(())
    }
}
