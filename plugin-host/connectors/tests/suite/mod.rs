//! The conformance suite of [`Ticketing`]: what every ticketing connector does, against a server that really listens.
//!
//! A connector joins by a [`Stand`] of its own and one call of [`conforms`].

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use nightkeep_connectors::{DeliveryError, TicketOrder, TicketReceipt, Ticketing};
use nightkeep_monitoring::{Action, CauseKey, Priority, Severity, TicketContent, Topic};
use nightkeep_wire::TicketId;
use uuid::Uuid;

/// What the far side does with the next request instead of taking it.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Asks to come back in so many seconds.
    Overloaded { retry_after_seconds: u64 },
    /// Has a fault.
    Broken,
    /// Does not know our credentials.
    CredentialsRefused,
    /// Cannot make sense of the order.
    OrderRefused,
    /// Sends us elsewhere, where a listener would notice.
    Redirects,
    /// Takes the order and never answers.
    Hangs,
}

/// A connector and the far side it speaks with.
pub(crate) trait Stand: Sized {
    /// Starts both; the connector's time-out is to be a second or less.
    fn start() -> impl Future<Output = Result<Self>>;
    /// The connector.
    fn ticketing(&self) -> &dyn Ticketing;
    /// The next request meets this.
    fn trouble(&self, trouble: Trouble);
    /// What had an effect, as (key, action).
    fn effects(&self) -> Vec<(String, String)>;
    /// Whether anything reached the place that redirections point to.
    fn was_led_astray(&self) -> bool;
    /// Ends the far side; its port is free then.
    fn stop(&mut self) -> impl Future<Output = Result<()>>;
}

/// Runs the whole suite.
pub(crate) async fn conforms<S: Stand>() -> Result<()> {
    takes_every_action_once_and_in_order::<S>().await.context("every action")?;
    repeats_without_a_second_effect::<S>().await.context("repetition")?;
    tells_failures_by_what_can_be_done::<S>().await.context("failures")?;
    loses_nothing_when_the_answer_is_lost::<S>().await.context("lost answer")?;
    follows_no_redirection::<S>().await.context("redirection")?;
    says_later_when_nobody_listens::<S>().await.context("nobody listens")
}

/// A fixed moment: connectors take the time as an argument.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_176_000, 0).unwrap_or_default()
}

pub(crate) fn order(revision: u32, action: Action) -> TicketOrder {
    let ticket = TicketId::from_uuid(Uuid::from_u128(0x17));
    let cause = CauseKey::Everywhere(Topic::Storage);
    TicketOrder { key: format!("{ticket}-{revision}"), ticket, cause, revision, reference: None, action }
}

pub(crate) fn content() -> TicketContent {
    TicketContent {
        summary: "Backup: Bäckerei box - backup failed".into(),
        body: "box: disk full\n\"quotes\" and \u{2028} line separators".into(),
        severity: Severity::Error,
        priority: Priority::High,
        customer: None,
        machines: vec![],
        machine_count: 1,
    }
}

async fn takes_every_action_once_and_in_order<S: Stand>() -> Result<()> {
    let stand = S::start().await?;
    let note = || "because".to_owned();
    let actions = [
        Action::Open { content: content() },
        Action::Update { content: content(), note: note() },
        Action::Note { note: note() },
        Action::Resolve { note: note() },
        Action::Reopen { content: content(), note: note() },
    ];
    let mut reference = None;
    for (revision, action) in (1..).zip(actions) {
        let order = TicketOrder { reference: reference.clone(), ..order(revision, action) };
        let receipt = stand.ticketing().deliver(&order, now()).await?;
        reference = receipt.reference.or(reference);
    }
    ensure!(reference.is_some(), "the far side's reference came back");
    let actions: Vec<String> = stand.effects().into_iter().map(|(_, action)| action).collect();
    ensure!(actions == ["open", "update", "note", "resolve", "reopen"], "{actions:?}");
    Ok(())
}

async fn repeats_without_a_second_effect<S: Stand>() -> Result<()> {
    let stand = S::start().await?;
    let order = order(1, Action::Open { content: content() });
    for _ in 0..3 {
        stand.ticketing().deliver(&order, now()).await?;
    }
    ensure!(stand.effects().len() == 1, "{:?}", stand.effects());
    Ok(())
}

async fn tells_failures_by_what_can_be_done<S: Stand>() -> Result<()> {
    let stand = S::start().await?;
    let order = order(1, Action::Open { content: content() });
    let meets = async |trouble| {
        stand.trouble(trouble);
        stand.ticketing().deliver(&order, now()).await
    };
    match meets(Trouble::Overloaded { retry_after_seconds: 120 }).await {
        Err(DeliveryError::Later { retry_after: Some(wait), .. }) if wait == Duration::from_secs(120) => {}
        other => bail!("overloaded: {other:?}"),
    }
    ensure!(matches!(meets(Trouble::Broken).await, Err(DeliveryError::Later { .. })), "broken");
    ensure!(matches!(meets(Trouble::CredentialsRefused).await, Err(DeliveryError::Settings { .. })), "credentials");
    ensure!(matches!(meets(Trouble::OrderRefused).await, Err(DeliveryError::Rejected { .. })), "order refused");
    ensure!(stand.effects().is_empty(), "a failure has no effect");
    stand.ticketing().deliver(&order, now()).await.context("once the trouble is over")?;
    ensure!(stand.effects().len() == 1);
    Ok(())
}

async fn loses_nothing_when_the_answer_is_lost<S: Stand>() -> Result<()> {
    let stand = S::start().await?;
    let order = order(1, Action::Open { content: content() });
    stand.trouble(Trouble::Hangs);
    let lost = stand.ticketing().deliver(&order, now()).await;
    ensure!(matches!(lost, Err(DeliveryError::Later { .. })), "{lost:?}");
    stand.ticketing().deliver(&order, now()).await?;
    ensure!(stand.effects().len() == 1, "taken twice: {:?}", stand.effects());
    Ok(())
}

async fn follows_no_redirection<S: Stand>() -> Result<()> {
    let stand = S::start().await?;
    stand.trouble(Trouble::Redirects);
    let led: Result<TicketReceipt, _> =
        stand.ticketing().deliver(&order(1, Action::Note { note: String::new() }), now()).await;
    ensure!(matches!(led, Err(DeliveryError::Settings { .. })), "{led:?}");
    ensure!(!stand.was_led_astray(), "the order went to another address");
    Ok(())
}

async fn says_later_when_nobody_listens<S: Stand>() -> Result<()> {
    let mut stand = S::start().await?;
    stand.stop().await?;
    let refused = stand.ticketing().deliver(&order(1, Action::Note { note: String::new() }), now()).await;
    ensure!(matches!(refused, Err(DeliveryError::Later { .. })), "{refused:?}");
    Ok(())
}
