//! The events and their numbers, and the table of texts that Windows looks them up in. Also compiled into the agent's build
//! script, so it uses nothing but the standard library.
//!
//! **Invariant**: a number keeps its meaning for ever, as monitoring relies on it. Kept free: 1030 to 1039 for storage, 1060 to
//! 1069 for updates.

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A backup began.
    BackupStarted,
    /// A backup ended well.
    BackupOk,
    /// A backup ended, and something could not be read.
    BackupWarning,
    /// A backup failed.
    BackupError,
    /// A backup that was due did not run.
    BackupMissed,
    /// Somebody stopped a backup.
    BackupStopped,
    /// Somebody paused backups.
    Paused,
    /// A pause ended before its time.
    Resumed,
    /// A backup was interrupted; the next one goes on from there.
    BackupInterrupted,
    /// A plan is applied.
    PlanApplied,
    /// A plan is applied no more.
    PlanRevoked,
    /// A plan cannot be carried out here.
    PlanRefused,
    /// A restore ended well.
    RestoreDone,
    /// A restore failed.
    RestoreFailed,
    /// A restore ended, and something could not be restored.
    RestorePartial,
    /// The service cannot go on.
    CannotGoOn,
    /// The service began.
    ServiceStarted,
    /// The service ended in order.
    ServiceStopped,
    /// The machine joined a host.
    Enrolled,
    /// The machine left its host.
    Unenrolled,
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// All is well.
    Information,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Error,
}

impl Event {
    /// Every event, by number.
    pub const ALL: [Self; 20] = [
        Self::BackupStarted,
        Self::BackupOk,
        Self::BackupWarning,
        Self::BackupError,
        Self::BackupMissed,
        Self::BackupStopped,
        Self::Paused,
        Self::Resumed,
        Self::BackupInterrupted,
        Self::PlanApplied,
        Self::PlanRevoked,
        Self::PlanRefused,
        Self::RestoreDone,
        Self::RestoreFailed,
        Self::RestorePartial,
        Self::CannotGoOn,
        Self::ServiceStarted,
        Self::ServiceStopped,
        Self::Enrolled,
        Self::Unenrolled,
    ];

    /// Its number, how grave it is, and what it says before its text.
    const fn row(self) -> (u32, Kind, &'static str) {
        match self {
            Self::BackupStarted => (1000, Kind::Information, "Backup started"),
            Self::BackupOk => (1001, Kind::Information, "Backup finished"),
            Self::BackupWarning => (1002, Kind::Warning, "Backup finished with warnings"),
            Self::BackupError => (1003, Kind::Error, "Backup failed"),
            Self::BackupMissed => (1004, Kind::Warning, "Backup missed"),
            Self::BackupStopped => (1005, Kind::Information, "Backup stopped by somebody"),
            Self::Paused => (1006, Kind::Information, "Backups paused"),
            Self::Resumed => (1007, Kind::Information, "Backups resumed"),
            Self::BackupInterrupted => (1008, Kind::Information, "Backup interrupted"),
            Self::PlanApplied => (1010, Kind::Information, "Plan applied"),
            Self::PlanRevoked => (1011, Kind::Information, "Plan revoked"),
            Self::PlanRefused => (1012, Kind::Warning, "Plan cannot be carried out on this machine"),
            Self::RestoreDone => (1020, Kind::Information, "Restore finished"),
            Self::RestoreFailed => (1021, Kind::Error, "Restore failed"),
            Self::RestorePartial => (1022, Kind::Warning, "Restore finished with warnings"),
            Self::CannotGoOn => (1040, Kind::Error, "The service cannot go on"),
            Self::ServiceStarted => (1050, Kind::Information, "The service started"),
            Self::ServiceStopped => (1051, Kind::Information, "The service stopped"),
            Self::Enrolled => (1052, Kind::Information, "The machine was enrolled"),
            Self::Unenrolled => (1053, Kind::Information, "The machine left its host"),
        }
    }

    /// Its number.
    pub const fn id(self) -> u32 {
        self.row().0
    }

    /// How grave it is.
    pub const fn kind(self) -> Kind {
        self.row().1
    }

    /// What it says before its text.
    pub const fn title(self) -> &'static str {
        self.row().2
    }
}

/// The table as a resource of kind `RT_MESSAGETABLE`: the number of blocks; of each block its first and last number and
/// where its entry begins; entries of a length, flags (1: UTF-16) and a text that ends with a zero, filled to four bytes.
pub fn resource() -> Vec<u8> {
    const HEAD: usize = 4;
    const BLOCK: usize = 12;
    let mut bytes = (Event::ALL.len() as u32).to_le_bytes().to_vec();
    let mut entries: Vec<u8> = Vec::new();
    for event in Event::ALL {
        let offset = HEAD + BLOCK * Event::ALL.len() + entries.len();
        bytes.extend([event.id(), event.id(), offset as u32].map(u32::to_le_bytes).concat());
        let text = format!("{}: %1\r\n\0", event.title());
        let mut text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        text.resize(text.len().next_multiple_of(4), 0);
        entries.extend([text.len() as u16 + 4, 1].map(u16::to_le_bytes).concat());
        entries.extend(text);
    }
    [bytes, entries].concat()
}
