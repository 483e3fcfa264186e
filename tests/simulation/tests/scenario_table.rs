//! Every fault scenario is shown by a test somewhere, and the table in tests/README.md tells where.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Scenarios without a test, each with its reason.
const OPEN: &[(u32, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// The scenarios of each crate, by the names of its tests.
fn shown() -> BTreeMap<u32, BTreeSet<String>> {
    let mut shown: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut folders: Vec<PathBuf> = ["agent", "plugin-host", "protocol", "tests"].map(|wing| root().join(wing)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root()).unwrap();
                let room = below.iter().take(2).map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("/");
                for number in numbers(&fs::read_to_string(&path).unwrap()) {
                    shown.entry(number).or_default().insert(room.clone());
                }
            }
        }
    }
    shown
}

/// The numbers of the tests `scenario_NN_...` in a source text.
fn numbers(text: &str) -> impl Iterator<Item = u32> + '_ {
    let names = text.split("fn scenario_").skip(1);
    names.filter_map(|rest| rest.get(..2)?.parse().ok().filter(|_| rest[2..].starts_with('_')))
}

/// Number and rooms of each row of the table.
fn table() -> BTreeMap<u32, Vec<String>> {
    let text = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = cells.get(1)?.parse().ok()?;
        Some((number, cells.last_chunk::<2>()?[0].split('`').skip(1).step_by(2).map(str::to_owned).collect()))
    });
    rows.collect()
}

#[test]
fn every_scenario_has_a_test_or_a_reason() {
    let (shown, open): (_, BTreeMap<u32, &str>) = (shown(), OPEN.iter().copied().collect());
    for number in 1..=30 {
        let (has_test, has_reason) = (shown.contains_key(&number), open.contains_key(&number));
        assert!(has_test || has_reason, "no test is called scenario_{number:02}_..., and no reason is given");
    }
}

#[test]
fn the_table_tells_where_every_scenario_is_shown() {
    let (shown, table) = (shown(), table());
    assert_eq!(table.keys().copied().collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>(), "the rows of tests/README.md");
    for (number, rooms) in table {
        let found = shown.get(&number).cloned().unwrap_or_default();
        assert!(!rooms.is_empty() || found.is_empty(), "row {number} names no room, and {found:?} have a test");
        for room in rooms {
            assert!(found.contains(&room), "row {number} names {room}, and there is no such test there");
        }
    }
}
