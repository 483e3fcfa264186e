//! Which objects a machine may create, read and list (security.md, rules 1 and 2).
//!
//! Invariant: whatever is not allowed here by its full form is refused; an unknown kind of object is nobody's.

use nightkeep_wire::gateway::ObjectName;
use nightkeep_wire::id::ContentHash;

/// Whether the machine may create the object; else why not.
pub(super) fn may_create(machine: &str, name: &ObjectName, hash: &ContentHash) -> Result<(), String> {
    let parts: Vec<&str> = name.as_str().split('/').collect();
    match parts.as_slice() {
        ["p" | "m", shard, pack] => named_by_content(name, shard, pack, hash),
        ["i", generation, segment] if is_hex(generation, 16) => match segment.split_once('-') {
            Some((writer, rest)) if writer == machine && is_segment_rest(rest) => Ok(()),
            Some(_) | None => Err(format!("{name} is not an index segment of this machine ({machine})")),
        },
        ["s", owner, sequence] if is_hex(sequence, 16) => own(machine, owner, name),
        ["w", owner, session, record] if is_hex(session, 32) && is_session_record(record) => own(machine, owner, name),
        ["g" | "d" | "f" | "keys" | "cfg" | "r" | "q", ..] => Err(format!(
            "{name} is written by the host alone: agents create objects in p/, m/, i/ and their own s/ and w/"
        )),
        _ => Err(format!("{name} is no object of a vault that an agent creates: p/, m/, i/ and its own s/ and w/ are")),
    }
}

/// Whether the machine may read the object; else why not.
///
/// What is quarantined (`q/`) concerns every writer: it must not count on a damaged pack. The records name packs, no content.
pub(super) fn may_read(machine: &str, name: &str) -> Result<(), String> {
    let readable = match name.split_once('/') {
        Some(("cfg" | "g" | "d" | "f" | "q" | "i" | "m", _)) => true,
        Some(("keys", key)) => key == format!("machine-{machine}") || key.starts_with("epoch-"),
        Some(("s" | "w" | "r", rest)) => rest.strip_prefix(machine).is_some_and(|rest| rest.starts_with('/')),
        Some(_) | None => false,
    };
    match readable {
        true => Ok(()),
        false => Err(refusal(machine, name)),
    }
}

/// Whether the machine may ask that an object is there, and how long it is: what it may read, and packs, whose names
/// only who knows their bytes can know.
pub(super) fn may_look(machine: &str, name: &str) -> Result<(), String> {
    if name.starts_with("p/") { Ok(()) } else { may_read(machine, name) }
}

/// Whether the machine may list everything below the prefix; else why not.
pub(super) fn may_list(machine: &str, prefix: &str) -> Result<(), String> {
    // A name that begins with the prefix must be readable whatever follows: an area named whole, or one's own part of it.
    let keys = format!("keys/machine-{machine}");
    if prefix == keys || prefix.starts_with("keys/epoch-") {
        return Ok(());
    }
    match prefix.starts_with("keys") {
        true => Err(refusal(machine, prefix)),
        false => may_read(machine, prefix),
    }
}

fn refusal(machine: &str, name: &str) -> String {
    if name.starts_with("p/") {
        return format!("{name} is data: it is read under a restore grant, ask a technician to start the restore");
    }
    format!(
        "{name} is not for this machine: it reads cfg/ g/ d/ f/ q/ i/ m/, keys/machine-{machine} and what lies below \
         {machine} in s/ w/ r/"
    )
}

/// Packs are named by the hash of their bytes, so a name that does not fit the announced hash is a lie.
fn named_by_content(name: &ObjectName, shard: &str, pack: &str, hash: &ContentHash) -> Result<(), String> {
    match pack == hash.to_string() && pack.get(..2) == Some(shard) {
        true => Ok(()),
        false => Err(format!("{name} is not the name of its content: a pack is named by its hash, {hash}")),
    }
}

