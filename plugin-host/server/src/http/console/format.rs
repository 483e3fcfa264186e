//! Figures as people read them.

use chrono::Duration;

/// `1.4 GB`: decimal units, as disks and bills count.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let mut scaled = n;
    let mut rest = 0;
    while scaled >= 1000 && unit + 1 < UNITS.len() {
        rest = scaled % 1000 / 100;
        scaled /= 1000;
        unit += 1;
    }
    match unit > 0 && scaled < 100 {
        true => format!("{scaled}.{rest} {}", UNITS[unit]),
        false => format!("{scaled} {}", UNITS[unit]),
    }
}

/// `12,345`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// `1 h 05 min`, `4 min 10 s`, `7 s`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.num_seconds().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => "under 1 s".to_owned(),
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let shown = [0, 999, 1000, 1449, 99_900, 100_000, 1_400_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.4 kB", "99.9 kB", "100 kB", "1.4 GB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 7, 250].map(|s| span(Duration::seconds(s))), ["under 1 s", "7 s", "4 min 10 s"]);
        assert_eq!(span(Duration::seconds(3900)), "1 h 05 min");
    }
}
