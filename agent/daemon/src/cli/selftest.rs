//! `selftest`: what works on this machine, each with what to do when it does not.

use std::sync::Arc;
use std::time::Duration;

use nightkeep_platform::awake::Awake;
use nightkeep_platform::event_log::{self, Event};
use nightkeep_platform::privacy::{self, DiskAccess};
use nightkeep_platform::service::{self, ServiceManager, ServiceState, manager};
use nightkeep_platform::volume_snapshot::{self, Method, Prospect, WhyLive};
use nightkeep_platform::{network, power, process, secret_file};
use nightkeep_storage::Races;
use nightkeep_wire::control::Op;
use serde::Serialize;

use super::args::Globals;
use super::control::{Client, runtime};
use super::exit::Exit;
use super::output;
use super::service::windows_services::NAME;
use crate::clock::HostClock;
use crate::config::Config;
use crate::identity::Identity;
use crate::job::Allowed;
use crate::journal;
use crate::link::{HostLink, Signer};
use crate::places::Places;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Works,
    /// Not there, and nothing fails without it.
    Absent,
    /// It works, and leaves something out that somebody will miss.
    Warning,
    Fails,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
}

fn check(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check { name, verdict, detail: detail.into() }
}

/// Runs every check; fails when one does.
pub(super) fn run(globals: &Globals, vault: Option<&str>) -> anyhow::Result<Exit> {
    let (places, config) = Places::resolve(globals)?;
    let identity = Identity::load(&places);
    let mut checks = vec![rights()];
    checks.extend(disk_access(privacy::disk_access()));
    // The state's folder first, as the journal remembers in it.
    checks.extend([
        state(&places),
        snapshots(&volume_snapshot::prospects()),
        change_journal(&places, &config),
        service(),
        event_log(),
    ]);
    checks.extend([battery(), network_cost(), keeping_awake(), low_priority(), allowed_commands(&places)]);
    checks.push(match &identity {
        Ok(Some(identity)) if identity.enrolled.is_some() => check("identity", Verdict::Works, "enrolled"),
        Ok(_) => check("identity", Verdict::Absent, "belongs to no host: run `nightkeep-agent enroll`"),
        Err(error) => check("identity", Verdict::Fails, error.to_string()),
    });
    checks.push(runtime()?.block_on(async {
        match Client::connect(globals).await {
            Ok(mut client) => match client.ask(Op::Status).await {
                Ok(_) => check("daemon", Verdict::Works, "answers"),
                Err(error) => check("daemon", Verdict::Fails, format!("{error:#}")),
            },
            Err(error) => check("daemon", Verdict::Absent, format!("{error:#}")),
        }
    }));
    if let Ok(Some(identity)) = &identity {
        checks.extend(runtime()?.block_on(host_link(identity, &config)));
    }
    checks.extend(vault.map(storage));
    tell(&checks, globals.json);
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fails);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn rights() -> Check {
    match process::is_root() {
        true => check("rights", Verdict::Works, "every file can be read and restored with its owner"),
        false => check("rights", Verdict::Absent, "an ordinary account: only what it may read is backed up"),
    }
}

/// Nothing where the system keeps no files from an administrator.
fn disk_access(access: DiskAccess) -> Option<Check> {
    const NAME: &str = "full disk access";
    match access {
        DiskAccess::NotNeeded => None,
        DiskAccess::Granted => Some(check(NAME, Verdict::Works, "protected files can be read")),
        DiskAccess::Denied => Some(check(NAME, Verdict::Warning, privacy::warning(access).unwrap_or_default())),
        DiskAccess::Unknown => Some(check(NAME, Verdict::Absent, "not known: there is nothing here to try it on")),
    }
}

