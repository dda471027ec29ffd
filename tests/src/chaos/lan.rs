//! A network of the run's own: a namespace for each host, joined by a switch, which has a namespace too, so that nothing that
//! this machine filters or forwards gets in the way. The test itself is the cluster's client, with an address on the switch.
//!
//! Whatever becomes of the test, also when it is killed, a process that waits for its end ends all that runs in these
//! namespaces and deletes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::schedule::{Host, SCORERS};

/// Waits for the end of the test, and cleans up. The arguments are the mounted disk, the test's link, and the namespaces.
const CLEAN_UP: &str = r#"
cat >/dev/null
disk=$1 link=$2
shift 2
for namespace in "$@"; do
  for id in $(ip netns pids "$namespace"); do kill -KILL "$id"; done
done
umount --lazy "$disk"
ip link delete "$link"
for namespace in "$@"; do ip netns delete "$namespace"; done
"#;

/// The cluster's network. It is gone when this is dropped, with all that runs in it and the disk.
pub(crate) struct Lan {
    /// What all names of this run begin with.
    run: String,
    /// The first three numbers of all addresses.
    subnet: [u8; 3],
    janitor: Child,
}

impl Lan {
    /// Makes the network, and mounts a disk of so many mebibytes on a folder.
    pub(crate) fn start(disk: &Path, mebibytes: u64) -> Self {
        let run = format!("dc{}", std::process::id());
        let lan = Self {
            subnet: free_subnet(),
            janitor: janitor(&run, disk),
            run,
        };
        lan.make();
        let size = format!("size={mebibytes}m");
        let mounted = output("mount", &["-t", "tmpfs", "-o", &size, "none", text(disk)]);
        mounted.unwrap_or_else(|reason| panic!("no disk could be mounted: {reason}"));
        lan
    }

    fn make(&self) {
        let (switch, link, client) = (switch(&self.run), &self.run, self.client());
        if let Err(reason) = output("ip", &["netns", "add", &switch]) {
            panic!(
                "this test makes network namespaces, and could not: {reason}. Run it as root with the right to administer \
                 the network (in a container: --privileged), and with what `deploy/bootstrap.sh chaos` brings"
            );
        }
        ip(&format!("-n {switch} link add bridge type bridge"));
        ip(&format!("-n {switch} link set bridge up"));
        ip(&format!(
            "link add {link} type veth peer name test netns {switch}"
        ));
        ip(&format!("-n {switch} link set test master bridge up"));
        ip(&format!("addr add {client}/24 dev {link}"));
        ip(&format!("link set {link} up"));
        for host in Host::all() {
            let (namespace, address) = (self.namespace(host), self.address(host));
            ip(&format!("netns add {namespace}"));
            ip(&format!(
                "-n {namespace} link add eth0 type veth peer name {host} netns {switch}"
            ));
            ip(&format!("-n {switch} link set {host} master bridge up"));
            ip(&format!("-n {namespace} addr add {address}/24 dev eth0"));
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} link set eth0 up"));
        }
    }

    /// The test's own address.
    fn client(&self) -> Ipv4Addr {
        self.numbered(1)
    }

    fn address(&self, host: Host) -> Ipv4Addr {
        let (group, place) = match host {
            Host::Etcd(place) => (10, place),
            Host::Registry(place) => (20, place),
            Host::Scorer(place) => (30, place),
            Host::Trainer => (40, 0),
            Host::Objects => (50, 0),
        };
        self.numbered(group + place as u8)
    }

    /// Where others reach a port of a host.
    pub(crate) fn socket(&self, host: Host, port: u16) -> SocketAddr {
        SocketAddr::from((self.address(host), port))
    }

    fn numbered(&self, number: u8) -> Ipv4Addr {
        let [first, second, third] = self.subnet;
        Ipv4Addr::new(first, second, third, number)
    }

    /// The name of a host's namespace.
    pub(crate) fn namespace(&self, host: Host) -> String {
        namespace(&self.run, host)
    }

    /// The file of a host's namespace.
    pub(crate) fn namespace_file(&self, host: Host) -> PathBuf {
        Path::new("/run/netns").join(self.namespace(host))
    }

    /// Cuts a host off from all others, or joins it again.
    pub(crate) fn isolate(&self, host: Host, cut: bool) {
        self.filter(host, cut, "INPUT -i eth0");
        self.filter(host, cut, "OUTPUT -o eth0");
    }

    /// Cuts the way between two hosts, or mends it.
    pub(crate) fn part(&self, host: Host, other: Host, cut: bool) {
        self.part_from(host, self.address(other), cut);
    }

    /// Cuts the way between the test and all scorers, or mends it.
    pub(crate) fn part_clients(&self, cut: bool) {
        for scorer in 0..SCORERS {
            self.part_from(Host::Scorer(scorer), self.client(), cut);
        }
    }

    fn part_from(&self, host: Host, address: Ipv4Addr, cut: bool) {
        self.filter(host, cut, &format!("INPUT -s {address}"));
        self.filter(host, cut, &format!("OUTPUT -d {address}"));
    }

    /// Packets are dropped without a word, as by a network that is broken: who waits for an answer waits.
    fn filter(&self, host: Host, cut: bool, rule: &str) {
        let (namespace, verb) = (self.namespace(host), if cut { "-I" } else { "-D" });
        ip(&format!(
            "netns exec {namespace} iptables --wait {verb} {rule} -j DROP"
        ));
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // The janitor waits for the end of what it reads.
        drop(self.janitor.stdin.take());
        // That it ended otherwise cannot be helped here.
        let _ = self.janitor.wait();
    }
}

/// Starts who cleans up when this process ends, or when its input is closed.
fn janitor(run: &str, disk: &Path) -> Child {
    let namespaces = Host::all().into_iter().map(|host| namespace(run, host));
    Command::new("sh")
        .args(["-c", CLEAN_UP, "janitor", text(disk), run])
        .args(namespaces)
        .arg(switch(run))
        // What is meant for the test, such as Control-C or the end of its time, is not meant for who cleans up after it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn switch(run: &str) -> String {
    format!("{run}-switch")
}

fn namespace(run: &str, host: Host) -> String {
    format!("{run}-{host}")
}

/// The first three numbers of addresses that nobody has: of those that are set aside for measurements.
fn free_subnet() -> [u8; 3] {
    let first = std::process::id() as u8;
    let mut subnets = (0..=u8::MAX).map(|further| [198, 18, first.wrapping_add(further)]);
    let free = subnets.find(|[a, b, c]| {
        let net = format!("{a}.{b}.{c}.0/24");
        let taken = output("ip", &["-4", "-o", "addr", "show", "to", &net]);
        taken.is_ok_and(|told| told.is_empty())
    });
    free.expect(
        "198.18.0.0/16 is not free here, or there is no `ip`: run `deploy/bootstrap.sh chaos`",
    )
}

/// Runs `ip` with these words.
fn ip(words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    output("ip", &words).unwrap_or_else(|reason| panic!("ip {}: {reason}", words.join(" ")));
}

/// What a program prints; or what it complains of.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
