//! A real etcd for tests: one member or a cluster on this machine, which can be killed, stalled, wiped and restored; and
//! certificates.
//!
//! Needs the programs `etcd` and `etcdctl`; `DECANT_ETCD` and `DECANT_ETCDCTL` say where they are if not in the path. What
//! goes wrong here panics: it is the test's machinery that is broken.

mod certificates;
mod member;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

pub use self::certificates::{Authority, Signed};
use self::member::Member;
use crate::{EtcdConfig, Revision, TlsConfig};

/// Longer than a cluster takes to elect a leader, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The root user's name and password, where there are passwords.
const ROOT: (&str, &str) = ("root", "root's password");
/// The user that [`Etcd::config`] logs in as.
const USER: (&str, &str) = ("decant", "decant's password");

/// What kind of cluster to start.
#[derive(Clone, Copy, Debug)]
pub struct EtcdOptions {
    /// How many members.
    pub members: usize,
    /// Whether clients and members show certificates.
    pub tls: bool,
    /// Whether clients log in; and how long a login holds, in seconds.
    pub login_seconds: Option<u32>,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            members: 1,
            tls: false,
            login_seconds: None,
        }
    }
}

/// A running cluster. Its processes and files are gone when it is dropped.
pub struct Etcd {
    members: Vec<Member>,
    options: EtcdOptions,
    certificates: Option<Signed>,
    /// Dropped last: the members write here.
    folder: TempDir,
}

impl Etcd {
    /// One member.
    pub async fn single() -> Self {
        Self::start(EtcdOptions::default()).await
    }

    /// Several members.
    pub async fn cluster(members: usize) -> Self {
        Self::start(EtcdOptions {
            members,
            ..EtcdOptions::default()
        })
        .await
    }

    /// Starts a cluster and waits until it has a leader and every member answers.
    pub async fn start(options: EtcdOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let certificates = options
            .tls
            .then(|| Authority::new(folder.path()).sign("etcd"));
        let members = (0..options.members)
            .map(|index| Member::new(index, folder.path(), options.tls))
            .collect();
        let mut etcd = Self {
            members,
            options,
            certificates,
            folder,
        };
        for index in 0..options.members {
            etcd.restart(index);
        }
        etcd.healthy().await;
        if options.login_seconds.is_some() {
            etcd.require_login().await;
        }
        etcd
    }

