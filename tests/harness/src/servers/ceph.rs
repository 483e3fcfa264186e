//! Ceph's S3 gateway with the smallest cluster behind it: one monitor, one store in a sparse file, all on loopback.
//!
//! Release 16, as Debian 12 has it, keeps creates apart in an ordinary bucket, and ignores their condition in one with
//! versions: storage that is fit or not by a setting, which the race probe is for.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::{START_WITHIN, free_port, http_date, log_of, loopback, wait_until_up};
use crate::agent::run;
use crate::process::Process;
use crate::wait::wait_for;

const HOW: &str = "run `apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common`";
const ACCESS: &str = "ciaccess";
const SECRET: &str = "cisecretcisecret";

/// A running gateway; fields end in this order.
#[derive(Debug)]
pub struct Ceph {
    _gateway: Process,
    _store: Process,
    _monitor: Process,
    at: SocketAddr,
    _place: TempDir,
}

impl Ceph {
    /// Starts an empty one; takes about 20 seconds.
    pub fn start() -> Result<Self> {
        for program in ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool"] {
            if run(Command::new(program).arg("--version")).is_err() {
                bail!("{program} is not there: {HOW}");
            }
        }
        let place = tempfile::tempdir()?;
        let dir = place.path();
        let (gateway_port, monitor_port) = (free_port()?, free_port()?);
        let cluster = Cluster { dir, cluster: uuid::Uuid::new_v4(), store: uuid::Uuid::new_v4() };
        cluster.configure(gateway_port, monitor_port)?;
        let monitor = cluster.monitor(monitor_port)?;
        let store = cluster.store()?;
        let mut gateway = cluster.daemon("radosgw", &["-n", "client.rgw.a"])?;
        wait_until_up(&mut gateway, loopback(gateway_port))?;
        cluster.admin(&["user", "create", "--uid=ci", "--display-name=ci"])?;
        Ok(Self { _gateway: gateway, _store: store, _monitor: monitor, at: loopback(gateway_port), _place: place })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Makes a bucket.
    pub async fn make_bucket(&self, name: &str) -> Result<()> {
        self.put(&format!("/{name}"), "").await
    }

    /// Has a bucket keep every version of an object.
    pub async fn keep_versions(&self, name: &str) -> Result<()> {
        let wish = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        self.put(&format!("/{name}?versioning"), wish).await
    }

    /// A put to the gateway, signed in S3's old and short way.
    async fn put(&self, resource: &str, body: &'static str) -> Result<()> {
        let date = http_date()?;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, format!("PUT\n\n\n{date}\n{resource}").as_bytes()));
        let request = reqwest::Client::new()
            .put(format!("http://{}{resource}", self.at))
            .header("date", &date)
            .header("authorization", format!("AWS {ACCESS}:{signature}"))
            .body(body);
        let answer = request.send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "Ceph refused {resource}: {status}: {}", answer.text().await?);
        Ok(())
    }

    /// The environment that reaches it, at this endpoint: itself, or a proxy in front.
    pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

/// What the start of the daemons needs.
struct Cluster<'a> {
    dir: &'a Path,
    cluster: uuid::Uuid,
    store: uuid::Uuid,
}

