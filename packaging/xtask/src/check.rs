//! What a commit must pass.
//!
//! Fast checks come first. The house rules are gathered and shown together: who breaks three wants to know of three.

mod deny;
mod dependencies;
mod layout;
mod source;

use anyhow::{Result, bail};

use crate::workspace::Member;
use crate::{run, test, workspace};

/// Runs all checks; the first failing step ends it.
pub(crate) fn run() -> Result<()> {
    house_rules()?;
    run::step("format", run::cargo().args(["fmt", "--all", "--check"]))?;
    deny::run()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run::step("lints", run::cargo().args(clippy))?;
    test::changed()?;
    println!("check passed");
    Ok(())
}

fn house_rules() -> Result<()> {
    println!("== house rules");
    let members = workspace::members()?;
    let mut broken = layout::violations()?;
    broken.extend(dependencies::violations(&members)?);
    broken.extend(source::violations(&members)?);
    for violation in &broken {
        println!("{violation}");
    }
    if !broken.is_empty() {
        bail!("{} house rules broken", broken.len());
    }
    println!("== house rules: passed for {} crates", members.len());
    Ok(())
}

/// The crate of this name, if it is one of ours.
fn member_named<'a>(members: &'a [Member], name: &str) -> Option<&'a Member> {
    members.iter().find(|member| member.name == name)
}
