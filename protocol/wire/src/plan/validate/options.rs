//! The options of a plan: every bound, each with its field.

use super::Problems;
use crate::plan::{LimitWindow, PlanOptions, Retries};

const BYTES_PER_SECOND_MIN: u64 = 1024;
const TRIES_MAX: u32 = 1000;
const INTERVAL_SECONDS_MAX: u32 = 24 * 3600;
const WINDOWS_MAX: usize = 20;

pub(super) fn check(options: &PlanOptions, problems: &mut Problems) {
    check_battery(options, problems);
    let rate = |rate: Option<u64>| rate.is_none_or(|rate| rate >= BYTES_PER_SECOND_MIN);
    let lowest = format!("{BYTES_PER_SECOND_MIN} is the lowest limit");
    problems.unless(rate(options.upload_bytes_per_second_max), "options.upload_bytes_per_second_max", &*lowest);
    problems.unless(rate(options.download_bytes_per_second_max), "options.download_bytes_per_second_max", &*lowest);
    problems.unless(is_share(options.cpu_percent_max), "options.cpu_percent_max", "a share is 1 to 100 percent");
    check_windows(&options.limit_windows, problems);
    check_retries("options.reattempts", &options.reattempts, problems);
    check_retries("options.task_failure", &options.task_failure, problems);
    check_command("options.pre_command", options.pre_command.as_deref(), problems);
    check_command("options.post_command", options.post_command.as_deref(), problems);
}

fn check_battery(options: &PlanOptions, problems: &mut Problems) {
    let battery = &options.battery;
    let charges = [
        ("options.battery.charge_percent_min", battery.charge_percent_min),
        ("options.battery.charge_percent_stop", battery.charge_percent_stop),
    ];
    for (field, charge) in charges {
        problems.unless(charge <= 100, field, format!("{charge} is more than 100"));
    }
}

fn check_windows(windows: &[LimitWindow], problems: &mut Problems) {
    let field = "options.limit_windows";
    problems.unless(windows.len() <= WINDOWS_MAX, field, format!("at most {WINDOWS_MAX} windows are allowed"));
    for window in windows.iter().take(WINDOWS_MAX) {
        let name = format!("the window {} to {}", window.from.format("%H:%M"), window.until.format("%H:%M"));
        let is_span = window.from != window.until;
        problems.unless(is_span, field, format!("{name} is empty: give it an end after its begin"));
        let rates = [window.upload_bytes_per_second_max, window.download_bytes_per_second_max];
        let rates_ok = rates.into_iter().flatten().all(|rate| rate >= BYTES_PER_SECOND_MIN);
        problems.unless(rates_ok, field, format!("{name}: {BYTES_PER_SECOND_MIN} is the lowest limit"));
        problems.unless(is_share(window.cpu_percent_max), field, format!("{name}: a share is 1 to 100 percent"));
    }
}

fn is_share(percent: Option<u8>) -> bool {
    percent.is_none_or(|percent| (1..=100).contains(&percent))
}

fn check_retries(field: &'static str, retries: &Retries, problems: &mut Problems) {
    let ok = retries.tries <= TRIES_MAX && (1..=INTERVAL_SECONDS_MAX).contains(&retries.interval_seconds);
    let remedy = format!("at most {TRIES_MAX} tries, 1 to {INTERVAL_SECONDS_MAX} seconds apart");
    problems.unless(ok || !retries.enabled, field, remedy);
}

fn check_command(field: &'static str, name: Option<&str>, problems: &mut Problems) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ok = name.is_none_or(|n| !n.is_empty() && n.len() <= 64 && !n.starts_with('.') && n.chars().all(plain));
    let remedy = "a command is named as in the machine's own list: up to 64 letters, digits, - _ .";
    problems.unless(ok, field, remedy);
}
