//! Text that people type, paste or configure, and names that stores and hosts answer.

use super::sealed::{KEYS, VAULT};
use chrono::DateTime;
use nightkeep_engine::exclude::Excludes;
use nightkeep_rules::schedule::Timetable;
use nightkeep_vault::keys::{key_text as key_text_of, parse_key_text, recovery_sheet};
use nightkeep_vault::record::partial;
use nightkeep_vault::record::segment::Segment;
use nightkeep_vault::store::{ObjectName, open_location};
use nightkeep_wire::gateway;
use nightkeep_wire::plan::{Schedule, ZoneChoice};
use nightkeep_wire::token::EnrolmentToken;
use std::str::FromStr;

fn bytes_of(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) fn object_name(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let _ = gateway::ObjectName::try_from(text.to_owned());
    let Ok(name) = ObjectName::new(text) else { return false };
    let stays = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\\');
    assert!(text.split('/').all(stays), "{text:?} leaves its store");
    let _ = Segment::writer_of(&name);
    let _ = partial::parse(&name);
    true
}

pub(super) fn object_name_seeds() -> Vec<Vec<u8>> {
    let machine = super::sealed::MACHINE;
    let of_machine = [format!("s/{machine}/{:016x}", 9), format!("w/{machine}/{machine}/partial-00000001")];
    let of_pack = format!("p/00/{}", "0".repeat(64));
    bytes_of(&["cfg/1", "keys/slot-0123456789abcdef", &of_machine[0], &of_machine[1], &of_pack])
}

/// A recovery sheet or key file.
pub(super) fn key_text(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok((vault, root)) = parse_key_text(&text) else { return false };
    let again = parse_key_text(&key_text_of(vault, &root));
    assert!(again.is_ok_and(|again| again == (vault, root)), "a key that was read is written and read again");
    true
}

pub(super) fn key_text_seeds() -> Vec<Vec<u8>> {
    let text = key_text_of(VAULT, &KEYS.root);
    bytes_of(&[&text, &recovery_sheet(VAULT, &KEYS.root, "a vault"), &text.to_lowercase()])
}

pub(super) fn token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match EnrolmentToken::from_str(text) {
        Ok(token) => {
            assert_eq!(EnrolmentToken::from_str(&token.encode()).as_ref(), Ok(&token), "a token is read again");
            true
        }
        Err(error) => {
            let told = error.to_string();
            assert!(text.len() < 40 || !told.contains(text.trim()), "an error repeats the token");
            false
        }
    }
}

pub(super) fn token_seeds() -> Vec<Vec<u8>> {
    let token = EnrolmentToken {
        host_url: "https://backup.example:7443".into(),
        pin: nightkeep_wire::id::SpkiPin([4; 32]),
        secret: nightkeep_wire::bytes::TokenSecret::new([5; 32]),
    };
    bytes_of(&[&token.encode(), "nk2.AAAA", "nk1."])
}

/// A cron expression and a zone, one line each.
pub(super) fn schedule(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (cron, zone) = text.split_once('\n').unwrap_or((&text, "UTC"));
    let schedule = Schedule { zone: ZoneChoice::Machine, ..Schedule::cron(cron) };
    let Ok(timetable) = Timetable::new(&schedule, zone) else { return false };
    let Some(now) = DateTime::from_timestamp(1_700_000_000, 0) else { return false };
    let later: Vec<_> = timetable.after(now).take(3).collect();
    assert!(later.windows(2).all(|pair| pair[0] < pair[1]) && later.iter().all(|at| *at > now), "{cron:?} goes back");
    let _ = timetable.latest(now);
    true
}

pub(super) fn schedule_seeds() -> Vec<Vec<u8>> {
    bytes_of(&["0 0 23 * * Mon-Fri\nEurope/Berlin", "0 */15 * * * *", "0 30 2 29 2 * 2024/4\nAmerica/St_Johns"])
}

/// Patterns, one in each line, asked about the bytes of the last one.
pub(super) fn excludes(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let patterns: Vec<String> = text.lines().map(str::to_owned).collect();
    let Ok(excludes) = Excludes::new(&patterns) else { return false };
    let path = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let _ = excludes.excludes(path, false);
    let _ = excludes.excludes(path, true);
    true
}

pub(super) fn excludes_seeds() -> Vec<Vec<u8>> {
    bytes_of(&["*.tmp\n/var/cache/\nhome/a/x.tmp", "!keep\n**/node_modules/**\n[a-z]?{b,c}\n\\#x"])
}

pub(super) fn location(bytes: &[u8]) -> bool {
    // Nothing is opened on the disk before the first object is asked for.
    std::str::from_utf8(bytes).is_ok_and(|text| open_location(text).is_ok())
}

pub(super) fn location_seeds() -> Vec<Vec<u8>> {
    bytes_of(&["file:///srv/vault", "/srv/vault", "vault"])
}
