//! Making enrolment tokens, and the customer, client and location that they name.
//!
//! Invariant: the token's text exists once, in the answer; the database keeps the secret's hash.

use chrono::{DateTime, Duration, Utc};
use nightkeep_database::{Client, Customer, Location, NewToken, TenantKind};
use nightkeep_vault::crypto::random;
use nightkeep_wire::PlanId;
use nightkeep_wire::bytes::TokenSecret;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::token::EnrolmentToken;
use uuid::Uuid;

use super::{App, AppError};

/// Most machines one token lets in.
const USES_MAX: u32 = 100_000;
/// Longest time of a token.
const VALID_MAX: Duration = Duration::days(365);
/// Longest name of a customer, client or location.
const NAME_CHARS_MAX: usize = 200;

/// What a token shall be.
#[derive(Debug, Clone)]
pub(crate) struct TokenWish {
    pub(crate) client: String,
    pub(crate) location: String,
    /// The client's own name when none is given.
    pub(crate) customer: Option<String>,
    pub(crate) plan: Option<String>,
    pub(crate) uses: u32,
    pub(crate) valid_for: Duration,
    pub(crate) backup_monitor: bool,
    /// Switches automatic application on for the client.
    pub(crate) auto_plan: bool,
}

/// A token that was made.
#[derive(Debug, Clone)]
pub(crate) struct MadeToken {
    pub(crate) text: String,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) client: Client,
    pub(crate) location: Location,
    pub(crate) customer: Customer,
}

impl App {
    /// Makes a token for agents that reach this host at `host_url`.
    pub(crate) async fn create_token(&self, wish: TokenWish, host_url: &str, by: &str) -> Result<MadeToken, AppError> {
        check(&wish)?;
        let plan = match &wish.plan {
            Some(plan) => Some(self.plan_named(plan).await?),
            None => None,
        };
        let (customer, client) = self.client_of(&wish).await?;
        let location = Location {
            id: Uuid::now_v7().into(),
            client: client.id,
            name: wish.location.trim().to_owned(),
            auto_apply: false,
        };
        let location = self.database.ensure_location(location, self.now()).await?;
        self.ensure_vault(customer.id).await?;
        if wish.auto_plan {
            self.database.set_client_auto_apply(client.id, true).await?;
        }
        let secret = random::<32>();
        let expires_at = self.now() + wish.valid_for;
        let token = NewToken {
            id: Uuid::now_v7(),
            secret_hash: *blake3::hash(&secret).as_bytes(),
            location: location.id,
            plan,
            backup_monitor: wish.backup_monitor,
            expires_at,
            uses: wish.uses,
            created_by: by.to_owned(),
        };
        let detail = format!("{} / {}, {} uses until {expires_at}", client.name, location.name, wish.uses);
        self.audit(by, "create_token", token.id, detail).await?;
        self.database.create_token(token, self.now()).await?;
        let text = EnrolmentToken { host_url: host_url.to_owned(), pin: self.pin, secret: TokenSecret::new(secret) };
        Ok(MadeToken { text: text.encode(), expires_at, client, location, customer })
    }

    /// The client of that name with its customer; both made when they are missing. A client never changes its customer.
    async fn client_of(&self, wish: &TokenWish) -> Result<(Customer, Client), AppError> {
        let name = wish.client.trim();
        if let Some(client) = self.database.client_named(name).await? {
            let customer = self.database.customer(client.customer).await?;
            let customer = customer.ok_or_else(|| AppError::not_found("customer"))?;
            return match &wish.customer {
                Some(other) if other.trim() != customer.name => Err(AppError::new(
                    ProblemCode::Conflict,
                    format!(
                        "client {name:?} belongs to customer {:?}: leave --customer out, or name that one",
                        customer.name
                    ),
                )),
                Some(_) | None => Ok((customer, client)),
            };
        }
        let customer = Customer {
            id: Uuid::now_v7().into(),
            kind: TenantKind::Customer,
            parent: Customer::PROVIDER,
            name: wish.customer.as_deref().unwrap_or(name).trim().to_owned(),
            created_at: self.now(),
        };
        let customer = self.database.ensure_customer(customer).await?;
        let client =
            Client { id: Uuid::now_v7().into(), customer: customer.id, name: name.to_owned(), auto_apply: false };
        let client = self.database.ensure_client(client, self.now()).await?;
        Ok((customer, client))
    }

    /// A plan by id or by name.
    async fn plan_named(&self, text: &str) -> Result<PlanId, AppError> {
        if text == "default" {
            return Ok(nightkeep_wire::plan::Plan::DEFAULT_ID);
        }
        let plans = self.database.plans_for(Customer::PROVIDER).await?;
        let found = plans.iter().find(|plan| plan.plan.name == text || plan.plan.id.to_string() == text);
        found.map(|plan| plan.plan.id).ok_or_else(|| {
            let names: Vec<_> = plans.iter().map(|plan| format!("{:?}", plan.plan.name)).collect();
            AppError::new(ProblemCode::NotFound, format!("there is no plan {text:?}; there are {}", names.join(", ")))
        })
    }
}

fn check(wish: &TokenWish) -> Result<(), AppError> {
    let bad = |detail: String| Err(AppError::new(ProblemCode::BadRequest, detail));
    for (what, name) in
        [("client", Some(&wish.client)), ("location", Some(&wish.location)), ("customer", wish.customer.as_ref())]
    {
        if name.is_some_and(|name| name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX) {
            return bad(format!("the {what} needs a name of 1 to {NAME_CHARS_MAX} characters"));
        }
    }
    if !(1..=USES_MAX).contains(&wish.uses) {
        return bad(format!("a token has 1 to {USES_MAX} uses, not {}", wish.uses));
    }
    if wish.valid_for <= Duration::zero() || wish.valid_for > VALID_MAX {
        return bad("a token is valid for more than nothing and at most 365 days".to_owned());
    }
    Ok(())
}
