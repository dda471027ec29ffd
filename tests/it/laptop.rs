//! A cluster on one machine: in containers by deploy/compose.yaml, and as plain processes by deploy/local/up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use decant_tests::{datasets, program, programs};
use serde_json::Value;

/// How long the processes may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

/// Reads YAML as engines do, with anchors and merges, by the library that the S3 server of the tests brings.
fn yaml(file: &str) -> Value {
    let server = std::env::var_os("DECANT_S3_SERVER").expect("run `make test`");
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = Command::new(Path::new(&server).with_file_name("python"))
        .args(["-c", script])
        .arg(deploy(file))
        .output()
        .unwrap();
    serde_json::from_str(&succeeded(&output)).unwrap()
}

fn succeeded(output: &Output) -> String {
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {printed}{said}",
        output.status
    );
    printed
}

fn strings(list: &Value) -> Vec<&str> {
    let strings = list.as_array().into_iter().flatten();
    strings.map(|text| text.as_str().unwrap()).collect()
}

/// Those services of deploy/compose.yaml that run an image of ours, each with the image's name.
fn ours(compose: &Value) -> Vec<(&str, &str, &Value)> {
    let services = compose["services"].as_object().unwrap();
    let ours = services.iter().filter_map(|(name, service)| {
        let image = service["image"].as_str()?.strip_prefix("decant-")?;
        Some((name.as_str(), image.split(':').next()?, service))
    });
    ours.collect()
}

/// How a program would be configured in a service of deploy/compose.yaml.
fn configured(image: &str, service: &Value) -> String {
    let folder = std::env::temp_dir();
    let variables = service["environment"].as_object().unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| (name, value.as_str().unwrap()));
    let output = Command::new(program(&format!("decant-{image}")))
        .arg("--dump-config")
        .env_clear()
        // What the image says.
        .env(
            "ORT_DYLIB_PATH",
            std::env::var_os("ORT_DYLIB_PATH").unwrap(),
        )
        .envs((image == "trainer").then_some(("DECANT_TRAINER__DATASETS", folder)))
        .envs(variables)
        .output()
        .unwrap();
    succeeded(&output)
}

#[test]
fn the_compose_file_says_nothing_that_the_services_do_not_know() {
    let compose = yaml("compose.yaml");
    let ours = ours(&compose);
    let mut images: Vec<&str> = ours.iter().map(|(_, image, _)| *image).collect();
    images.sort_unstable();
    let expected = ["registry", "registry", "scorer", "scorer", "trainer"];
    assert_eq!(images, expected);

    for (name, image, service) in ours {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(service["image"], format!("decant-{image}:{version}"));
        assert_eq!(service["build"]["target"], image, "{name}");
        assert_eq!(service["user"], "65532:65532", "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");

        // Unknown keys are refused.
        let config = configured(image, service);
        let millis = |key: &str| {
            let line = config.lines().find_map(|line| line.strip_prefix(key));
            let value = line.and_then(|rest| rest.strip_prefix(" = ")).unwrap();
            value.parse::<u64>().unwrap()
        };
        // Calls, and then tasks, may take as long as their patience.
        let drains = millis("propagation_millis") + 2 * millis("patience_millis");
        let grace = service["stop_grace_period"].as_str().unwrap();
        let grace: u64 = grace.strip_suffix('s').unwrap().parse().unwrap();
        assert!(grace * 1000 > drains, "{name}: {grace} s for {drains} ms");
    }
}

#[test]
fn the_compose_file_names_what_there_is_and_lets_nobody_in() {
    let compose = yaml("compose.yaml");
    let volumes = compose["volumes"].as_object().unwrap();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        for volume in strings(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(file) => assert!(deploy(file).exists(), "{name}: {volume}"),
                None if source.starts_with("${") => {}
                None => assert!(volumes.contains_key(source), "{name}: {volume}"),
            }
        }
    }

    // The etcd that the chart runs, too.
    let etcd = services["etcd"]["image"].as_str().unwrap();
    let (_, tag) = etcd.rsplit_once(':').unwrap();
    let chart = std::fs::read_to_string(deploy("../helm/decant/values.yaml")).unwrap();
    assert!(chart.contains(&format!("tag: {tag}\n")), "{etcd}");

    let prometheus = yaml("prometheus/prometheus.yml");
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let mut scraped: Vec<&str> = jobs
        .iter()
        .flat_map(|job| job["static_configs"].as_array().unwrap())
        .flat_map(|group| strings(&group["targets"]))
        .collect();
    for target in &scraped {
        let host = target.split(':').next().unwrap();
        assert!(services.contains_key(host), "{target}");
    }
    let ports = BTreeMap::from([("registry", 9420), ("scorer", 9430), ("trainer", 9410)]);
    for (name, image, _) in ours(&compose) {
        let endpoint = format!("{name}:{}", ports[image]);
        assert!(scraped.contains(&endpoint.as_str()), "{endpoint}");
        scraped.retain(|target| *target != endpoint);
    }
    let checked = Command::new("promtool")
        .args(["check", "config"])
        .arg(deploy("prometheus/prometheus.yml"))
        .output()
        .unwrap();
    succeeded(&checked);

    // The collector: what its pipelines name is there, and it listens where the services send.
    let collector = yaml("otel-collector.yaml");
    let pipelines = collector["service"]["pipelines"].as_object().unwrap();
    for (signal, pipeline) in pipelines {
        for kind in ["receivers", "processors", "exporters"] {
            for part in strings(&pipeline[kind]) {
                let known = collector[kind].as_object().unwrap();
                assert!(known.contains_key(part), "{signal}: {part}");
            }
        }
    }
    let listens = &collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"];
    let port = listens.as_str().unwrap().rsplit(':').next().unwrap();
    for (name, _, service) in ours(&compose) {
        let endpoint = &service["environment"]["DECANT_TELEMETRY__OTLP_ENDPOINT"];
        assert_eq!(endpoint, &format!("http://collector:{port}"), "{name}");
    }
}

