//! The processes of a run, each on a host of its own, and what faults do to them.
//!
//! A process listens on its host's loopback only. Others reach it through the host's doors: proxies in the host's namespace
//! that are late or lose pieces when they are told to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use decant_artifact::testing::put_bucket;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::lan::Lan;
use super::schedule::{CRAMPED, ETCD, Fault, Host, REGISTRIES, SCORERS};
use crate::deployment::{LEASE_MILLIS, LOOK_MILLIS};
use crate::movielens::datasets;
use crate::operated::Operated;
use crate::process::Process;
use crate::proxy::{Network, Proxy};

const ETCD_CLIENTS: u16 = 2379;
const ETCD_PEERS: u16 = 2380;
const OBJECTS: u16 = 9000;
const REGISTRY: u16 = 7420;
const SCORER: u16 = 7430;
const TRAINER: u16 = 7410;

/// The S3 server's bucket.
const BUCKET: &str = "models";
/// The disk of the cramped scorer: enough for all that it has to keep.
const DISK_MEBIBYTES: u64 = 32;
/// How long a process may take until it serves, whatever is wrong with others.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// Between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// After the end of a process, until all that it answered has arrived.
const ARRIVES_WITHIN: Duration = Duration::from_millis(50);

/// Where the cluster is reached.
#[derive(Clone)]
pub(crate) struct Addresses {
    registries: Vec<SocketAddr>,
    scorers: Vec<SocketAddr>,
    pub(crate) trainer: SocketAddr,
}

impl Operated for Addresses {
    fn registry_address(&self, place: usize) -> SocketAddr {
        self.registries[place]
    }

    fn scorer_addresses(&self) -> Vec<SocketAddr> {
        self.scorers.clone()
    }
}

/// A process that runs.
enum Running {
    /// One of Decant's.
    Decant(Process),
    /// etcd, or the S3 server.
    Other(Other),
}

/// Ends with this value.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn id(&self) -> u32 {
        match self {
            Self::Decant(process) => process.id(),
            Self::Other(Other(child)) => child.id(),
        }
    }

    fn has_ended(&mut self) -> bool {
        match self {
            Self::Decant(process) => process.ended().is_some(),
            Self::Other(Other(child)) => child.try_wait().unwrap().is_some(),
        }
    }
}

/// The cluster. What there is of it is dropped in this order.
pub(crate) struct Fleet {
    doors: BTreeMap<Host, Vec<Proxy>>,
    running: BTreeMap<Host, Running>,
    /// When processes died of a fault: what a host answered later comes from another one.
    pub(crate) deaths: Vec<(Host, SystemTime)>,
    lan: Lan,
    folder: TempDir,
}

