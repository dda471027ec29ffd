//! Decant as its users run it: processes, signals, exit codes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::movielens::datasets;

/// How long a process may take to start or to end in a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program of this workspace, built beside the tests.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.ancestors().nth(2).unwrap();
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is not built; run `make test`",
        program.display()
    );
    program
}

/// A running `decant-standalone` on ports that the system chose.
pub struct Standalone {
    child: Child,
    log: Option<JoinHandle<Vec<String>>>,
    /// What it said when it began to serve: `trainer`, `registry` and `scorer` are its addresses.
    pub serving: Value,
}

impl Standalone {
    /// Starts on a data folder and waits until it serves.
    pub fn start(data: &Path) -> Self {
        let mut child = Command::new(program("decant-standalone"))
            .arg("--data")
            .arg(data)
            .arg("--datasets")
            .arg(datasets())
            .envs(
                ["TRAINER", "REGISTRY", "SCORER"]
                    .map(|name| (format!("DECANT_LISTEN__{name}"), "127.0.0.1:0")),
            )
            .env("DECANT_LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        // Ends with the process: a standalone that cannot start closes its log.
        let serving = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let event = serde_json::from_str::<Value>(&line)
                .ok()
                .filter(|event| event["message"] == "serving");
            said.push(line);
            event
        });
        let serving =
            serving.unwrap_or_else(|| panic!("decant-standalone did not serve: {said:#?}"));
        let log = std::thread::spawn(move || lines.map_while(Result::ok).collect());
        Self {
            child,
            log: Some(log),
            serving,
        }
    }

    /// Runs `decant` against this standalone.
    pub fn decant(&self, arguments: &[&str]) -> Output {
        let address = |name: &str| format!("http://{}", self.serving[name].as_str().unwrap());
        Command::new(program("decant"))
            .args(arguments)
            .envs(
                ["trainer", "registry", "scorer"]
                    .map(|name| (format!("DECANT_{}", name.to_uppercase()), address(name))),
            )
            .output()
            .unwrap()
    }

    /// Sends a signal by its name, waits for the end, and returns what was logged since it served.
    pub fn end(mut self, signal: &str) -> (ExitStatus, Vec<String>) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "decant-standalone does not end after SIG{signal}"
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        (status, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
