//! Dependencies point down: agent and host meet only in the protocol, nothing stands on the tests, and what is called
//! pure can reach neither network nor disk.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use super::member_named;
use crate::workspace::{self, Member};

/// Crates without I/O and without a clock.
pub(super) const PURE: &[&str] = &["nightkeep-wire", "nightkeep-rules", "nightkeep-monitoring"];

/// Reaching one of these is reaching the world.
const WORLDLY: &[&str] = &[
    "axum",
    "hyper",
    "mio",
    "notify",
    "object_store",
    "reqwest",
    "rustix",
    "sea-orm",
    "sqlx",
    "tempfile",
    "tokio",
    "walkdir",
];

pub(super) fn violations(members: &[Member]) -> Result<Vec<String>> {
    let mut violations = directions(members);
    let graph = Graph::of(&workspace::metadata(&[])?);
    for name in PURE {
        for worldly in graph.reachable(name).intersection(&WORLDLY.iter().map(|name| (*name).to_owned()).collect()) {
            violations.push(format!("purity: {name} reaches {worldly}"));
        }
    }
    Ok(violations)
}

fn directions(members: &[Member]) -> Vec<String> {
    let mut violations = Vec::new();
    for member in members {
        for dependency in &member.dependencies {
            let Some(target) = member_named(members, dependency) else { continue };
            if !may_depend(member.wing(), target.wing()) {
                let (from, to) = (member.folder.display(), target.folder.display());
                violations.push(format!("direction: {from} must not depend on {to}"));
            }
        }
    }
    violations
}

fn may_depend(from: &str, to: &str) -> bool {
    match from {
        "protocol" => to == "protocol",
        "agent" | "plugin-host" => to == from || to == "protocol",
        "tests" => to != "packaging",
        _ => false,
    }
}

/// Who needs whom to be built, by package name; a name with several versions is one node, which can only find more.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn of(metadata: &Value) -> Self {
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> =
            items(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let name_of = |id: &Value| names.get(&text(id)).cloned().unwrap_or_default();
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in items(&metadata["resolve"]["nodes"]) {
            let edges = items(&node["deps"]).into_iter().filter(is_normal).map(|dep| name_of(&dep["pkg"]));
            graph.entry(name_of(&node["id"])).or_default().extend(edges);
        }
        Self(graph)
    }

    fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(name) = open.pop() {
            for next in self.0.get(&name).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    }
}

/// Needed on this platform or any other to build, not only to test or to run a build script.
fn is_normal(dependency: &Value) -> bool {
    dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
}

#[cfg(test)]
mod tests {
    use super::{Graph, may_depend};

    #[test]
    fn agent_and_host_meet_only_in_the_protocol() {
        let check = |from, to, expected| assert_eq!(may_depend(from, to), expected, "{from} -> {to}");
        check("agent", "protocol", true);
        check("agent", "agent", true);
        check("agent", "plugin-host", false);
        check("plugin-host", "agent", false);
        check("protocol", "agent", false);
        check("agent", "tests", false);
        check("packaging", "tests", false);
        check("tests", "agent", true);
    }

    #[test]
    fn worldly_crates_are_found_behind_others_but_not_behind_tests() {
        let metadata = serde_json::json!({
            "packages": [{"id": "1", "name": "pure"}, {"id": "2", "name": "between"}, {"id": "3", "name": "tokio"}],
            "resolve": {"nodes": [
                {"id": "1", "deps": [{"pkg": "2", "dep_kinds": [{"kind": null}]}]},
                {"id": "2", "deps": [{"pkg": "3", "dep_kinds": [{"kind": "dev"}]}]},
            ]},
        });
        assert!(!Graph::of(&metadata).reachable("pure").contains("tokio"));
        let mut metadata = metadata;
        metadata["resolve"]["nodes"][1]["deps"][0]["dep_kinds"][0]["kind"] = serde_json::Value::Null;
        assert!(Graph::of(&metadata).reachable("pure").contains("tokio"));
    }
}