impl Fleet {
    /// Starts everything.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let disk = cache(folder.path(), CRAMPED);
        std::fs::create_dir(&disk).unwrap();
        let mut fleet = Self {
            doors: BTreeMap::new(),
            running: BTreeMap::new(),
            deaths: Vec::new(),
            lan: Lan::start(&disk, DISK_MEBIBYTES),
            folder,
        };
        for host in Host::all() {
            fleet.open_doors(host);
            fleet.launch(host).await;
            if host == Host::Objects {
                fleet.make_bucket().await;
            }
        }
        fleet
    }

    pub(crate) fn addresses(&self) -> Addresses {
        let registries = (0..REGISTRIES).map(|place| self.socket(Host::Registry(place), REGISTRY));
        let scorers = (0..SCORERS).map(|place| self.socket(Host::Scorer(place), SCORER));
        Addresses {
            registries: registries.collect(),
            scorers: scorers.collect(),
            trainer: self.socket(Host::Trainer, TRAINER),
        }
    }

    /// Does what the fault says.
    pub(crate) async fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(host) => self.kill(host).await,
            Fault::Stall(host) => self.signal(host, "STOP"),
            Fault::Isolate(host) => self.lan.isolate(host, true),
            Fault::Slow(host, late) => self.set_doors(host, Network::Slow(late)),
            Fault::Lossy(host, one_in) => self.set_doors(host, Network::Lossy(one_in)),
            Fault::Blind(scorer) => self.blind(scorer, true),
            Fault::BlindRestart(scorer) => {
                self.blind(scorer, true);
                self.kill(Host::Scorer(scorer)).await;
                self.launch(Host::Scorer(scorer)).await;
            }
            Fault::FullDisk => self.fill_disk(),
            Fault::CutClients => self.lan.part_clients(true),
        }
    }

    /// Undoes it.
    pub(crate) async fn heal(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(host) => self.launch(host).await,
            Fault::Stall(host) => self.signal(host, "CONT"),
            Fault::Isolate(host) => self.lan.isolate(host, false),
            Fault::Slow(host, _) | Fault::Lossy(host, _) => self.set_doors(host, Network::Sound),
            Fault::Blind(scorer) | Fault::BlindRestart(scorer) => self.blind(scorer, false),
            Fault::FullDisk => std::fs::remove_file(self.ballast()).unwrap(),
            Fault::CutClients => self.lan.part_clients(false),
        }
    }

    /// The hosts whose process ended, and was not to.
    pub(crate) fn crashed(&mut self) -> Vec<Host> {
        let running = self.running.iter_mut();
        let ended = running.filter_map(|(host, running)| running.has_ended().then_some(*host));
        ended.collect()
    }

    /// Ends everything. If it is to be kept, all that the processes wrote lies in the folder that this returns; their logs in
    /// `logs`.
    pub(crate) fn end(mut self, keep: bool) -> Option<PathBuf> {
        for (host, running) in std::mem::take(&mut self.running) {
            self.end_process(host, running);
        }
        let Self {
            doors, lan, folder, ..
        } = self;
        drop(doors);
        drop(lan);
        keep.then(|| folder.keep())
    }

    async fn kill(&mut self, host: Host) {
        let running = self.running.remove(&host).unwrap();
        self.end_process(host, running);
        sleep(ARRIVES_WITHIN).await;
        self.deaths.push((host, SystemTime::now()));
    }

    /// What others than Decant's say, they write to their logs themselves.
    fn end_process(&self, host: Host, running: Running) {
        if let Running::Decant(mut process) = running {
            let said = match process.ended() {
                Some(_) => process.log(),
                None => process.end("KILL").1,
            };
            let mut log = self.log(host);
            for line in said {
                writeln!(log, "{line}").unwrap();
            }
        }
    }

    fn log(&self, host: Host) -> File {
        let name = format!("logs/{host}.log");
        let mut options = File::options();
        options.create(true).append(true);
        options.open(self.folder.path().join(name)).unwrap()
    }

    fn signal(&self, host: Host, signal: &str) {
        let id = self.running[&host].id().to_string();
        let signal = format!("-{signal}");
        let sent = Command::new("kill").args([signal, id]).status().unwrap();
        assert!(sent.success(), "{host}");
    }

    fn blind(&self, scorer: usize, cut: bool) {
        let members = (0..ETCD).map(Host::Etcd);
        let registries = (0..REGISTRIES).map(Host::Registry);
        for other in members.chain(registries).chain([Host::Objects]) {
            self.lan.part(Host::Scorer(scorer), other, cut);
        }
    }

    fn ballast(&self) -> PathBuf {
        cache(self.folder.path(), CRAMPED).join("ballast")
    }

    fn fill_disk(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let mut more_than_fits = io::repeat(0).take((2 * DISK_MEBIBYTES) << 20);
        let full = io::copy(&mut more_than_fits, &mut ballast).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }

    fn open_doors(&mut self, host: Host) {
        let ports: &[u16] = match host {
            Host::Etcd(_) => &[ETCD_CLIENTS, ETCD_PEERS],
            Host::Registry(_) => &[REGISTRY],
            Host::Scorer(_) => &[SCORER],
            Host::Trainer => &[TRAINER],
            Host::Objects => &[OBJECTS],
        };
        let namespace = self.lan.namespace_file(host);
        let doors = ports
            .iter()
            .map(|&port| Proxy::start_in(&namespace, self.socket(host, port), loopback(port)));
        let doors = doors.collect();
        self.doors.insert(host, doors);
    }

    fn set_doors(&self, host: Host, network: Network) {
        for door in &self.doors[&host] {
            door.set(network);
        }
    }

    fn socket(&self, host: Host, port: u16) -> SocketAddr {
        self.lan.socket(host, port)
    }

    fn url(&self, host: Host, port: u16) -> String {
        format!("http://{}", self.socket(host, port))
    }
}

