//! What the host does without being asked: the scan, verifying what machines wrote, retention and collection, and
//! sweeping up what expired.
//!
//! Invariant: each task is a loop of idempotent steps that ends when the host stops; a failed step is logged and the
//! next one comes at its time.

use std::sync::Arc;
use std::time::Duration;

use chrono::Duration as Span;
use tokio::task::JoinHandle;

use crate::app::{App, AppError, SharedApp};

/// Every machine is looked at this often (item 75).
const SCAN_EVERY: Duration = Duration::from_secs(6 * 60);
/// Retention and collection come once a day, and first when the host has been up for a while.
const KEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
const KEEP_FIRST: Duration = Duration::from_secs(15 * 60);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Progress that nobody renewed for so long tells nothing any more.
const PROGRESS_KEPT: Span = Span::hours(24);
/// The status looks back at forty days.
const ONLINE_KEPT: Span = Span::days(60);

/// Starts all tasks.
pub(crate) fn start(app: &SharedApp) -> Vec<JoinHandle<()>> {
    let (scan, sweep, verify, keep) = (Arc::clone(app), Arc::clone(app), Arc::clone(app), Arc::clone(app));
    vec![
        tokio::spawn(scan_loop(scan)),
        tokio::spawn(sweep_loop(sweep)),
        tokio::spawn(verify_loop(verify)),
        tokio::spawn(keep_loop(keep)),
    ]
}

async fn scan_loop(app: SharedApp) {
    while goes_on(&app) {
        match app.scan().await {
            Ok(report) => tracing::debug!(?report, "Scan finished"),
            Err(error) => tracing::error!(cause = ?error.cause, "The scan failed; the next comes in six minutes"),
        }
        pause(&app, SCAN_EVERY).await;
    }
}

async fn sweep_loop(app: SharedApp) {
    while goes_on(&app) {
        if let Err(error) = sweep(&app).await {
            tracing::error!(cause = ?error.cause, "Sweeping up what expired failed");
        }
        pause(&app, SWEEP_EVERY).await;
    }
}

/// Verifies what machines wrote: after each report, and in any case as often as the scan comes.
async fn verify_loop(app: SharedApp) {
    while goes_on(&app) {
        if let Err(error) = app.verify_vaults().await {
            tracing::error!(cause = ?error.cause, "Verifying the vaults failed");
        }
        tokio::select! {
            () = pause(&app, SCAN_EVERY) => {}
            () = app.reported.notified() => {}
        }
    }
}

async fn keep_loop(app: SharedApp) {
    pause(&app, KEEP_FIRST).await;
    while goes_on(&app) {
        if let Err(error) = app.keep_vaults("host", None, false).await {
            tracing::error!(cause = ?error.cause, "Retention failed; the next run comes in a day");
        }
        pause(&app, KEEP_EVERY).await;
    }
}

async fn sweep(app: &App) -> Result<(), AppError> {
    let now = app.now();
    let expired = app.database.expire_grants(now).await?;
    if expired > 0 {
        tracing::debug!(expired, "Upload grants expired");
    }
    app.database.delete_expired_sessions(now).await?;
    app.database.delete_stale_progress(now - PROGRESS_KEPT).await?;
    Ok(app.database.delete_online_before(now - ONLINE_KEPT).await?)
}

fn goes_on(app: &App) -> bool {
    !*app.stopping.borrow()
}

/// Waits, or less when the host stops.
async fn pause(app: &App, span: Duration) {
    let mut stopping = app.stopping.subscribe();
    if *stopping.borrow_and_update() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(span) => {}
        _ = stopping.changed() => {}
    }
}
