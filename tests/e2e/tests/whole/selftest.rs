//! What `selftest` says of the machine: each facility by name, absent where it is, failing where somebody must act.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use nightkeep_harness::agent::CommandLine;
use serde_json::Value;

fn checks(machine: &CommandLine, code: i32) -> Result<Vec<Value>> {
    let config = machine.home().join("agent.toml");
    let mut command = machine.command(&["selftest", "--json"]);
    // No bus at all, as on a small server.
    command.arg("--config").arg(config).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    let answer = nightkeep_harness::agent::run(&mut command)?.expect_code(code)?.json()?;
    Ok(answer["checks"].as_array().context("no checks")?.clone())
}

fn of<'a>(checks: &'a [Value], name: &str) -> Result<(&'a str, &'a str)> {
    let found = checks.iter().find(|check| check["name"] == name).with_context(|| format!("no check {name}"))?;
    Ok((found["verdict"].as_str().context("no verdict")?, found["detail"].as_str().context("no detail")?))
}

#[test]
fn the_self_test_names_what_a_schedule_can_go_by_and_a_missing_bus_is_no_failure() -> Result<()> {
    let machine = CommandLine::new()?;
    std::fs::write(machine.home().join("agent.toml"), "")?;
    let found = checks(&machine, 0)?;
    for name in ["battery", "network cost", "keeping awake", "low priority", "commands"] {
        of(&found, name)?;
    }
    ensure!(of(&found, "network cost")?.0 == "absent", "{found:#?}");
    ensure!(of(&found, "keeping awake")?.0 == "absent", "{found:#?}");
    ensure!(of(&found, "low priority")?.0 == "works", "{found:#?}");
    ensure!(of(&found, "commands")?.0 == "absent", "{found:#?}");
    Ok(())
}

#[test]
fn the_self_test_fails_for_a_command_that_others_could_have_written_and_says_which() -> Result<()> {
    let machine = CommandLine::new()?;
    std::fs::write(machine.home().join("agent.toml"), "")?;
    let (list, program) = (machine.home().join("commands.toml"), machine.home().join("program"));
    std::fs::write(&program, "#!/bin/sh\n")?;
    std::fs::write(&list, format!("[dump]\nrun = [{:?}]\n", program.display().to_string()))?;
    let mode = |path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    mode(&list, 0o644)?;
    mode(&program, 0o755)?;
    ensure!(of(&checks(&machine, 0)?, "commands")? == ("works", "dump"));
    mode(&program, 0o777)?;
    let found = checks(&machine, 1)?;
    let (verdict, detail) = of(&found, "commands")?;
    ensure!(verdict == "fails" && detail.contains("dump") && detail.contains("written by others"), "{detail}");
    mode(&program, 0o755)?;
    mode(&list, 0o666)?;
    let found = checks(&machine, 1)?;
    let (verdict, detail) = of(&found, "commands")?;
    ensure!(verdict == "fails" && detail.contains("commands.toml"), "{detail}");
    Ok(())
}