    /// Where the members serve clients.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::client_url).collect()
    }

    /// How to reach all members, with the certificates and the password that they ask for.
    pub fn config(&self) -> EtcdConfig {
        let mut config = EtcdConfig::of(self.endpoints());
        if let Some(certificates) = &self.certificates {
            config.tls = TlsConfig {
                ca: Some(certificates.ca.clone()),
                certificate: Some(certificates.certificate.clone()),
                key: Some(certificates.key.clone()),
                server_name: None,
            };
        }
        if self.options.login_seconds.is_some() {
            let file = self.folder.path().join("password");
            std::fs::write(&file, format!("{}\n", USER.1)).expect("a file can be written");
            config.user = USER.0.to_owned();
            config.password_file = Some(file);
        }
        config
    }

    /// Starts a member that does not run, on the files that it left. Waits for nothing: without enough others it cannot
    /// serve.
    pub fn restart(&mut self, index: usize) {
        let cluster = self.initial_cluster();
        let (login_seconds, certificates) = (self.options.login_seconds, &self.certificates);
        self.members[index].spawn(&cluster, login_seconds, certificates.as_ref());
    }

    /// Waits until all members that run, and are not stalled, serve.
    pub async fn healthy(&self) {
        let begin = Instant::now();
        for member in self.members.iter().filter(|member| member.serves()) {
            while !member.is_healthy().await {
                assert!(
                    begin.elapsed() < PATIENCE,
                    "etcd does not become healthy; it says:\n{}",
                    member.log()
                );
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Kills a member: SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.members[index].kill();
    }

    /// Stops a member in its tracks: it keeps its connections, and answers nothing.
    pub fn stall(&mut self, index: usize) {
        self.members[index].stall();
    }

    /// Lets a stalled member go on.
    pub fn resume(&mut self, index: usize) {
        self.members[index].resume();
    }

    /// Waits until there is a leader among the members that serve, and says which one it is.
    pub async fn leader(&self) -> usize {
        let begin = Instant::now();
        loop {
            for (index, member) in self.members.iter().enumerate() {
                if member.serves() && member.leads().await {
                    return index;
                }
            }
            assert!(begin.elapsed() < PATIENCE, "etcd elects no leader");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Makes etcd forget what happened up to a revision.
    pub async fn compact(&self, revision: Revision) {
        self.etcdctl(&["compaction", &revision.to_string()]).await;
    }

    /// Writes a backup to a file.
    pub async fn save(&self, file: &Path) {
        // It takes one member only, and that all serve is not said.
        let member = self.members.iter().find(|member| member.serves());
        let endpoint = member.expect("a member runs").client_url();
        self.etcdctl_at(&endpoint, &["snapshot", "save", &path(file)])
            .await;
    }

    /// Kills all members and forgets their files. [`Etcd::restart`] begins an empty cluster.
    pub fn wipe(&mut self) {
        for member in &mut self.members {
            member.kill();
            member.wipe();
        }
    }

    /// Puts a backup in the place of what there is, and starts all members again.
    pub async fn restore(&mut self, file: &Path) {
        self.wipe();
        let cluster = self.initial_cluster();
        for member in &self.members {
            let (name, peer, data) = (member.name(), member.peer_url(), path(member.data()));
            self.etcdctl(&[
                "snapshot",
                "restore",
                &path(file),
                "--name",
                &name,
                "--initial-cluster",
                &cluster,
                "--initial-advertise-peer-urls",
                &peer,
                "--data-dir",
                &data,
            ])
            .await;
        }
        for index in 0..self.members.len() {
            self.restart(index);
        }
        self.healthy().await;
    }

    /// Runs etcdctl on the whole cluster as root, and returns what it prints.
    pub async fn etcdctl(&self, arguments: &[&str]) -> String {
        self.etcdctl_at(&self.endpoints().join(","), arguments)
            .await
    }

    async fn etcdctl_at(&self, endpoints: &str, arguments: &[&str]) -> String {
        let has_login = self.options.login_seconds.is_some() && arguments[0] != "snapshot";
        let root = format!("{}:{}", ROOT.0, ROOT.1);
        let mut command = Command::new(program("DECANT_ETCDCTL", "etcdctl"));
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", endpoints])
            .args(arguments);
        if has_login {
            command.args(["--user", &root]);
        }
        self.run(command).await
    }

    async fn run(&self, mut command: Command) -> String {
        if let Some(certificates) = &self.certificates {
            command
                .arg("--cacert")
                .arg(&certificates.ca)
                .arg("--cert")
                .arg(&certificates.certificate)
                .arg("--key")
                .arg(&certificates.key);
        }
        let shown = format!("{command:?}");
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("the task does not panic")
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert!(
            output.status.success(),
            "{shown}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes the users, and lets nobody else in.
    async fn require_login(&self) {
        let endpoint = self.members[0].client_url();
        let steps: [&[&str]; 8] = [
            &["role", "add", "root"],
            &["user", "add", ROOT.0, "--new-user-password", ROOT.1],
            &["user", "grant-role", ROOT.0, "root"],
            &["role", "add", "decant"],
            &[
                "role",
                "grant-permission",
                "decant",
                "--prefix=true",
                "readwrite",
                "/decant/",
            ],
            &["user", "add", USER.0, "--new-user-password", USER.1],
            &["user", "grant-role", USER.0, "decant"],
            &["auth", "enable"],
        ];
        for step in steps {
            let mut command = Command::new(program("DECANT_ETCDCTL", "etcdctl"));
            command
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", &endpoint])
                .args(step);
            self.run(command).await;
        }
    }

    fn initial_cluster(&self) -> String {
        let members = self.members.iter();
        let named = members.map(|member| format!("{}={}", member.name(), member.peer_url()));
        named.collect::<Vec<_>>().join(",")
    }
}

fn path(path: &Path) -> String {
    path.to_str().expect("a temporary path is text").to_owned()
}

fn program(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
}
