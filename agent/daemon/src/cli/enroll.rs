//! `enroll` and `unenroll`.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nightkeep_platform::event_log::Event;
use nightkeep_wire::enrol::EnrollState;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::token::{EnrolmentToken, TOKEN_CHARS_MAX};
use serde_json::json;

use super::args::{EnrollArgs, Globals};
use super::control::runtime;
use super::exit::Exit;
use super::failure::Failure;
use super::output;
use crate::clock::HostClock;
use crate::config::Config;
use crate::events;
use crate::facts;
use crate::files;
use crate::identity::{Enrolled, Identity};
use crate::link::{EnrolError, HostLink, LinkError, Signer, enrol, undelivered_meta_key};
use crate::places::Places;

const TOKEN_VARIABLE: &str = "NIGHTKEEP_TOKEN";
/// A host that is starting up, or a line that is dropped, is tried again so often.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(2);

/// Joins a host. Doing it again is no error and changes nothing.
pub(super) fn enroll(args: &EnrollArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let (places, config) = Places::resolve(globals)?;
    let token = read_token(args.token_file.as_deref())?;
    let host = match &args.host {
        Some(host) => host_address(host)?,
        None => token.host_url.clone(),
    };
    let mut identity = Identity::load(&places)?.unwrap_or_else(Identity::generate);
    let enrolled = runtime()?.block_on(enroll_at(&host, &token, &mut identity, &places, &config))?;
    let (enrolled, known) = enrolled;
    if !known {
        let text = format!("for {} at {}, as machine {}", enrolled.customer, enrolled.host_url, enrolled.machine);
        events::tell_system(Event::Enrolled, &text);
    }
    tell(&enrolled, known, globals.json);
    Ok(Exit::Done)
}