fn own(machine: &str, owner: &str, name: &ObjectName) -> Result<(), String> {
    match owner == machine {
        true => Ok(()),
        false => Err(format!("{name} belongs to another machine: this one is {machine}")),
    }
}

/// `<session>-<counter>`.
fn is_segment_rest(rest: &str) -> bool {
    rest.split_once('-').is_some_and(|(session, counter)| is_hex(session, 32) && is_hex(counter, 8))
}

/// `<counter>` or `partial-<counter>`.
fn is_session_record(record: &str) -> bool {
    is_hex(record.strip_prefix("partial-").unwrap_or(record), 8)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a name in the table that is no name is a broken table")]
    use super::*;

    const OWN: &str = "00000000000000000000000000000001";
    const OTHER: &str = "00000000000000000000000000000002";
    const SESSION: &str = "0123456789abcdef0123456789abcdef";

    fn check_create(name: &str, expected: bool) {
        let hash = ContentHash([0xab; 32]);
        let answer = may_create(OWN, &name.parse().unwrap(), &hash);
        assert_eq!(answer.is_ok(), expected, "{name}: {answer:?}");
        if let Err(reason) = answer {
            assert!(reason.contains(name), "the refusal names the object: {reason}");
        }
    }

    #[test]
    fn a_machine_creates_packs_segments_and_its_own_points_and_sessions_only() {
        let pack = "ab".repeat(32);
        check_create(&format!("p/ab/{pack}"), true);
        check_create(&format!("m/ab/{pack}"), true);
        check_create(&format!("p/cd/{pack}"), false);
        check_create(&format!("p/ab/{}", "ac".repeat(32)), false);
        check_create(&format!("i/0000000000000000/{OWN}-{SESSION}-00000000"), true);
        check_create(&format!("i/0000000000000000/{OTHER}-{SESSION}-00000000"), false);
        check_create(&format!("s/{OWN}/0000000000000001"), true);
        check_create(&format!("s/{OTHER}/0000000000000001"), false);
        check_create(&format!("s/{OWN}/x"), false);
        check_create(&format!("w/{OWN}/{SESSION}/00000000"), true);
        check_create(&format!("w/{OWN}/{SESSION}/partial-00000001"), true);
        check_create(&format!("w/{OTHER}/{SESSION}/00000000"), false);
        for host in ["g/0000000000000001", "d/0000000000000001", "f/1/2", "keys/machine-x", "cfg/1", "r/x/1-0", "q/x"] {
            check_create(host, false);
        }
        check_create("tmp/x", false);
        check_create("cfg", false);
    }

    #[test]
    fn a_machine_reads_what_all_may_know_and_its_own() {
        let own = |area: &str| format!("{area}/{OWN}/x");
        let other = |area: &str| format!("{area}/{OTHER}/x");
        for name in ["cfg/1", "g/1", "d/1", "f/1/x", "i/1/x", "m/ab/x"] {
            assert!(may_read(OWN, name).is_ok() && may_list(OWN, name).is_ok(), "{name}");
        }
        for area in ["s", "w", "r"] {
            assert!(may_read(OWN, &own(area)).is_ok(), "{area}");
            assert!(may_read(OWN, &other(area)).is_err(), "{area}");
            assert!(may_list(OWN, &format!("{area}/{OWN}/")).is_ok(), "{area}");
            assert!(may_list(OWN, &format!("{area}/")).is_err(), "{area}");
            assert!(may_list(OWN, &format!("{area}/0")).is_err(), "{area}");
        }
        assert!(may_read(OWN, &format!("keys/machine-{OWN}")).is_ok());
        for name in [format!("keys/machine-{OTHER}"), "keys/slot-0123456789abcdef".into(), "p/ab/x".into(), "".into()] {
            assert!(may_read(OWN, &name).is_err() && may_list(OWN, &name).is_err(), "{name}");
        }
        assert!(may_list(OWN, "keys/").is_err() && may_list(OWN, "keys/machine-").is_err());
        assert!(may_look(OWN, "p/ab/x").is_ok());
    }
}