/// `deploy/local/up`, which is stopped when this is dropped.
struct Local {
    script: Child,
    folder: tempfile::TempDir,
    /// What it says a context must hold: registry, trainer and scorer.
    addresses: BTreeMap<String, String>,
}

impl Local {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut script = Command::new(deploy("local/up"))
            .arg("--free-ports")
            .env("BIN", programs())
            .env("DATA", folder.path())
            .env("DECANT_DATASETS", datasets())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = Vec::new();
        // Closed when the script ends.
        let lines = BufReader::new(script.stdout.take().unwrap()).lines();
        for line in lines.map(Result::unwrap) {
            let is_ready = line.contains("ready");
            told.push(line);
            if is_ready {
                break;
            }
        }
        let context = told
            .iter()
            .find_map(|line| line.split_once("context set local "))
            .unwrap_or_else(|| panic!("no context in {told:#?}"));
        let addresses = context.1.split_whitespace().map(|pair| {
            let (service, address) = pair.split_once('=').unwrap();
            (service.to_owned(), address.to_owned())
        });
        let addresses = addresses.collect();
        Self {
            script,
            folder,
            addresses,
        }
    }

    fn decant(&self, arguments: &[&str]) -> String {
        let output = Command::new(program("decant"))
            .args(arguments)
            .env("DECANT_CONFIG", self.folder.path().join("config.toml"))
            .output()
            .unwrap();
        succeeded(&output)
    }

    fn terminate(&mut self) {
        let kill = Command::new("kill")
            .args(["-TERM", &self.script.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// What still runs of it, by the variable that all of its processes have.
    fn left(&self) -> Vec<String> {
        let ours = format!("DATA={}", self.folder.path().display());
        let processes = std::fs::read_dir("/proc").unwrap().map(Result::unwrap);
        let left = processes.filter(|process| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == ours.as_bytes())
        });
        left.map(|process| {
            let program = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{}: {}", process.path().display(), program.trim())
        })
        .collect()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Its processes are told when it is gone. Fails when it has ended, which is what is wanted.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn process_a_cluster_of_plain_processes_starts_answers_and_leaves_nothing_behind() {
    let mut local = Local::start();
    let pairs = local.addresses.iter();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    let mut set = vec!["context", "set", "local"];
    set.extend(pairs.iter().map(String::as_str));
    local.decant(&set);
    local.decant(&["context", "use", "local"]);

    local.decant(&["wait", "scorers", "--for=live=2", "--timeout=30s"]);
    let status = local.decant(&["status"]);
    assert_eq!(status.matches("SERVING").count(), 3, "{status}");
    let doctor = local.decant(&["doctor"]);
    assert!(
        doctor.contains("2 live") && doctor.contains("leads"),
        "{doctor}"
    );
    assert_eq!(
        local.left().len(),
        7,
        "the script and six processes: {:?}",
        local.left()
    );

    // The health checks of deploy/compose.yaml, at the addresses here.
    let compose = yaml("compose.yaml");
    for (_, image, service) in ours(&compose) {
        let check = strings(&service["healthcheck"]["test"]);
        assert_eq!(check[..2], ["CMD", "/usr/local/bin/decant"]);
        let address = local.addresses[image].split(',').next().unwrap();
        let check: Vec<&str> = check[2..]
            .iter()
            .copied()
            .map(|part| {
                if part.starts_with("http://") {
                    address
                } else {
                    part
                }
            })
            .collect();
        assert!(check.contains(&address), "{check:?}");
        local.decant(&check);
    }

    local.terminate();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = local.script.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "deploy/local/up does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
    assert_eq!(local.left(), Vec::<String>::new());
}