/// How processes are started.
impl Fleet {
    /// Starts a host's process, and again when it ends before it serves, as whoever runs processes does.
    async fn launch(&mut self, host: Host) {
        let begun = Instant::now();
        loop {
            match self.try_launch(host).await {
                Ok(running) => {
                    self.running.insert(host, running);
                    return;
                }
                Err(said) => {
                    let patient = begun.elapsed() < STARTS_WITHIN;
                    assert!(patient, "{host} does not start: {said:#?}");
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn try_launch(&self, host: Host) -> Result<Running, Vec<String>> {
        let (program, variables) = match host {
            Host::Etcd(place) => return Ok(self.etcd(place)),
            Host::Objects => return Ok(self.objects()),
            Host::Registry(_) => ("decant-registry", self.registry(host)),
            Host::Scorer(place) => ("decant-scorer", self.scorer(place)),
            Host::Trainer => ("decant-trainer", self.trainer()),
        };
        let namespace = self.lan.namespace(host);
        let started = tokio::task::spawn_blocking(move || {
            let mut wrapper = vec!["ip", "netns", "exec", namespace.as_str()];
            // Other hosts would not notice that it trains.
            if host == Host::Trainer {
                wrapper.extend(["nice", "-n", "10"]);
            }
            Process::try_start_in(&wrapper, program, variables)
        });
        let started = timeout(STARTS_WITHIN, started).await;
        let started = started.unwrap_or_else(|_| panic!("{host} neither serves nor ends"));
        started.unwrap().map(Running::Decant)
    }

    fn registry(&self, host: Host) -> Vec<(String, String)> {
        let advertise = self.socket(host, REGISTRY).to_string();
        let own = [
            ("DECANT_REGISTRY__ADVERTISE", advertise),
            ("DECANT_REGISTRY__LEASE_TTL_MILLIS", LEASE_MILLIS.to_owned()),
            (
                "DECANT_REGISTRY__ROLLOUT_INTERVAL_MILLIS",
                LOOK_MILLIS.to_owned(),
            ),
        ];
        let common = self.on_stores(REGISTRY).into_iter();
        common.chain(texts(own)).collect()
    }

    fn scorer(&self, place: usize) -> Vec<(String, String)> {
        let host = Host::Scorer(place);
        let own = [
            ("DECANT_SCORER__NAME", host.to_string()),
            (
                "DECANT_SCORER__ADVERTISE",
                self.socket(host, SCORER).to_string(),
            ),
            ("DECANT_SCORER__LEASE_TTL_MILLIS", LEASE_MILLIS.to_owned()),
            ("DECANT_SCORER__WORKERS", "1".to_owned()),
            // All hosts share this machine's cores; how scorers bear overload is tested elsewhere.
            ("DECANT_SCORER__QUEUE_MILLIS", "2000".to_owned()),
            ("DECANT_SCORER__RETRY_FIRST_MILLIS", "200".to_owned()),
            ("DECANT_SCORER__RETRY_LONGEST_MILLIS", "1000".to_owned()),
            (
                "DECANT_SCORER__CACHE__FOLDER",
                text(&cache(self.folder.path(), place)),
            ),
        ];
        let common = self.on_stores(SCORER).into_iter();
        common.chain(texts(own)).collect()
    }

    fn trainer(&self) -> Vec<(String, String)> {
        let registries = (0..REGISTRIES).map(|place| self.url(Host::Registry(place), REGISTRY));
        let registries: Vec<String> = registries.collect();
        let own = [
            ("DECANT_LISTEN", loopback(TRAINER).to_string()),
            (
                "DECANT_TRAINER__JOBS",
                text(&self.folder.path().join("jobs")),
            ),
            ("DECANT_TRAINER__DATASETS", text(&datasets())),
            ("DECANT_TRAINER__REGISTRY", registries.join(",")),
        ];
        texts(own).collect()
    }

    /// What a process that uses etcd and the S3 server is told.
    fn on_stores(&self, port: u16) -> Vec<(String, String)> {
        let members = (0..ETCD).map(|place| self.url(Host::Etcd(place), ETCD_CLIENTS));
        let members: Vec<String> = members.collect();
        let told = [
            ("DECANT_LISTEN", loopback(port).to_string()),
            ("DECANT_STORE__ENDPOINTS", format!("{members:?}")),
            ("DECANT_BUNDLES__URL", format!("s3://{BUCKET}/chaos")),
            ("DECANT_BUNDLES__ENDPOINT", self.url(Host::Objects, OBJECTS)),
            ("DECANT_BUNDLES__REGION", "us-east-1".to_owned()),
            ("DECANT_BUNDLES__ALLOW_HTTP", "true".to_owned()),
            ("DECANT_BUNDLES__REQUEST_TIMEOUT_MILLIS", "1000".to_owned()),
            ("AWS_ACCESS_KEY_ID", "decant".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "decant-secret".to_owned()),
        ];
        texts(told).collect()
    }

    /// A member of etcd. It is not waited for: it serves when there are enough of them.
    fn etcd(&self, place: usize) -> Running {
        let host = Host::Etcd(place);
        let peer = |place| self.url(Host::Etcd(place), ETCD_PEERS);
        let members = (0..ETCD).map(|place| format!("{}={}", Host::Etcd(place), peer(place)));
        let members: Vec<String> = members.collect();
        let program = std::env::var("DECANT_ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let mut command = self.command(host, &program);
        command
            .args(["--name", &host.to_string()])
            .arg("--data-dir")
            .arg(self.folder.path().join(host.to_string()))
            .arg("--listen-client-urls")
            .arg(format!("http://{}", loopback(ETCD_CLIENTS)))
            .args(["--advertise-client-urls", &self.url(host, ETCD_CLIENTS)])
            .arg("--listen-peer-urls")
            .arg(format!("http://{}", loopback(ETCD_PEERS)))
            .args(["--initial-advertise-peer-urls", &peer(place)])
            .args(["--initial-cluster", &members.join(",")])
            // As long as two of the longest delays, and some more.
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(["--logger", "zap", "--log-outputs", "stderr"]);
        Running::Other(Other(command.spawn().unwrap()))
    }

    fn objects(&self) -> Running {
        let program = std::env::var("DECANT_S3_SERVER").expect(
            "DECANT_S3_SERVER is not set: run `deploy/bootstrap.sh s3` and `eval \"$(deploy/bootstrap.sh env)\"`",
        );
        let mut command = self.command(Host::Objects, &program);
        command.args(["--host", "127.0.0.1", "--port", &OBJECTS.to_string()]);
        Running::Other(Other(command.spawn().unwrap()))
    }

    /// A program on a host, which writes its own log.
    fn command(&self, host: Host, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.lan.namespace(host), program])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log(host));
        command
    }

    /// Makes the bucket, as soon as the S3 server serves.
    async fn make_bucket(&self) {
        let begun = Instant::now();
        loop {
            let server = self.socket(Host::Objects, OBJECTS);
            let asked = tokio::task::spawn_blocking(move || put_bucket(server, BUCKET));
            match asked.await.unwrap() {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => return,
                other => {
                    let patient = begun.elapsed() < STARTS_WITHIN;
                    assert!(patient, "the S3 server does not serve: {other:?}");
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// The folder of a scorer's cache; that of the cramped one is its disk.
fn cache(folder: &Path, scorer: usize) -> PathBuf {
    folder.join(format!("cache-{scorer}"))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn texts<const N: usize>(variables: [(&str, String); N]) -> impl Iterator<Item = (String, String)> {
    let variables = variables.into_iter();
    variables.map(|(name, value)| (name.to_owned(), value))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
