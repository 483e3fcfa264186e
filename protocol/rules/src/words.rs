//! Figures for people: spans, sizes, counts. English; translations replace whole sentences elsewhere.

use chrono::Duration;

/// A span in its two largest units: `12 min`, `9 h`, `2 d 3 h`.
pub fn span(span: Duration) -> String {
    let minutes = span.num_minutes().max(0);
    let (days, hours) = (minutes / 1440, minutes / 60 % 24);
    match (days, hours) {
        (0, 0) if minutes == 0 => "less than a minute".to_owned(),
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h"),
        (1..=13, 1..) => format!("{days} d {hours} h"),
        (_, _) => format!("{days} d"),
    }
}

/// A count with its noun: `1 file`, `3 files`.
pub fn count(n: u64, singular: &str, plural: &str) -> String {
    if n == 1 { format!("1 {singular}") } else { format!("{n} {plural}") }
}

/// Bytes in decimal units, one digit after the point: `118.0 GB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut whole, mut tenths, mut unit) = (bytes, 0, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        tenths = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{tenths} {}", UNITS[unit]) }
}
