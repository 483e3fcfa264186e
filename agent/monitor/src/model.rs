//! What the tray shows, as data: from the daemon's status to icon, tooltip and menu.
//!
//! Invariant: pure; the same status at the same moment gives the same face.

use chrono::{DateTime, Days, FixedOffset, Utc};
use nightkeep_wire::control::{Link, PlanStatus, StatusSnapshot};
use nightkeep_wire::report::Outcome;
use nightkeep_wire::status::Bucket;

/// What is known of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// No daemon answers.
    Nobody,
    /// Its last word.
    Status(Box<StatusSnapshot>),
}

/// What the icon tells at a glance; each has a shape of its own, because colours are not seen by everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Ok,
    Running,
    Warning,
    Error,
    NotProtected,
    Paused,
    Unknown,
}

/// What a click orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the backup of one plan.
    Start {
        /// Id of the plan.
        plan: String,
    },
    /// Stop what runs.
    Stop,
    /// Pause for so many seconds.
    Pause {
        /// Seconds.
        seconds: u64,
    },
    /// Resume.
    Resume,
    /// Close the monitor; backups go on.
    Quit,
}

/// A line of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// Text to read.
    Text(String),
    /// Something to order.
    Button(String, Action),
    /// More of them.
    Group(String, Vec<(String, Action)>),
    /// A line between.
    Separator,
}

/// The whole face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) mood: Mood,
    pub(crate) title: String,
    pub(crate) tooltip: String,
    pub(crate) menu: Vec<Item>,
}

/// The face for what was seen; `offset` is the desktop's zone, `notice` what the last order was answered with.
pub(crate) fn face(seen: &Seen, notice: Option<&str>, now: DateTime<Utc>, offset: FixedOffset) -> Face {
    let mut face = match seen {
        Seen::Nobody => Face {
            mood: Mood::Unknown,
            title: "Backup service not running".to_owned(),
            tooltip: "The backup service does not answer. Ask your administrator if this lasts.".to_owned(),
            menu: vec![Item::Text("Backup service not running".to_owned())],
        },
        Seen::Status(status) => of_status(status, now, offset),
    };
    if let Some(notice) = notice {
        face.menu.insert(0, Item::Text(notice.to_owned()));
    }
    face.menu.extend([Item::Separator, Item::Button("Close the monitor".to_owned(), Action::Quit)]);
    face
}

fn of_status(status: &StatusSnapshot, now: DateTime<Utc>, offset: FixedOffset) -> Face {
    let title = title(status, now, offset);
    let mut menu = vec![Item::Text(title.clone())];
    if status.running.is_empty() && !status.reason.is_empty() {
        menu.push(Item::Text(capitalised(&status.reason)));
    }
    let last = status.plans.iter().filter_map(|plan| plan.last.as_ref()).max_by_key(|last| last.finished);
    let last = last.map(|last| format!("Last backup: {}, {}", when(last.finished, now, offset), outcome(last.outcome)));
    let next = status.plans.iter().filter_map(|plan| plan.next_start).min();
    let next = next.filter(|_| status.paused_until.is_none());
    let next = next.map(|next| format!("Next backup: {}", when(next, now, offset)));
    menu.extend(last.iter().chain(&next).cloned().map(Item::Text));
    if let Link::Offline { .. } = status.link {
        menu.push(Item::Text("The backup server cannot be reached now".to_owned()));
    }
    menu.push(Item::Separator);
    menu.extend(orders(status, now, offset));
    let tooltip = [Some(title.clone()), last, next].into_iter().flatten().collect::<Vec<_>>().join("\n");
    Face { mood: mood(status), title, tooltip, menu }
}

fn mood(status: &StatusSnapshot) -> Mood {
    if !status.running.is_empty() {
        return Mood::Running;
    }
    if status.paused_until.is_some() {
        return Mood::Paused;
    }
    match status.bucket {
        _ if status.machine.is_none() => Mood::Unknown,
        Bucket::Ok => Mood::Ok,
        Bucket::Warning => Mood::Warning,
        Bucket::Error => Mood::Error,
        Bucket::NotProtected | Bucket::WithoutPlan => Mood::NotProtected,
        Bucket::WithoutAgent => Mood::Unknown,
    }
}

fn title(status: &StatusSnapshot, now: DateTime<Utc>, offset: FixedOffset) -> String {
    if let Some(running) = status.running.first() {
        return match running.percent {
            Some(percent) => format!("Backing up, {percent} %"),
            None => "Backing up".to_owned(),
        };
    }
    if let Some(until) = status.paused_until {
        return format!("Backups paused until {}", when(until, now, offset));
    }
    if status.machine.is_none() {
        return "This computer is not enrolled".to_owned();
    }
    format!("Backup status: {}", status.bucket)
}

fn orders(status: &StatusSnapshot, now: DateTime<Utc>, offset: FixedOffset) -> Vec<Item> {
    let mut items = Vec::new();
    if !status.running.is_empty() {
        items.push(Item::Button("Stop the backup".to_owned(), Action::Stop));
    } else {
        let runnable: Vec<&PlanStatus> = status.plans.iter().filter(|plan| plan.problem.is_none()).collect();
        let start = |plan: &PlanStatus| Action::Start { plan: plan.id.to_string() };
        match runnable.as_slice() {
            [] => {}
            [only] => items.push(Item::Button("Back up now".to_owned(), start(only))),
            several => {
                let entries = several.iter().map(|plan| (plan.name.clone(), start(plan))).collect();
                items.push(Item::Group("Back up now".to_owned(), entries));
            }
        }
    }
    if status.plans.is_empty() {
        return items;
    }
    items.push(match status.paused_until {
        Some(_) => Item::Button("Resume backups".to_owned(), Action::Resume),
        None => Item::Group("Pause backups".to_owned(), pauses(now, offset)),
    });
    items
}

fn pauses(now: DateTime<Utc>, offset: FixedOffset) -> Vec<(String, Action)> {
    let hours = |hours: u64| Action::Pause { seconds: hours * 3600 };
    vec![
        ("for 1 hour".to_owned(), hours(1)),
        ("for 4 hours".to_owned(), hours(4)),
        ("until tomorrow".to_owned(), Action::Pause { seconds: until_tomorrow(now, offset) }),
    ]
}

/// Seconds to the next local midnight.
fn until_tomorrow(now: DateTime<Utc>, offset: FixedOffset) -> u64 {
    let local = now.with_timezone(&offset).naive_local();
    let tomorrow = local.date().checked_add_days(Days::new(1)).and_then(|date| date.and_hms_opt(0, 0, 0));
    let span = tomorrow.map_or(0, |tomorrow| (tomorrow - local).num_seconds());
    u64::try_from(span).unwrap_or(0).max(60)
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "done",
        Outcome::Warning => "done with warnings",
        Outcome::Error => "failed",
        Outcome::Cancelled => "stopped",
        Outcome::Interrupted => "interrupted",
    }
}

/// A moment near now, as people say it.
fn when(at: DateTime<Utc>, now: DateTime<Utc>, offset: FixedOffset) -> String {
    let (at, now) = (at.with_timezone(&offset), now.with_timezone(&offset));
    let time = at.format("%H:%M");
    match (at.date_naive() - now.date_naive()).num_days() {
        0 => format!("today {time}"),
        1 => format!("tomorrow {time}"),
        -1 => format!("yesterday {time}"),
        2..=6 => format!("{} {time}", at.format("%A")),
        _ => format!("{} {time}", at.format("%Y-%m-%d")),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
