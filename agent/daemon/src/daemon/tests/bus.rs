//! The daemon on a real message bus, on which small services play NetworkManager and logind.
//!
//! The bus is found by an environment variable, and a process cannot change its own: each test starts itself again under it.

use super::*;
use std::io::BufRead as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command as Program, Stdio};
use std::sync::Mutex;
use zbus::zvariant;

const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const IN_CHILD: &str = "NIGHTKEEP_TEST_ON_BUS";

/// A bus that ends with the test.
struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    fn start(dir: &Path) -> Self {
        let config = dir.join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow own=\"*\"/>\
             <allow eavesdrop=\"true\"/><allow user=\"*\"/></policy></busconfig>",
            dir.join("bus").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut daemon = Program::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is needed: apt-get install dbus");
        let mut address = String::new();
        std::io::BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: address.trim().to_owned() }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// In the child: true, the test goes on. In the parent: runs the child to its end, and false.
fn on_a_bus(test: &str) -> bool {
    if std::env::var_os(IN_CHILD).is_some() {
        return true;
    }
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path());
    let status = Program::new(std::env::current_exe().unwrap())
        .args([&format!("daemon::tests::bus::{test}"), "--exact", "--nocapture"])
        .env(BUS, &bus.address)
        .env(IN_CHILD, "1")
        .status();
    assert!(status.unwrap().success(), "{test} failed on the bus");
    false
}

struct NetworkManager {
    metered: Arc<Mutex<u32>>,
}

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl NetworkManager {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        *self.metered.lock().unwrap()
    }

    #[zbus(property)]
    fn primary_connection_type(&self) -> String {
        "802-11-wireless".to_owned()
    }
}

/// What was asked of logind: what for, by whom, and our end of the lock.
type Locks = Arc<Mutex<Vec<(String, String, OwnedFd)>>>;

struct Logind(Locks);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn inhibit(&self, what: String, who: String, _why: String, mode: String) -> zvariant::OwnedFd {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        self.0.lock().unwrap().push((format!("{what} {mode}"), who, ours.into()));
        zvariant::OwnedFd::from(OwnedFd::from(theirs))
    }
}

/// Whether the other end of a lock is still open somewhere.
fn is_held(ours: &OwnedFd) -> bool {
    use std::io::Read as _;
    let mut stream = std::os::unix::net::UnixStream::from(ours.try_clone().unwrap());
    stream.set_nonblocking(true).unwrap();
    !matches!(stream.read(&mut [0]), Ok(0))
}

struct Services {
    metered: Arc<Mutex<u32>>,
    locks: Locks,
    _connection: zbus::Connection,
}

async fn serve(metered: u32) -> Services {
    let (metered, locks) = (Arc::new(Mutex::new(metered)), Locks::default());
    let connection = zbus::connection::Builder::system()
        .unwrap()
        .serve_at("/org/freedesktop/NetworkManager", NetworkManager { metered: metered.clone() })
        .unwrap()
        .serve_at("/org/freedesktop/login1", Logind(locks.clone()))
        .unwrap()
        .name("org.freedesktop.NetworkManager")
        .unwrap()
        .name("org.freedesktop.login1")
        .unwrap()
        .build()
        .await
        .unwrap();
    Services { metered, locks, _connection: connection }
}

/// Every second, so that no test waits for its time.
fn always_due() -> Plan {
    let mut plan = plan();
    plan.schedule = Schedule { random_delay_max_seconds: 0, ..Schedule::cron("* * * * * *") };
    plan
}

/// Under way for minutes: a slow line, and what does not compress.
fn slow(mut plan: Plan, root: &Path) -> Plan {
    plan.options.upload_bytes_per_second_max = Some(1024);
    let bytes: Vec<u8> =
        (0..200_000u32).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..2].to_vec()).collect();
    std::fs::write(root.join("noise"), bytes).unwrap();
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_metered_network_a_due_run_waits_until_it_is_not_metered_any_more() {
    if !on_a_bus("on_a_metered_network_a_due_run_waits_until_it_is_not_metered_any_more") {
        return;
    }
    let services = serve(1).await;
    let (host, dir, root) = (FakeHost::start(), tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    host.want(|known| known.plans = vec![always_due()]);
    let daemon = run_daemon(dir.path(), root.path());
    until("the socket is there", || places_in(dir.path()).control().exists()).await;
    let mut held = None;
    for _ in 0..500 {
        held = status(dir.path()).await.plans.first().and_then(|plan| plan.held.clone());
        if held.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(held.as_deref(), Some("a network that is not metered"));
    assert!(results(&host).is_empty(), "it was due again and again");
    *services.metered.lock().unwrap() = 4;
    until("the run at home", || !results(&host).is_empty()).await;
    assert_eq!(results(&host)[0].outcome, Outcome::Ok);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_interrupted_when_the_network_becomes_metered() {
    if !on_a_bus("a_run_is_interrupted_when_the_network_becomes_metered") {
        return;
    }
    let services = serve(2).await;
    let (host, dir, root) = (FakeHost::start(), tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    host.want(|known| known.plans = vec![slow(always_due(), root.path())]);
    let daemon = run_daemon(dir.path(), root.path());
    until("it runs", || host.known().reports.iter().any(|r| matches!(r.body, ReportBody::JobStarted(_)))).await;
    *services.metered.lock().unwrap() = 1;
    until("it is interrupted", || !results(&host).is_empty()).await;
    assert_eq!(results(&host)[0].outcome, Outcome::Interrupted);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lock_against_sleep_is_held_while_a_job_runs_and_not_where_the_plan_forbids_it() {
    if !on_a_bus("a_lock_against_sleep_is_held_while_a_job_runs_and_not_where_the_plan_forbids_it") {
        return;
    }
    let services = serve(2).await;
    let (host, dir, root) = (FakeHost::start(), tempfile::tempdir().unwrap(), tree());
    host.enrolled(dir.path()).await;
    host.want(|known| {
        known.plans = vec![slow(plan(), root.path())];
        known.commands.push_back(start_command());
    });
    let daemon = run_daemon(dir.path(), root.path());
    until("a lock is taken", || !services.locks.lock().unwrap().is_empty()).await;
    {
        let locks = services.locks.lock().unwrap();
        let (what, who, ours) = &locks[0];
        assert_eq!((what.as_str(), who.as_str()), ("sleep:idle block", "Nightkeep"));
        assert!(results(&host).is_empty() && is_held(ours), "it is held while the job runs");
    }
    ask(dir.path(), Op::Stop { plan: None }).await;
    until("the job ends", || !results(&host).is_empty()).await;
    until("the lock is given back", || !is_held(&services.locks.lock().unwrap()[0].2)).await;
    let mut restless = plan();
    restless.options.prevent_sleep = false;
    host.want(|known| {
        known.plans = vec![restless];
        known.commands.push_back(start_command());
    });
    until("the second job ends", || results(&host).len() == 2).await;
    assert_eq!(results(&host)[1].outcome, Outcome::Ok);
    assert_eq!(services.locks.lock().unwrap().len(), 1);
    daemon.end().await;
}
