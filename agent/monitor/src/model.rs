//! What the tray shows, as data: from the daemon's status to icon, tooltip and menu.
//!
//! Invariant: pure; the same status at the same moment for the same reader gives the same face.

mod words;

use chrono::{DateTime, Days, FixedOffset, Utc};
use nightkeep_platform::tray::Entry;
use nightkeep_wire::control::{ControlError, Link, PlanStatus, StatusSnapshot};
use nightkeep_wire::status::Bucket;

pub(crate) use self::words::Language;
use self::words::Phrase;

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
    /// Pause until the next local midnight, as seen from the click.
    PauseUntilTomorrow,
    /// Resume.
    Resume,
    /// Close the monitor; backups go on.
    Quit,
}

/// A line of the menu.
pub(crate) type Item = Entry<Action>;

/// The whole face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) mood: Mood,
    pub(crate) title: String,
    pub(crate) tooltip: String,
    pub(crate) menu: Vec<Item>,
}

/// What the last order was answered with, when it was not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The daemon refused it.
    Refused(ControlError),
    /// No daemon answered.
    NoAnswer,
}

/// When and for whom a face is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) now: DateTime<Utc>,
    /// The desktop's zone.
    pub(crate) offset: FixedOffset,
    pub(crate) language: Language,
}

/// The face for what was seen, and for the answer to the last order.
pub(crate) fn face(seen: &Seen, notice: Option<&Notice>, reader: Reader) -> Face {
    let say = |phrase| reader.language.say(phrase).to_owned();
    let mut face = match seen {
        Seen::Nobody => Face {
            mood: Mood::Unknown,
            title: say(Phrase::NoService),
            tooltip: say(Phrase::NoServiceLong),
            menu: vec![Item::Heading(say(Phrase::NoService))],
        },
        Seen::Status(status) => reader.of_status(status),
    };
    if let Some(notice) = notice {
        let words = match notice {
            Notice::Refused(error) => capitalised(&reader.language.refusal(error.code, &error.message)),
            Notice::NoAnswer => say(Phrase::NoAnswer),
        };
        face.menu.splice(0..0, [Item::Text(words), Item::Separator]);
    }
    face.menu.extend([Item::Separator, Item::Button(say(Phrase::Close), Action::Quit)]);
    face
}

impl Reader {
    fn of_status(self, status: &StatusSnapshot) -> Face {
        let language = self.language;
        let title = self.title(status);
        let mut menu = vec![Item::Heading(title.clone())];
        if status.running.is_empty() && !status.reason.is_empty() && language == Language::English {
            menu.push(Item::Text(shortened(&capitalised(&status.reason))));
        }
        let last = status.plans.iter().filter_map(|plan| plan.last.as_ref()).max_by_key(|last| last.finished);
        let last = last.map(|last| language.last(&self.when(last.finished), last.outcome));
        let next = status.plans.iter().filter_map(|plan| plan.next_start).min();
        let next = next.filter(|_| status.paused_until.is_none()).map(|next| language.next(&self.when(next)));
        menu.extend(last.iter().chain(&next).cloned().map(Item::Text));
        if let Link::Offline { .. } = status.link {
            menu.push(Item::Text(language.say(Phrase::HostAway).to_owned()));
        }
        let orders = self.orders(status);
        if !orders.is_empty() {
            menu.push(Item::Separator);
            menu.extend(orders);
        }
        let tooltip = [Some(title.clone()), last, next].into_iter().flatten().collect::<Vec<_>>().join("\n");
        Face { mood: mood(status), title, tooltip, menu }
    }

    fn title(self, status: &StatusSnapshot) -> String {
        if let Some(running) = status.running.first() {
            return self.language.running(running.percent);
        }
        if let Some(until) = status.paused_until {
            return self.language.paused_until(&self.when(until));
        }
        match status.machine {
            None => self.language.say(Phrase::NotEnrolled).to_owned(),
            Some(_) => self.language.status(status.bucket),
        }
    }

    fn orders(self, status: &StatusSnapshot) -> Vec<Item> {
        let say = |phrase| self.language.say(phrase).to_owned();
        let mut items = Vec::new();
        if !status.running.is_empty() {
            items.push(Item::Button(say(Phrase::StopBackup), Action::Stop));
        } else {
            let runnable: Vec<&PlanStatus> = status.plans.iter().filter(|plan| plan.problem.is_none()).collect();
            let start = |plan: &PlanStatus| Action::Start { plan: plan.id.to_string() };
            match runnable.as_slice() {
                [] => {}
                [only] => items.push(Item::Button(say(Phrase::BackUpNow), start(only))),
                several => {
                    let entries = several.iter().map(|plan| (plan.name.clone(), start(plan))).collect();
                    items.push(Item::Group(say(Phrase::BackUpNow), entries));
                }
            }
        }
        if status.plans.is_empty() {
            return items;
        }
        items.push(match status.paused_until {
            Some(_) => Item::Button(say(Phrase::ResumeBackups), Action::Resume),
            None => Item::Group(say(Phrase::PauseBackups), self.pauses()),
        });
        items
    }

    fn pauses(self) -> Vec<(String, Action)> {
        let say = |phrase| self.language.say(phrase).to_owned();
        let hours = |hours: u64| Action::Pause { seconds: hours * 3600 };
        vec![
            (say(Phrase::ForOneHour), hours(1)),
            (say(Phrase::ForFourHours), hours(4)),
            (say(Phrase::UntilTomorrow), Action::PauseUntilTomorrow),
        ]
    }

    fn when(self, at: DateTime<Utc>) -> String {
        self.language.when(at.with_timezone(&self.offset), self.now.with_timezone(&self.offset))
    }
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

/// Seconds to the next local midnight.
pub(crate) fn until_tomorrow(now: DateTime<Utc>, offset: FixedOffset) -> u64 {
    let local = now.with_timezone(&offset).naive_local();
    let tomorrow = local.date().checked_add_days(Days::new(1)).and_then(|date| date.and_hms_opt(0, 0, 0));
    let span = tomorrow.map_or(0, |tomorrow| (tomorrow - local).num_seconds());
    u64::try_from(span).unwrap_or(0).max(60)
}

/// A menu is as wide as its longest line; `nightkeep-agent status` says the whole.
const LINE_CHARACTERS_MAX: usize = 72;

fn shortened(text: &str) -> String {
    if text.chars().count() <= LINE_CHARACTERS_MAX {
        return text.to_owned();
    }
    let kept: String = text.chars().take(LINE_CHARACTERS_MAX - 1).collect();
    format!("{}…", kept.trim_end())
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
