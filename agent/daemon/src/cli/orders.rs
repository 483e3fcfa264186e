//! `start`, `stop`, `pause`, `resume`: orders to the daemon, with progress while a backup runs.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nightkeep_wire::JobId;
use nightkeep_wire::control::{Event, Op, Reply};
use nightkeep_wire::progress::{JobProgress, Phase};
use nightkeep_wire::report::Outcome;
use serde_json::json;

use super::args::{Globals, PauseArgs, PlanArg, StartArgs};
use super::control::{Client, runtime};
use super::exit::Exit;
use super::output;

/// Starts a backup and watches it to its end.
pub(super) fn start(args: &StartArgs, globals: &Globals) -> anyhow::Result<Exit> {
    runtime()?.block_on(async {
        let mut client = Client::connect(globals).await?;
        client.ask(Op::Subscribe).await?;
        let reply = client.ask(Op::Start { plan: args.plan.plan.clone() }).await?;
        let Reply::Started { job, plan_name, .. } = &reply else { anyhow::bail!("unexpected answer {reply:?}") };
        if globals.json {
            output::json(&json!({ "event": "started", "job": job, "plan": plan_name }));
        } else {
            output::line(format_args!("Backup of {plan_name:?} started."));
        }
        if args.no_wait {
            return Ok(Exit::Done);
        }
        tokio::select! {
            ended = watch(&mut client, *job, globals.json) => ended,
            _ = tokio::signal::ctrl_c() => {
                output::note("No longer watching; the backup goes on. `nightkeep-agent stop` stops it.");
                Ok(Exit::Stopped)
            }
        }
    })
}

/// Stops what runs.
pub(super) fn stop(args: &PlanArg, globals: &Globals) -> anyhow::Result<Exit> {
    order(Op::Stop { plan: args.plan.clone() }, globals, |reply| match reply {
        Reply::Stopping { jobs } if jobs.is_empty() => "Nothing was running.".to_owned(),
        Reply::Stopping { .. } => "Stopping; the next run goes on from there.".to_owned(),
        Reply::Done | Reply::Started { .. } | Reply::Paused { .. } | Reply::Status(_) => "Done.".to_owned(),
    })
}

/// Pauses scheduled backups.
pub(super) fn pause(args: &PauseArgs, globals: &Globals) -> anyhow::Result<Exit> {
    order(Op::Pause { for_seconds: args.span.as_secs() }, globals, |reply| match reply {
        Reply::Paused { until } => {
            format!("Paused until {}.", until.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M"))
        }
        Reply::Done | Reply::Started { .. } | Reply::Stopping { .. } | Reply::Status(_) => "Done.".to_owned(),
    })
}

/// Ends a pause.
pub(super) fn resume(globals: &Globals) -> anyhow::Result<Exit> {
    order(Op::Resume, globals, |_| "Backups run as scheduled.".to_owned())
}

fn order(op: Op, globals: &Globals, in_words: impl FnOnce(&Reply) -> String) -> anyhow::Result<Exit> {
    let reply = runtime()?.block_on(async { Client::connect(globals).await?.ask(op).await })?;
    if globals.json {
        output::json(&reply);
    } else {
        output::line(in_words(&reply));
    }
    Ok(Exit::Done)
}

async fn watch(client: &mut Client, job: JobId, json: bool) -> anyhow::Result<Exit> {
    let bar = bar(json);
    loop {
        let event = client.event().await?;
        if json && is_about(&event, job) {
            output::json(&event);
        }
        match event {
            Event::Progress(progress) if progress.job == job => show(&bar, &progress),
            Event::Finished { job: ended, outcome, recovery_point, message, .. } if ended == job => {
                bar.finish_and_clear();
                if !json {
                    let point = recovery_point.map(|id| format!("\n{id}")).unwrap_or_default();
                    output::line(format_args!("{}{point}", capitalised(&message)));
                }
                return Ok(exit_of(outcome));
            }
            Event::Progress(_) | Event::Finished { .. } | Event::Status(_) | Event::Unknown => {}
        }
    }
}

fn is_about(event: &Event, job: JobId) -> bool {
    match event {
        Event::Progress(progress) => progress.job == job,
        Event::Finished { job: ended, .. } => *ended == job,
        Event::Status(_) | Event::Unknown => false,
    }
}

fn exit_of(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Ok => Exit::Done,
        Outcome::Warning => Exit::Partial,
        Outcome::Error => Exit::Failed,
        Outcome::Cancelled | Outcome::Interrupted => Exit::Stopped,
    }
}

fn bar(json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    let template = "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn show(bar: &ProgressBar, progress: &JobProgress) {
    if let Some(total) = progress.bytes_total {
        bar.set_length(total);
    }
    bar.set_position(progress.bytes_done);
    bar.set_message(match progress.phase {
        Phase::Waiting => "waiting",
        Phase::Preparing => "preparing",
        Phase::Scanning => "scanning",
        Phase::BackingUp => "backing up",
        Phase::Committing => "finishing",
        Phase::Retention => "cleaning up",
        Phase::Restoring => "restoring",
        Phase::Verifying => "verifying",
        Phase::Unknown => "working",
    });
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
