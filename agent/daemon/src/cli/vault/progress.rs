//! Progress on a terminal (a bar on standard error) or as JSON events; and Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nightkeep_engine::progress::{Finding, FindingKind, Phase, Progress, Stop, StopKind};
use serde::Serialize;

use crate::cli::output;

/// The shortest time between two JSON events of progress.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);

/// Shows a run's progress in the form that fits where it is watched.
pub(super) struct Watcher {
    json: bool,
    bar: Option<ProgressBar>,
    files: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    last_event: Mutex<Option<Instant>>,
}

#[derive(Serialize)]
struct ProgressEvent {
    event: &'static str,
    files: u64,
    bytes: u64,
    /// Estimate; absent while nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_total: Option<u64>,
}

#[derive(Serialize)]
struct FindingEvent {
    event: &'static str,
    #[serde(flatten)]
    finding: FindingDocument,
}

/// A finding as a document.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FindingDocument {
    kind: &'static str,
    path: String,
    message: String,
}

impl From<&Finding> for FindingDocument {
    fn from(finding: &Finding) -> Self {
        let kind = match finding.kind {
            FindingKind::Unreadable => "unreadable",
            FindingKind::Vanished => "vanished",
            FindingKind::Changed => "changed",
            FindingKind::Attributes => "attributes",
            FindingKind::Metadata => "metadata",
            FindingKind::Unrestored => "unrestored",
            FindingKind::Damaged => "damaged",
        };
        Self { kind, path: super::text::path(&finding.path), message: finding.text.clone() }
    }
}

impl Watcher {
    /// A watcher for JSON, for a terminal, or for nobody.
    pub(super) fn new(json: bool) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::no_length();
            let template = "{spinner} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let (files, bytes, bytes_total) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { json, bar, files, bytes, bytes_total, last_event: Mutex::new(None) }
    }

    /// Takes the bar away, so that the summary stands alone.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn event(&self) {
        let mut last = self.last_event.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < EVENT_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        let total = self.bytes_total.load(Ordering::Relaxed);
        output::json(&ProgressEvent {
            event: "progress",
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_total: (total > 0).then_some(total),
        });
    }
}

impl Progress for Watcher {
    fn phase(&self, phase: Phase) {
        if let (Some(bar), Phase::Finishing) = (&self.bar, phase) {
            bar.set_message("finishing");
        }
    }

    fn estimate(&self, _files: u64, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(bytes);
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match &self.bar {
            Some(bar) => bar.inc(bytes),
            None if self.json => self.event(),
            None => {}
        }
    }

    fn finding(&self, finding: &Finding) {
        let document = FindingDocument::from(finding);
        if self.json {
            output::json(&FindingEvent { event: "finding", finding: document });
            return;
        }
        let line = format!("{}: {}: {}", document.kind, document.path, document.message);
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(line)),
            None => output::note(line),
        }
    }
}

/// A stop that Ctrl-C or a termination signal asks for; a second one ends the process at once.
pub(super) fn stop_on_signal() -> Stop {
    let stop = Stop::new();
    let asked = stop.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                asked.request(StopKind::Interrupt);
                output::note("stopping; press Ctrl-C again to end at once");
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(i32::from(crate::cli::exit::Exit::Stopped.code()));
                }
            }
        });
    });
    stop
}
