//! What is remembered of change journals over a restart of the agent: how far each was read, and how far before this start of
//! the system.
//!
//! No file stays open while the system is not running. A journal that still holds everything from a number that was read before
//! the last start therefore tells of every file that is open now and was written to. No clock is asked, as clocks are set.
//!
//! **Invariant**: what cannot be read, or is another's, is as nothing: it costs a full scan until the system's next start.

use std::collections::BTreeMap;

/// In front of the file's lines.
const HEADER: &str = "nightkeep journals 1";

/// How far a journal was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// The journal's id.
    pub(super) journal: u64,
    /// The number reached.
    pub(super) number: i64,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    /// This start of the system: a random text that the system forgets when it ends.
    start: String,
    /// By volume: the farthest before this start, and now.
    volumes: BTreeMap<u64, (Option<Seen>, Option<Seen>)>,
}

impl Memory {
    /// Nothing yet, at this start of the system.
    pub(super) fn new(start: &str) -> Self {
        Self { start: start.to_owned(), volumes: BTreeMap::new() }
    }

    /// From a file that was written at this start of the system, or at an earlier one.
    pub(super) fn read(text: &str, start: &str) -> Self {
        let mut memory = Self::of(text, start).unwrap_or_else(|| Self::new(start));
        if memory.start != start {
            start.clone_into(&mut memory.start);
            memory.volumes.values_mut().for_each(|(before, now)| *before = now.take().or(*before));
        }
        memory
    }

    fn of(text: &str, start: &str) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        if sum != blake3::hash(body.as_bytes()).to_hex().as_str() {
            return None;
        }
        let mut lines = body.lines();
        if lines.next() != Some(HEADER) {
            return None;
        }
        let mut memory = Self::new(start);
        lines.next()?.clone_into(&mut memory.start);
        for line in lines {
            let mut words = line.split(' ');
            let volume = words.next()?.parse().ok()?;
            let mut seen = || match (words.next()?, words.next()?) {
                ("-", "-") => Some(None),
                (journal, number) => Some(Some(Seen { journal: journal.parse().ok()?, number: number.parse().ok()? })),
            };
            memory.volumes.insert(volume, (seen()?, seen()?));
        }
        Some(memory)
    }

    /// For a file.
    pub(super) fn to_text(&self) -> String {
        let seen = |seen: &Option<Seen>| match seen {
            Some(Seen { journal, number }) => format!("{journal} {number}"),
            None => "- -".to_owned(),
        };
        let lines =
            self.volumes.iter().map(|(volume, (before, now))| format!("\n{volume} {} {}", seen(before), seen(now)));
        let body = format!("{HEADER}\n{}{}", self.start, lines.collect::<String>());
        format!("{body}\n{}\n", blake3::hash(body.as_bytes()).to_hex())
    }

    /// How far the journal was read before this start of the system.
    pub(super) fn before_this_start(&self, volume: u64, journal: u64) -> Option<i64> {
        let (before, _) = self.volumes.get(&volume)?;
        before.filter(|seen| seen.journal == journal).map(|seen| seen.number)
    }

    /// A journal was read up to here.
    pub(super) fn saw(&mut self, volume: u64, seen: Seen) {
        self.volumes.entry(volume).or_default().1 = Some(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, Seen};

    #[test]
    fn what_was_now_before_a_start_of_the_system_is_before_it_afterwards_and_no_later() {
        let seen = |number| Seen { journal: 7, number };
        let mut first = Memory::read("", "first start");
        first.saw(1, seen(100));
        assert_eq!(first.before_this_start(1, 7), None);
        let again = Memory::read(&first.to_text(), "first start");
        assert_eq!(again, first, "an agent that was restarted learns nothing of an earlier start");
        let mut second = Memory::read(&first.to_text(), "second start");
        assert_eq!(second.before_this_start(1, 7), Some(100));
        assert_eq!(second.before_this_start(1, 8), None, "another journal");
        assert_eq!(second.before_this_start(2, 7), None, "another volume");
        second.saw(1, seen(200));
        assert_eq!(Memory::read(&second.to_text(), "second start").before_this_start(1, 7), Some(100));
        assert_eq!(Memory::read(&second.to_text(), "third start").before_this_start(1, 7), Some(200));
        let third = Memory::read(&second.to_text(), "third start");
        assert_eq!(Memory::read(&third.to_text(), "fourth start").before_this_start(1, 7), Some(200), "not seen since");
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let mut memory = Memory::new("start");
        memory.saw(1, Seen { journal: 7, number: 100 });
        let text = memory.to_text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(Memory::read(&changed, "next").before_this_start(1, 7), None, "byte {at}");
            assert_eq!(Memory::read(&text[..at], "next"), Memory::new("next"));
        }
    }
}
