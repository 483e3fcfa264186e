//! What the monitor says, in the languages it speaks.
//!
//! What the daemon gives as a sentence (why a status is what it is) is English; another language tells it by its kind alone.

use chrono::{DateTime, Datelike as _, FixedOffset, Weekday};
use nightkeep_wire::control::ControlErrorCode;
use nightkeep_wire::report::Outcome;
use nightkeep_wire::status::Bucket;

/// A language the monitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
}

/// A sentence that is the same every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phrase {
    NoService,
    NoServiceLong,
    NoAnswer,
    NotEnrolled,
    HostAway,
    BackUpNow,
    StopBackup,
    PauseBackups,
    ResumeBackups,
    ForOneHour,
    ForFourHours,
    UntilTomorrow,
    Close,
}

impl Language {
    /// The one for a language's letters (ISO 639); English for those it does not speak.
    pub(crate) fn of(letters: Option<&str>) -> Self {
        match letters {
            Some("de") => Self::German,
            Some(_) | None => Self::English,
        }
    }

    pub(super) fn say(self, phrase: Phrase) -> &'static str {
        let (english, german) = match phrase {
            Phrase::NoService => ("Backup service not running", "Sicherungsdienst läuft nicht"),
            Phrase::NoServiceLong => (
                "The backup service does not answer. Ask your administrator if this lasts.",
                "Der Sicherungsdienst antwortet nicht. Fragen Sie Ihren Administrator, wenn das so bleibt.",
            ),
            Phrase::NoAnswer => ("The backup service does not answer", "Der Sicherungsdienst antwortet nicht"),
            Phrase::NotEnrolled => ("This computer is not enrolled", "Dieser Computer ist nicht angemeldet"),
            Phrase::HostAway => {
                ("The backup server cannot be reached now", "Der Sicherungsserver ist gerade nicht erreichbar")
            }
            Phrase::BackUpNow => ("Back up now", "Jetzt sichern"),
            Phrase::StopBackup => ("Stop the backup", "Sicherung abbrechen"),
            Phrase::PauseBackups => ("Pause backups", "Sicherungen aussetzen"),
            Phrase::ResumeBackups => ("Resume backups", "Sicherungen fortsetzen"),
            Phrase::ForOneHour => ("for 1 hour", "für 1 Stunde"),
            Phrase::ForFourHours => ("for 4 hours", "für 4 Stunden"),
            Phrase::UntilTomorrow => ("until tomorrow", "bis morgen"),
            Phrase::Close => ("Close the monitor", "Anzeige beenden"),
        };
        match self {
            Self::English => english,
            Self::German => german,
        }
    }

    pub(super) fn running(self, percent: Option<u8>) -> String {
        let word = match self {
            Self::English => "Backing up",
            Self::German => "Sicherung läuft",
        };
        percent.map_or_else(|| word.to_owned(), |percent| format!("{word}, {percent} %"))
    }

    pub(super) fn paused_until(self, when: &str) -> String {
        match self {
            Self::English => format!("Backups paused until {when}"),
            Self::German => format!("Sicherungen ausgesetzt bis {when}"),
        }
    }

    pub(super) fn status(self, bucket: Bucket) -> String {
        match self {
            Self::English => format!("Backup status: {bucket}"),
            Self::German => format!("Sicherungsstatus: {}", bucket_in_german(bucket)),
        }
    }

    pub(super) fn last(self, when: &str, outcome: Outcome) -> String {
        match self {
            Self::English => format!("Last backup: {when}, {}", outcome_in_english(outcome)),
            Self::German => format!("Letzte Sicherung: {when}, {}", outcome_in_german(outcome)),
        }
    }

    pub(super) fn next(self, when: &str) -> String {
        match self {
            Self::English => format!("Next backup: {when}"),
            Self::German => format!("Nächste Sicherung: {when}"),
        }
    }

    /// A refusal; `message` is the daemon's own sentence.
    pub(super) fn refusal(self, code: ControlErrorCode, message: &str) -> String {
        match self {
            Self::English => message.to_owned(),
            Self::German => match code {
                ControlErrorCode::NotAllowed => "Das darf dieses Konto nicht",
                ControlErrorCode::PlanUnknown => "Diesen Plan gibt es nicht mehr",
                ControlErrorCode::NoPlan => "Dieser Computer hat keinen Sicherungsplan",
                ControlErrorCode::NotEnrolled => self.say(Phrase::NotEnrolled),
                ControlErrorCode::PauseNotAllowed => "So lange oder so oft dürfen Sicherungen nicht ausgesetzt werden",
                ControlErrorCode::Unavailable => "Der Sicherungsdienst startet oder endet gerade",
                ControlErrorCode::BadRequest | ControlErrorCode::Unknown => return format!("Abgelehnt: {message}"),
            }
            .to_owned(),
        }
    }

    /// A moment near now, as people say it.
    pub(super) fn when(self, at: DateTime<FixedOffset>, now: DateTime<FixedOffset>) -> String {
        let time = at.format("%H:%M");
        let day = match ((at.date_naive() - now.date_naive()).num_days(), self) {
            (0, Self::English) => "today".to_owned(),
            (0, Self::German) => "heute".to_owned(),
            (1, Self::English) => "tomorrow".to_owned(),
            (1, Self::German) => "morgen".to_owned(),
            (-1, Self::English) => "yesterday".to_owned(),
            (-1, Self::German) => "gestern".to_owned(),
            (2..=6, Self::English) => at.format("%A").to_string(),
            (2..=6, Self::German) => weekday_in_german(at.weekday()).to_owned(),
            (_, Self::English) => at.format("%Y-%m-%d").to_string(),
            (_, Self::German) => at.format("%d.%m.%Y").to_string(),
        };
        format!("{day} {time}")
    }
}

fn bucket_in_german(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::WithoutAgent => "ohne Agent",
        Bucket::WithoutPlan => "ohne Plan",
        Bucket::NotProtected => "nicht geschützt",
        Bucket::Error => "Fehler",
        Bucket::Warning => "Warnung",
        Bucket::Ok => "OK",
    }
}

fn outcome_in_english(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "done",
        Outcome::Warning => "done with warnings",
        Outcome::Error => "failed",
        Outcome::Cancelled => "stopped",
        Outcome::Interrupted => "interrupted",
    }
}

fn outcome_in_german(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "erledigt",
        Outcome::Warning => "mit Warnungen erledigt",
        Outcome::Error => "fehlgeschlagen",
        Outcome::Cancelled => "abgebrochen",
        Outcome::Interrupted => "unterbrochen",
    }
}

fn weekday_in_german(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "Montag",
        Weekday::Tue => "Dienstag",
        Weekday::Wed => "Mittwoch",
        Weekday::Thu => "Donnerstag",
        Weekday::Fri => "Freitag",
        Weekday::Sat => "Samstag",
        Weekday::Sun => "Sonntag",
    }
}
