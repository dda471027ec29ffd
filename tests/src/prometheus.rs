//! A real Prometheus, as Debian has it, and its tool.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fetch;

/// How often it scrapes, and how often it evaluates rules.
const OFTEN: &str = "500ms";
/// Why a program may be missing.
const HOW: &str = "deploy/bootstrap.sh prometheus brings it; `make test` does that";

/// Where Decant keeps what an operator gives to Prometheus and Grafana.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Runs `promtool`.
pub fn promtool(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    let output = Command::new("promtool").args(arguments).output();
    output.unwrap_or_else(|error| panic!("promtool: {error}; {HOW}"))
}

/// Panics unless `promtool` takes all of these for expressions.
pub fn check_expressions<'a>(expressions: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let rules: Vec<Value> = expressions
        .into_iter()
        .enumerate()
        .map(|(place, (origin, expression))| {
            // No two have the same name, which would be an error of its own.
            json!({"record": format!("checked:n{place}"), "expr": expression, "labels": {"origin": origin}})
        })
        .collect();
    assert!(!rules.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checked.yml");
    // Whatever is JSON is YAML.
    let groups = json!({"groups": [{"name": "checked", "rules": rules}]});
    std::fs::write(&file, groups.to_string()).unwrap();
    let output = promtool([OsStr::new("check"), OsStr::new("rules"), file.as_os_str()]);
    assert!(
        output.status.success(),
        "{}{}\n{groups:#}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One series of an answer.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its labels, the name of the metric among them, if it has one.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A running Prometheus, which evaluates Decant's rules.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    /// Its database goes with it.
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these processes, each by the name of its job, on loopback and a port of the system's choice.
    pub fn start(targets: &[(&str, SocketAddr)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut addresses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (job, address) in targets {
            addresses.entry(job).or_default().push(address.to_string());
        }
        let jobs = addresses.into_iter().map(|(job, addresses)| {
            let targets = json!({"targets": addresses, "labels": {"namespace": "test"}});
            json!({"job_name": job, "static_configs": [targets]})
        });
        let jobs: Vec<Value> = jobs.collect();
        let rules = deploy().join("prometheus/rules/decant.yml");
        let config = json!({
            "global": {"scrape_interval": OFTEN, "evaluation_interval": OFTEN},
            "rule_files": [rules.canonicalize().unwrap()],
            "scrape_configs": jobs,
        });
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let child = Command::new("prometheus")
            .arg("--web.listen-address=127.0.0.1:0")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("prometheus: {error}; {HOW}"));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        let listening = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let address = listening_on(&line);
            log.push(line);
            address
        });
        let address = listening.unwrap_or_else(|| panic!("Prometheus did not start: {log:#?}"));
        // Ends with the process, which would stand still if nobody read what it says.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    /// Evaluates an expression now.
    ///
    /// # Errors
    /// What it says when it cannot, or not yet.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, String> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let data = self.get(&path).await?;
        let samples = data["result"].as_array().into_iter().flatten();
        let sample = |sample: &Value| {
            let labels = sample["metric"].as_object()?.iter();
            let labels = labels
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
            Some(Sample {
                labels: labels.collect(),
                value: sample["value"][1].as_str()?.parse().ok()?,
            })
        };
        Ok(samples.filter_map(sample).collect())
    }

    /// Evaluates an expression that has one value now.
    ///
    /// # Errors
    /// When it has none, or several.
    pub async fn value(&self, expression: &str) -> Result<f64, String> {
        match &*self.query(expression).await? {
            [sample] => Ok(sample.value),
            samples => Err(format!("{expression}: {samples:?}")),
        }
    }

    /// Asks its API for something, such as `/api/v1/rules`.
    ///
    /// # Errors
    /// What it says when it cannot, or not yet.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = fetch(self.address, path)
            .await
            .map_err(|error| error.to_string())?;
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| answer.clone())?;
        let body: Value =
            serde_json::from_str(body).map_err(|error| format!("{error}: {answer}"))?;
        if body["status"] == "success" {
            Ok(body["data"].clone())
        } else {
            Err(body.to_string())
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the line of the log that says on which one it listens.
fn listening_on(line: &str) -> Option<SocketAddr> {
    if !line.contains("\"Listening on\"") {
        return None;
    }
    let mut words = line.split_whitespace();
    let address = words.find_map(|word| word.strip_prefix("address="))?;
    address.parse().ok()
}

/// A text as part of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
