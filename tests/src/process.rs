//! Decant as its users run it: processes, signals, exit codes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::movielens::datasets;
use crate::operated::Operated;

/// How long a process may take to start or to end in a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of this workspace's programs, which are built beside the tests.
pub fn programs() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().to_owned()
}

/// A program of this workspace.
pub fn program(name: &str) -> PathBuf {
    let program = programs().join(name);
    assert!(
        program.is_file(),
        "{} is not built; run `make test`",
        program.display()
    );
    program
}

/// Runs `decant` with its services at these addresses.
pub fn decant(addresses: &[(&str, String)], arguments: &[&str]) -> Output {
    decant_with(&[], addresses, arguments)
}

/// The same with these variables.
pub fn decant_with(
    variables: &[(&str, &str)],
    addresses: &[(&str, String)],
    arguments: &[&str],
) -> Output {
    let addresses = addresses
        .iter()
        .map(|(service, address)| (format!("DECANT_{}", service.to_uppercase()), address));
    Command::new(program("decant"))
        .args(arguments)
        .envs(variables.iter().copied())
        .envs(addresses)
        .output()
        .unwrap()
}

/// An address on loopback that nobody listens on now, and whose port the system gives to no connection.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Tests run side by side, in processes of their own.
        let place = std::process::id()
            .wrapping_mul(31)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (place % 20_000) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Runs a service that is to end by itself, with these variables.
pub fn run(name: &str, variables: &[(&str, &str)]) -> Output {
    Command::new(program(name))
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// A command that ends in running a program with these variables.
fn wrapped<N: AsRef<OsStr>, V: AsRef<OsStr>>(
    wrapper: &[&str],
    name: &str,
    variables: impl IntoIterator<Item = (N, V)>,
) -> Command {
    let mut command = Command::new(wrapper[0]);
    command
        .args(&wrapper[1..])
        .arg(program(name))
        .envs(variables);
    command
}

/// A running service, in a process of its own.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    /// What it said when it began to serve: `address` for a single service, `trainer`, `registry` and `scorer` for all
    /// in one.
    pub serving: Value,
}

impl Process {
    /// Starts a program with these variables, and waits until it serves.
    pub fn start<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        name: &str,
        arguments: &[&OsStr],
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut command = Command::new(program(name));
        command.args(arguments).envs(variables);
        Self::run(name, command)
    }

    /// The same within a command that ends in running the program named by its last argument.
    pub fn start_in<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        wrapper: &[&str],
        name: &str,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self::run(name, wrapped(wrapper, name, variables))
    }

    /// The same of a program that may end instead of serving: then this returns what it said.
    pub(crate) fn try_start_in<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        wrapper: &[&str],
        name: &str,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Vec<String>> {
        Self::try_run(name, wrapped(wrapper, name, variables))
    }

    /// Starts what this command runs, and waits until it serves.
    pub(crate) fn run(name: &str, command: Command) -> Self {
        Self::try_run(name, command).unwrap_or_else(|log| panic!("{name} did not serve: {log:#?}"))
    }

    fn try_run(name: &str, mut command: Command) -> Result<Self, Vec<String>> {
        let mut child = command
            .env("DECANT_LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        // Ends with the process: one that cannot start closes its log.
        let serving = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let event = serde_json::from_str::<Value>(&line)
                .ok()
                .filter(|event| event["message"] == "serving");
            log.lock().unwrap().push(line);
            event
        });
        let Some(serving) = serving else {
            // Fails when it has ended, as most have that close their log.
            let _ = child.kill();
            child.wait().unwrap();
            let said = log.lock().unwrap().clone();
            return Err(said);
        };
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            reader: Some(reader),
            serving,
        })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.serving["address"].as_str().unwrap().parse().unwrap()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// How it ended; none while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Sends a signal, waits for the end, and returns everything that was logged.
    pub fn end(mut self, signal: &str) -> (ExitStatus, Vec<String>) {
        self.signal(signal);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} does not end after SIG{signal}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// A figure of the process's memory from the kernel, such as `VmHWM`, in bytes.
    pub fn memory(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("no {figure} in {status}"));
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes << 10
    }

    /// How nice the threads of this name are to others: 0 is as usual, 19 the most.
    pub fn niceness(&self, thread: &str) -> Vec<i32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")));
        // One that has ended meanwhile has none.
        let stats = stats.filter_map(Result::ok).filter_map(|stat| {
            let (before, fields) = stat.rsplit_once(") ")?;
            let (_, name) = before.split_once('(')?;
            (name == thread).then(|| fields.split(' ').nth(16).unwrap().parse().unwrap())
        });
        stats.collect()
    }

    /// The time that its threads have had of the cores, to a hundredth of a second.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name may have blanks; the fields after it are numbered from 3.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let times = fields.split(' ').skip(11).take(2);
        let ticks: u64 = times.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Process {
    #[expect(
        clippy::print_stderr,
        reason = "a test that fails shows what its processes said"
    )]
    fn show_log(&self) {
        eprintln!("---- {} ----\n{}", self.name, self.log().join("\n"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

/// A running `decant-standalone` on ports that the system chose.
pub struct Standalone(Process);

impl Operated for Standalone {
    fn registry_address(&self, _place: usize) -> SocketAddr {
        self.socket("registry")
    }

    fn scorer_addresses(&self) -> Vec<SocketAddr> {
        vec![self.socket("scorer")]
    }
}

impl Standalone {
    /// Starts on a data folder and waits until it serves.
    pub fn start(data: &Path) -> Self {
        let datasets = datasets();
        let arguments = [
            "--data".as_ref(),
            data.as_os_str(),
            "--datasets".as_ref(),
            datasets.as_os_str(),
        ];
        let listen = ["TRAINER", "REGISTRY", "SCORER"]
            .map(|name| (format!("DECANT_LISTEN__{name}"), "127.0.0.1:0"));
        Self(Process::start("decant-standalone", &arguments, listen))
    }

    /// The same on one core only, with these variables.
    pub fn start_on_core(core: usize, data: &Path, variables: &[(&str, &str)]) -> Self {
        let script = format!(
            "exec taskset --cpu-list {core} \"$0\" --data '{}' --datasets '{}'",
            data.display(),
            datasets().display()
        );
        let listen = ["TRAINER", "REGISTRY", "SCORER"]
            .map(|name| (format!("DECANT_LISTEN__{name}"), "127.0.0.1:0".to_owned()));
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let wrapper = ["sh", "-c", &script];
        Self(Process::start_in(
            &wrapper,
            "decant-standalone",
            listen.into_iter().chain(variables),
        ))
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.0
    }

    /// Where a service listens.
    pub fn address(&self, service: &str) -> String {
        format!("http://{}", self.0.serving[service].as_str().unwrap())
    }

    fn socket(&self, service: &str) -> SocketAddr {
        self.0.serving[service].as_str().unwrap().parse().unwrap()
    }

    /// Runs `decant` against this standalone.
    pub fn decant(&self, arguments: &[&str]) -> Output {
        let addresses =
            ["trainer", "registry", "scorer"].map(|service| (service, self.address(service)));
        decant(&addresses, arguments)
    }

    /// Sends a signal by its name, waits for the end, and returns everything that was logged.
    pub fn end(self, signal: &str) -> (ExitStatus, Vec<String>) {
        self.0.end(signal)
    }
}
