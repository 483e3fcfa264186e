//! The workspace as `cargo metadata` describes it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// A crate of this workspace.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Its folder, relative to the root: `agent/engine`.
    pub(crate) folder: PathBuf,
    /// Names of its direct dependencies of every kind.
    pub(crate) dependencies: Vec<String>,
}

impl Member {
    /// The house's wing: `agent` of `agent/engine`.
    pub(crate) fn wing(&self) -> &str {
        self.folder.iter().next().and_then(|part| part.to_str()).unwrap_or_default()
    }

    /// Its Rust files, tests included.
    pub(crate) fn sources(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect_sources(&crate::root().join(&self.folder), &mut files);
        files.sort();
        files
    }
}

/// The workspace's crates with their direct dependencies.
pub(crate) fn members() -> Result<Vec<Member>> {
    let metadata = metadata(&["--no-deps"])?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    packages.iter().map(member).collect()
}

/// `cargo metadata` with more arguments.
pub(crate) fn metadata(arguments: &[&str]) -> Result<Value> {
    let text = run::output(run::cargo().args(["metadata", "--format-version=1", "--locked"]).args(arguments))?;
    Ok(serde_json::from_str(&text)?)
}

fn member(package: &Value) -> Result<Member> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let manifest = text(&package["manifest_path"]).context("a package without a manifest")?;
    let folder = Path::new(&manifest).parent().context("a manifest without a folder")?;
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    Ok(Member {
        name: text(&package["name"]).context("a package without a name")?,
        folder: folder.strip_prefix(crate::root())?.to_owned(),
        dependencies: dependencies.filter_map(|dependency| text(&dependency["name"])).collect(),
    })
}

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