async fn enroll_at(
    host: &str,
    token: &EnrolmentToken,
    identity: &mut Identity,
    places: &Places,
    config: &Config,
) -> anyhow::Result<(Enrolled, bool)> {
    let clock = Arc::new(HostClock::default());
    let timeout = Duration::from_secs(config.link.connect_timeout_seconds.max(1));
    let known = match identity.enrolled.clone() {
        Some(enrolled) => still_known(&enrolled, host, identity, clock.clone(), timeout).await?,
        None => false,
    };
    if !known {
        let link = HostLink::new(host, Some(token.pin), None, clock.clone(), timeout).map_err(failure_of_link)?;
        for tries_left in (0..TRIES).rev() {
            let Err(error) = enrol(&link, token, facts::gather(config), identity, places).await else { break };
            if tries_left == 0 || !error.is_passing() {
                return Err(failure_of(error).into());
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }
    let Some(enrolled) = identity.enrolled.clone() else { anyhow::bail!("the host's answer was not kept") };
    deliver(identity, &enrolled, places, clock, timeout).await;
    Ok((enrolled, known))
}

/// Whether the host still knows this machine. A host that is away is given the benefit of the doubt.
async fn still_known(
    enrolled: &Enrolled,
    host: &str,
    identity: &Identity,
    clock: Arc<HostClock>,
    timeout: Duration,
) -> anyhow::Result<bool> {
    if enrolled.host_url != host {
        let message = format!(
            "this machine is enrolled already: at {} for {}, as machine {}",
            enrolled.host_url, enrolled.customer, enrolled.machine
        );
        let remedy = "Run `nightkeep-agent unenroll` first if it shall move to another host.";
        return Err(Failure::new("already-enrolled", message).remedy(remedy).into());
    }
    let signer = Signer { machine: enrolled.machine, key: identity.signing_key() };
    let link = HostLink::new(host, enrolled.pin, Some(signer), clock, timeout).map_err(failure_of_link)?;
    match link.desired(0, Duration::ZERO).await {
        Ok(_) => Ok(true),
        Err(error) => match error.code() {
            // The host forgot or removed it: the token lets it in again.
            Some(ProblemCode::MachineUnknown | ProblemCode::SignatureInvalid) => Ok(false),
            Some(_) => Ok(true),
            None if error.is_passing() => {
                output::note(format_args!("The host does not answer now: {}", error.in_words()));
                Ok(true)
            }
            None => Err(failure_of_link(error).into()),
        },
    }
}

/// The daemon does this, too; doing it here makes the first backup restorable from the console at once.
async fn deliver(
    identity: &mut Identity,
    enrolled: &Enrolled,
    places: &Places,
    clock: Arc<HostClock>,
    timeout: Duration,
) {
    let keys = match undelivered_meta_key(identity) {
        Ok(Some(keys)) => keys,
        Ok(None) => return,
        Err(error) => return output::note(error),
    };
    let signer = Signer { machine: enrolled.machine, key: identity.signing_key() };
    let delivered = match HostLink::new(&enrolled.host_url, enrolled.pin, Some(signer), clock, timeout) {
        Ok(link) => link.put_keys(&keys).await,
        Err(error) => Err(error),
    };
    if let Err(error) = delivered {
        return tracing::warn!(error = error.in_words(), "The catalogue key is handed over later by the daemon");
    }
    identity.note_meta_key_delivered();
    if let Err(error) = identity.save(places) {
        tracing::warn!(%error, "The identity could not be kept");
    }
}

fn read_token(file: Option<&Path>) -> anyhow::Result<EnrolmentToken> {
    let text = match file {
        Some(path) if path == Path::new("-") => read_bounded(std::io::stdin().lock(), "standard input")?,
        Some(path) => {
            let shown = path.display().to_string();
            let file = std::fs::File::open(path)
                .map_err(|error| Failure::new("token-unreadable", format!("failed to read {shown}: {error}")))?;
            read_bounded(file, &shown)?
        }
        None => std::env::var(TOKEN_VARIABLE).map_err(|_| {
            let message =
                format!("no enrolment token: give --token-file PATH (or - for standard input) or {TOKEN_VARIABLE}");
            Failure::usage(message)
        })?,
    };
    let token = text
        .parse()
        .map_err(|error: nightkeep_wire::token::TokenError| Failure::new("token-invalid", error.to_string()))?;
    Ok(token)
}

fn read_bounded(source: impl std::io::Read, shown: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = source.take(4 * TOKEN_CHARS_MAX as u64).read_to_string(&mut text);
    read.map_err(|error| Failure::new("token-unreadable", format!("failed to read {shown}: {error}")))?;
    Ok(text)
}

/// `https://host[:port]` without a path, so that it can be compared.
fn host_address(text: &str) -> Result<String, Failure> {
    let wrong = || Failure::usage(format!("--host {text:?} is no address of a host: write https://HOST[:PORT]"));
    let url = reqwest::Url::parse(text).map_err(|_| wrong())?;
    let plain = url.scheme() == "https" && matches!(url.path(), "" | "/") && url.query().is_none();
    let host = url.host_str().filter(|_| plain).ok_or_else(wrong)?;
    Ok(match url.port() {
        Some(port) => format!("https://{host}:{port}"),
        None => format!("https://{host}"),
    })
}

fn failure_of(error: EnrolError) -> Failure {
    match error {
        EnrolError::Expired => Failure::new("token-expired", error.to_string()),
        EnrolError::Used => Failure::new("token-used", error.to_string()),
        EnrolError::Unknown { .. } => Failure::new("token-unknown", error.to_string()),
        EnrolError::VaultKey => Failure::new("vault-key", error.to_string()),
        EnrolError::File(error) => {
            let error = anyhow::Error::from(error);
            Failure::new("identity-unwritable", format!("{error:#}")).remedy("Run the command as an administrator.")
        }
        EnrolError::Link(error) => failure_of_link(error),
    }
}

fn failure_of_link(error: LinkError) -> Failure {
    let code = match &error {
        LinkError::Unreachable { .. } => "host-unreachable",
        LinkError::Untrusted { .. } => "host-untrusted",
        LinkError::Problem { problem } => problem.code.as_str(),
        LinkError::Status { .. } | LinkError::Answer { .. } => "host-answer",
        LinkError::Setup { .. } => "host-address",
    };
    Failure::new(code, error.in_words())
}

fn tell(enrolled: &Enrolled, already: bool, as_json: bool) {
    let Enrolled { machine, host_url, customer, client, location, state, .. } = enrolled;
    if as_json {
        return output::json(&json!({
            "machine": machine, "host": host_url, "customer": customer, "client": client, "location": location,
            "state": state, "already_enrolled": already,
        }));
    }
    let verb = if already { "is enrolled already" } else { "is enrolled" };
    output::line(format_args!("This machine {verb} at {host_url} for {customer} ({client}, {location}) as {machine}."));
    if *state == EnrollState::Lobby {
        output::line("It waits for approval in the console before it is backed up.");
    }
}

/// Forgets identity and plans; what was backed up stays with the host.
pub(super) fn unenroll(globals: &Globals) -> anyhow::Result<Exit> {
    let (places, _) = Places::resolve(globals)?;
    let enrolled = Identity::load(&places)?.and_then(|identity| identity.enrolled);
    Identity::remove(&places)?;
    for path in [places.desired(), places.jobs(), places.outbox()] {
        files::remove(&path)?;
    }
    if let Some(enrolled) = &enrolled {
        events::tell_system(
            Event::Unenrolled,
            &format!("it was machine {} at {}", enrolled.machine, enrolled.host_url),
        );
    }
    if globals.json {
        output::json(&json!({ "machine": enrolled.as_ref().map(|enrolled| enrolled.machine) }));
        return Ok(Exit::Done);
    }
    match enrolled {
        Some(enrolled) => output::line(format_args!(
            "Machine {} has left {}. Its recovery points stay; retire it in the console.",
            enrolled.machine, enrolled.host_url
        )),
        None => output::line("This machine belonged to no host."),
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::host_address;

    #[test]
    fn a_host_is_https_with_an_optional_port_and_nothing_behind() {
        let ok = |text: &str| host_address(text).ok();
        assert_eq!(ok("https://backup.example.com/"), Some("https://backup.example.com".to_owned()));
        assert_eq!(ok("https://127.0.0.1:8443"), Some("https://127.0.0.1:8443".to_owned()));
        assert_eq!(ok("https://HOST.example:443"), Some("https://host.example".to_owned()));
        for bad in ["http://host", "host", "https://host/path", "https://host?x=1", ""] {
            assert_eq!(ok(bad), None, "{bad:?}");
        }
    }
}