/// One line for all volumes: works where any has snapshots, fails where one should have them.
fn snapshots(prospects: &[Prospect]) -> Check {
    let told = prospects.iter().map(|Prospect { place, outcome }| match outcome {
        Ok(method) => format!("{}: {}", place.display(), method.name()),
        Err(why) => format!("{}: read live, {why}", place.display()),
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let has = |wanted: fn(&Result<Method, WhyLive>) -> bool| prospects.iter().any(|prospect| wanted(&prospect.outcome));
    let verdict = match () {
        () if has(|outcome| matches!(outcome, Err(WhyLive::Failed { .. }))) => Verdict::Fails,
        () if has(|outcome| outcome.is_ok()) => Verdict::Works,
        () => Verdict::Absent,
    };
    check("volume snapshots", verdict, if told.is_empty() { "no volumes were found".to_owned() } else { told })
}

fn change_journal(places: &Places, config: &Config) -> Check {
    match journal::probe(&config.machine_root(), places.journals(), &config.jobs) {
        _ if !config.jobs.journal => check("change journal", Verdict::Absent, "switched off in the configuration"),
        Ok(watched) => check("change journal", Verdict::Works, watched),
        Err(reason) => check("change journal", Verdict::Absent, format!("every run looks at everything: {reason}")),
    }
}

fn battery() -> Check {
    match power::supply() {
        power::Supply { on_battery: None, .. } => check("battery", Verdict::Absent, "none, or it is not told"),
        power::Supply { on_battery: Some(on), charge_percent } => {
            let charge = charge_percent.map(|percent| format!(", charged to {percent} %")).unwrap_or_default();
            check("battery", Verdict::Works, format!("{}{charge}", if on { "in use" } else { "on mains power" }))
        }
    }
}

fn network_cost() -> Check {
    let name = "network cost";
    match network::connection() {
        Ok(network::Connection { metered: Some(metered), vpn }) => {
            let words = if metered { "metered" } else { "not metered" };
            check(name, Verdict::Works, format!("{words}{}", if vpn == Some(true) { ", through a VPN" } else { "" }))
        }
        Ok(_) => check(name, Verdict::Absent, "the system does not know; plans take it for not metered"),
        Err(error) => check(name, Verdict::Absent, format!("plans take the network for not metered: {error}")),
    }
}

fn keeping_awake() -> Check {
    match Awake::keep("A self-test") {
        Ok(_) => check("keeping awake", Verdict::Works, "the machine does not go to sleep during a backup"),
        Err(error) => check("keeping awake", Verdict::Absent, format!("it may go to sleep during a backup: {error}")),
    }
}

/// On a thread of its own, because what is given away may not come back.
fn low_priority() -> Check {
    let tried = std::thread::spawn(|| process::set_priority(process::Priority::Background)).join();
    match tried {
        Ok(Ok(())) => check("low priority", Verdict::Works, "backups yield processor and disk to everybody else"),
        Ok(Err(error)) => check("low priority", Verdict::Fails, error.to_string()),
        Err(_) => check("low priority", Verdict::Fails, "the attempt ended with a fault"),
    }
}

fn allowed_commands(places: &Places) -> Check {
    let (name, file) = ("commands", places.commands_file());
    match Allowed::load(&file) {
        Ok(allowed) if allowed.names().is_empty() => {
            check(name, Verdict::Absent, format!("plans may run none here: {} lists none", file.display()))
        }
        Ok(allowed) => match allowed.problems().first() {
            None => {
                let names: Vec<String> = allowed.names().into_iter().collect();
                check(name, Verdict::Works, names.join(", "))
            }
            Some((broken, error)) => check(name, Verdict::Fails, format!("{broken}: {}", crate::chain::chain(error))),
        },
        Err(error) => check(name, Verdict::Fails, crate::chain::chain(&error)),
    }
}

/// An event as the system's own viewer would show it.
fn event_log() -> Check {
    match event_log::shown(NAME, Event::ServiceStarted, "an example") {
        Ok(shown) => check("event log", Verdict::Works, format!("shows events as \"{shown}\"")),
        Err(error) => check("event log", Verdict::Absent, format!("events stand in the service's own log: {error}")),
    }
}

fn service() -> Check {
    match manager() {
        Some(ServiceManager::Systemd { .. }) => check("service", Verdict::Works, "systemd"),
        Some(ServiceManager::Launchd { .. }) => check("service", Verdict::Works, "launchd"),
        Some(ServiceManager::ServiceControlManager { .. }) => match service::state(NAME) {
            Ok(Some(ServiceState::Running)) => check("service", Verdict::Works, "runs"),
            Ok(Some(_)) => check("service", Verdict::Fails, "does not run: `nightkeep-agent service start`"),
            Ok(None) => check("service", Verdict::Absent, "not installed: `nightkeep-agent service install`"),
            Err(error) => check("service", Verdict::Fails, error.to_string()),
        },
        None => check("service", Verdict::Absent, "no service manager: start `nightkeep-agent run` by other means"),
    }
}

fn state(places: &Places) -> Check {
    let probe = places.state.join("selftest");
    let written = std::fs::create_dir_all(&places.state).and_then(|()| secret_file::write(&probe, b"probe"));
    let removed = written.and_then(|()| std::fs::remove_file(&probe));
    match removed {
        Ok(()) => check("state", Verdict::Works, places.state.display().to_string()),
        Err(error) => check("state", Verdict::Fails, format!("{}: {error}", places.state.display())),
    }
}

async fn host_link(identity: &Identity, config: &Config) -> Option<Check> {
    let enrolled = identity.enrolled.as_ref()?;
    let signer = Signer { machine: enrolled.machine, key: identity.signing_key() };
    let timeout = Duration::from_secs(config.link.connect_timeout_seconds.max(1));
    let link = HostLink::new(&enrolled.host_url, enrolled.pin, Some(signer), Arc::new(HostClock::default()), timeout);
    let asked = match link {
        Ok(link) => link.desired(0, Duration::ZERO).await.map(drop),
        Err(error) => Err(error),
    };
    Some(match asked {
        Ok(()) => check("network", Verdict::Works, format!("{} answers", enrolled.host_url)),
        Err(error) => check("network", Verdict::Fails, error.in_words()),
    })
}

/// Whether the storage of a vault keeps its word.
fn storage(location: &str) -> Check {
    let probed = nightkeep_storage::open_location(location)
        .map_err(anyhow::Error::from)
        .and_then(|store| Ok(nightkeep_storage::probe_create_only(&*store, Races::default())?));
    match probed {
        Ok(()) => check("storage", Verdict::Works, format!("{location} creates atomically")),
        Err(error) => check("storage", Verdict::Fails, format!("{error:#}")),
    }
}

fn tell(checks: &[Check], as_json: bool) {
    if as_json {
        return output::json(&serde_json::json!({ "checks": checks }));
    }
    for Check { name, verdict, detail } in checks {
        let word = match verdict {
            Verdict::Works => "works",
            Verdict::Absent => "-",
            Verdict::Warning => "WARNS",
            Verdict::Fails => "FAILS",
        };
        output::line(format_args!("{name:<18}{word:<7}{detail}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskAccess, Method, Prospect, Verdict, WhyLive, disk_access, snapshots};

    #[test]
    fn a_snapshot_that_should_work_and_does_not_fails_the_self_test() {
        let of = |outcome| Prospect { place: "/".into(), outcome };
        let words = || ("no room".to_owned(), "make some".to_owned());
        let (reason, remedy) = words();
        let unavailable = || of(Err(WhyLive::Unavailable { reason: reason.clone(), remedy: remedy.clone() }));
        let (reason, remedy) = words();
        let failed = of(Err(WhyLive::Failed { reason, remedy }));
        let verdict = |prospects: &[Prospect]| snapshots(prospects).verdict;
        assert_eq!(verdict(&[]), Verdict::Absent);
        assert_eq!(verdict(&[unavailable()]), Verdict::Absent);
        assert_eq!(verdict(&[unavailable(), of(Ok(Method::Vss))]), Verdict::Works);
        assert_eq!(verdict(&[of(Ok(Method::Vss)), failed]), Verdict::Fails);
        assert!(snapshots(&[unavailable()]).detail.contains("no room; make some"));
    }

    #[test]
    fn missing_disk_access_warns_and_fails_nothing() {
        let verdict = |access| disk_access(access).map(|check| check.verdict);
        assert_eq!(verdict(DiskAccess::NotNeeded), None);
        assert_eq!(verdict(DiskAccess::Granted), Some(Verdict::Works));
        assert_eq!(verdict(DiskAccess::Denied), Some(Verdict::Warning));
        assert_eq!(verdict(DiskAccess::Unknown), Some(Verdict::Absent));
        assert!(disk_access(DiskAccess::Denied).is_some_and(|check| check.detail.contains("Full Disk Access")));
    }
}
