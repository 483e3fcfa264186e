//! Every numbered item of the product with its tests, or "open".
//!
//! A test belongs to item 72 when its name starts with `item_72_`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

/// A line per item: its number, a tab, what it is.
const ITEMS: &str = include_str!("items.txt");

/// Prints the list.
pub(crate) fn run() -> Result<()> {
    let mut tests: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for member in workspace::members()? {
        for path in member.sources() {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for (item, name) in text.lines().filter_map(test_of_item) {
                tests.entry(item).or_default().push(format!("{}::{name}", member.name));
            }
        }
    }
    let items = items();
    for (number, title) in &items {
        println!("{number:>3}  {title}");
        match tests.get(number) {
            Some(names) => names.iter().for_each(|name| println!("       {name}")),
            None => println!("       open"),
        }
    }
    let shown = items.iter().filter(|(number, _)| tests.contains_key(number)).count();
    println!("{shown} of {} items have tests", items.len());
    Ok(())
}

fn items() -> Vec<(u32, &'static str)> {
    let parse = |line: &'static str| {
        let (number, title) = line.split_once('\t')?;
        Some((number.parse().ok()?, title))
    };
    ITEMS.lines().filter_map(parse).collect()
}

fn test_of_item(line: &str) -> Option<(u32, String)> {
    let name = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ")?;
    let name = name.split('(').next()?;
    let number = name.strip_prefix("item_")?.split('_').next()?.parse().ok()?;
    Some((number, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{items, test_of_item};

    #[test]
    fn the_list_is_complete_and_in_order() {
        let numbers: Vec<u32> = items().into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, (1..=96).collect::<Vec<_>>());
    }

    #[test]
    fn a_test_names_its_item() {
        let found = test_of_item("    async fn item_72_the_default_plan_runs_at_eleven() {");
        assert_eq!(found, Some((72, "item_72_the_default_plan_runs_at_eleven".to_owned())));
        assert_eq!(test_of_item("fn items() {"), None);
        assert_eq!(test_of_item("let item_7_x = 1;"), None);
    }
}
