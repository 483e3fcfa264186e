//! `token create`.

use anyhow::Context as _;
use chrono::Duration;
use serde_json::json;

use super::Place;
use super::output::print;
use crate::app::tokens::TokenWish;
use crate::host::open;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Token {
    /// Make an enrolment token; client, location and customer are created when they are missing.
    Create(Create),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    place: Place,
    /// The client whose machines are let in.
    #[arg(long)]
    client: String,
    /// The location they land in.
    #[arg(long)]
    location: String,
    /// The customer of a new client; by default one of the client's name.
    #[arg(long)]
    customer: Option<String>,
    /// A plan applied at once: its name, its id, or "default".
    #[arg(long)]
    plan: Option<String>,
    /// How many machines the token lets in.
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// How long it is valid, such as 30m, 12h or 7d.
    #[arg(long, default_value = "7d", value_parser = parse_span)]
    valid_for: Duration,
    /// Install the backup monitor, too.
    #[arg(long)]
    backup_monitor: bool,
    /// Apply the default plan to this client's machines without a plan automatically, from now on.
    #[arg(long)]
    auto_plan: bool,
    /// The host's address for agents, when it is another than the one it was started with.
    #[arg(long)]
    host_url: Option<String>,
}

impl Token {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        let opened = open(&self.place.options()).await?;
        let address = self.host_url.clone().or_else(|| opened.app.data.read_address().map(|address| address.url));
        let address = address.context(
            "the host's address is not known yet: start it once with `nightkeep-host serve`, or pass --host-url https://HOST:PORT",
        )?;
        let json = self.place.json;
        let made = opened.app.create_token(self.wish(), &address, "command line").await?;
        let document = json!({
            "token": made.text,
            "expires_at": made.expires_at,
            "customer": made.customer.id,
            "client": made.client.id,
            "location": made.location.id,
        });
        print(json, &document, &made.text);
        Ok(())
    }

    fn wish(self) -> TokenWish {
        TokenWish {
            client: self.client,
            location: self.location,
            customer: self.customer,
            plan: self.plan,
            uses: self.uses,
            valid_for: self.valid_for,
            backup_monitor: self.backup_monitor,
            auto_plan: self.auto_plan,
        }
    }
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time: a number and s, m, h or d, as in 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: i64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let span = match unit {
        's' => Duration::try_seconds(number),
        'm' => Duration::try_minutes(number),
        'h' => Duration::try_hours(number),
        'd' => Duration::try_days(number),
        _ => None,
    };
    span.ok_or_else(wrong)
}
