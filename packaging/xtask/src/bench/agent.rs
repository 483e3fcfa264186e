//! What an agent costs a machine while it waits.

use std::process::Command;

use anyhow::Result;

use crate::run;

/// A network of its own, in which the loopback device counts what agent and host say to each other and nothing else.
const OWN_NETWORK: &str = r#"ip link set lo up && exec "$@""#;

/// Builds agent and host and the program that measures, and runs that.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    let release = super::build(&["nightkeep-agent", "nightkeep-host", "nightkeep-harness"])?;
    let program = release.join("nightkeep-bench-agent");
    let mut bench = match may_have_a_network() {
        true => {
            let mut unshare = Command::new("unshare");
            unshare.args(["--net", "--", "sh", "-c", OWN_NETWORK, "sh"]).arg(program).arg("--own-network");
            unshare
        }
        false => Command::new(program),
    };
    bench.current_dir(crate::root()).env("NIGHTKEEP_BIN_DIR", &release).args(arguments);
    run::step("bench agent", &mut bench)
}

/// Root may, where unshare and ip are.
fn may_have_a_network() -> bool {
    let mut trial = Command::new("unshare");
    trial.args(["--net", "--", "sh", "-c", OWN_NETWORK, "sh", "true"]);
    trial.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
}