impl Cluster<'_> {
    fn configure(&self, gateway_port: u16, monitor_port: u16) -> Result<()> {
        for name in ["mon", "osd0", "rgw", "run", "log"] {
            std::fs::create_dir(self.dir.join(name))?;
        }
        let (dir, cluster) = (self.dir.display(), self.cluster);
        let text = format!(
            "[global]\nfsid = {cluster}\nmon_host = [v2:127.0.0.1:{monitor_port}]\npublic_network = 127.0.0.0/8\n\
             cluster_network = 127.0.0.0/8\nauth_cluster_required = cephx\nauth_service_required = cephx\n\
             auth_client_required = cephx\nosd_pool_default_size = 1\nosd_pool_default_min_size = 1\n\
             osd_pool_default_pg_num = 4\nosd_pool_default_pgp_num = 4\nosd_pool_default_pg_autoscale_mode = off\n\
             mon_allow_pool_size_one = true\nosd_crush_chooseleaf_type = 0\nmon_max_pg_per_osd = 2000\n\
             bluestore_block_size = 4294967296\nbluestore_block_create = true\nosd_memory_target = 1073741824\n\
             run_dir = {dir}/run\nadmin_socket = {dir}/run/$name.asok\nlog_file = {dir}/log/$name.log\n\
             mon_data = {dir}/mon\nosd_data = {dir}/osd0\nkeyring = {dir}/keyring\nosd_class_load_list = *\n\
             osd_class_default_list = *\n[osd]\npublic_addr = 127.0.0.1\ncluster_addr = 127.0.0.1\n[client.rgw.a]\n\
             rgw_frontends = beast endpoint=127.0.0.1:{gateway_port}\nrgw_data = {dir}/rgw\nrgw_run_sync_thread = false\n"
        );
        std::fs::write(self.dir.join("ceph.conf"), text)?;
        self.done(
            "ceph-authtool",
            &["--create-keyring", "keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"],
        )?;
        for name in ["client.admin", "osd.0", "client.rgw.a"] {
            let caps = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
            self.done("ceph-authtool", &[["keyring", "--gen-key", "-n", name].as_slice(), &caps].concat())?;
        }
        Ok(())
    }

    fn monitor(&self, port: u16) -> Result<Process> {
        let (cluster, address) = (self.cluster.to_string(), format!("[v2:127.0.0.1:{port}]"));
        self.done("monmaptool", &["--create", "--clobber", "--fsid", &cluster, "--addv", "a", &address, "monmap"])?;
        self.done("ceph-mon", &["-c", "ceph.conf", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring"])?;
        self.daemon("ceph-mon", &["-i", "a"])
    }

    fn store(&self) -> Result<Process> {
        let store = self.store.to_string();
        let new = || Ok(self.asked(&["osd", "new", &store]).ok());
        wait_for("Ceph's monitor", START_WITHIN, new)?;
        self.done("ceph-osd", &["-c", "ceph.conf", "-i", "0", "--mkfs", "--osd-uuid", &store])?;
        let process = self.daemon("ceph-osd", &["-i", "0"])?;
        wait_for("Ceph's store", START_WITHIN, || {
            Ok(self.asked(&["osd", "stat"]).ok().filter(|said| said.contains("1 up")))
        })?;
        Ok(process)
    }

    fn daemon(&self, program: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(program);
        command.args(["-c", "ceph.conf", "-f"]).args(arguments).arg("--keyring").arg(self.dir.join("keyring"));
        command.current_dir(self.dir);
        Process::start(program, command, &log_of(self.dir, program))
    }

    /// Asks the monitor; bounded, since `ceph` waits for one that is not there yet.
    fn asked(&self, arguments: &[&str]) -> Result<String> {
        let limit = Duration::from_secs(10).as_secs().to_string();
        let mut command = Command::new("timeout");
        command.args([limit.as_str(), "ceph", "-c", "ceph.conf"]).args(arguments).current_dir(self.dir);
        Ok(run(&mut command)?.expect_code(0)?.stdout)
    }

    fn admin(&self, arguments: &[&str]) -> Result<()> {
        let keys = [format!("--access-key={ACCESS}"), format!("--secret-key={SECRET}")];
        let mut command = Command::new("radosgw-admin");
        command.args(["-c", "ceph.conf"]).args(arguments).args(keys).current_dir(self.dir);
        run(&mut command)?.expect_code(0).context("radosgw-admin").map(drop)
    }

    fn done(&self, program: &str, arguments: &[&str]) -> Result<()> {
        run(Command::new(program).args(arguments).current_dir(self.dir))?.expect_code(0).map(drop)
    }
}
