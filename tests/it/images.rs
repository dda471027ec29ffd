//! The images: what deploy/Dockerfile promises, and containers of them that serve.

use std::path::Path;
use std::process::Output;

use decant_chassis::client::channel;
use decant_coordination::testing::Etcd;
use decant_tests::{Images, Process, Reach, eventually};
use serde_json::Value;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Each image with the ports that it serves and tells its metrics on.
const SERVICES: [(&str, u16, u16); 3] = [
    ("registry", 7420, 9420),
    ("scorer", 7430, 9430),
    ("trainer", 7410, 9410),
];

/// On ports that the system chooses, since all share this machine's network here.
const ANYWHERE: [(&str, &str); 2] = [
    ("DECANT_LISTEN", "127.0.0.1:0"),
    ("DECANT_TELEMETRY__METRICS_LISTEN", "127.0.0.1:0"),
];

fn dockerfile() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/Dockerfile");
    std::fs::read_to_string(path).unwrap()
}

/// Stages of the Dockerfile, each with what follows its FROM.
fn stages(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\nFROM ").skip(1).map(|stage| {
        let (head, body) = stage.split_once('\n').unwrap_or((stage, ""));
        (head.rsplit(' ').next().unwrap_or(head), body)
    })
}

fn succeeded(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_dockerfile_has_no_pins_of_its_own_and_needs_no_shell() {
    let text = dockerfile();
    for (name, body) in stages(&text) {
        let lines = || body.lines().map(str::trim_start);
        // A base without a shell runs no commands; where there are some, they are programs with their arguments.
        let runs: Vec<&str> = lines().filter(|line| line.starts_with("RUN")).collect();
        if name == "compile" {
            assert!(!runs.is_empty() && runs.iter().all(|run| run.starts_with("RUN [\"")));
        } else {
            assert_eq!(runs, Vec::<&str>::new(), "in {name}");
        }
        let entries =
            lines().filter(|line| line.starts_with("ENTRYPOINT") || line.starts_with("CMD"));
        for entry in entries {
            assert!(
                entry.contains("[\"/usr/local/bin/decant"),
                "{name}: {entry}"
            );
        }
    }
    // ONNX Runtime's version and digest stand in bootstrap.sh, and nowhere else.
    assert!(text.contains("RUN [\"deploy/bootstrap.sh\", \"build\", \"runtime\"]"));
    assert!(!text.to_lowercase().contains("sha256"));

    let version = concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"), "\n");
    assert!(text.contains(version), "{version}");
    let rust = concat!("rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
    assert!(text.contains(rust), "{rust}");
}

#[tokio::test(flavor = "multi_thread")]
async fn process_the_images_run_without_root_and_with_nothing_to_write_to() {
    let images = Images::build(&SERVICES.map(|(name, _, _)| name));
    let containers = SERVICES.map(|(name, _, _)| images.container(name));

    for ((name, port, metrics), container) in SERVICES.into_iter().zip(&containers) {
        let config = images.config(name);
        assert_eq!(config["User"], "65532:65532", "{config}");
        assert_eq!(config["StopSignal"], "SIGTERM", "{config}");
        assert_eq!(config["WorkingDir"], "/var/lib/decant", "{config}");
        assert_eq!(config["Cmd"], Value::Null, "{config}");
        assert_eq!(config["Healthcheck"], Value::Null, "{config}");
        let exposed = config["ExposedPorts"].as_object().unwrap();
        let exposed: Vec<&String> = exposed.keys().collect();
        assert_eq!(exposed, [&format!("{port}/tcp"), &format!("{metrics}/tcp")]);
        let label = |key: &str| &config["Labels"][format!("org.opencontainers.image.{key}")];
        assert_eq!(label("title"), &format!("decant-{name}"));
        assert_eq!(label("licenses"), "Apache-2.0");
        assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
        assert_ne!(label("revision"), "");
        // What the volume begins as.
        let state = container.root().join("var/lib/decant");
        let state = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(state).unwrap());
        assert_eq!(state, 65_532);

        let version = container.run(Reach::Nothing, &["--version"], &[]);
        let expected = concat!(" ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(succeeded(&version), format!("decant-{name}{expected}"));
        // All of what it must be told; the rest the image knows.
        let told: &[_] = match name {
            "trainer" => &[],
            _ => &[
                ("DECANT_STORE__ENDPOINTS", "[\"http://etcd:2379\"]"),
                ("DECANT_BUNDLES__URL", "s3://models/decant"),
            ],
        };
        let dumped = succeeded(&container.run(Reach::Nothing, &["--dump-config"], told));
        for line in [
            format!("listen = \"0.0.0.0:{port}\""),
            format!("metrics_listen = \"0.0.0.0:{metrics}\""),
            "format = \"json\"".to_owned(),
        ] {
            assert!(dumped.contains(&line), "{line} is not in {dumped}");
        }
    }

    // A cluster of them, on an etcd of this machine.
    let etcd = Etcd::single().await;
    let endpoints = format!("{:?}", etcd.endpoints());
    let stores = [
        ("DECANT_STORE__ENDPOINTS", endpoints.as_str()),
        ("DECANT_BUNDLES__URL", "file:///var/lib/decant/bundles"),
    ];
    let [in_registry, in_scorer, in_trainer] = &containers;
    let registry = in_registry.start(&[ANYWHERE.as_slice(), &stores].concat());
    let scorer = in_scorer.start(&[ANYWHERE.as_slice(), &stores].concat());
    let address = format!("http://{}", registry.address());
    let told = [("DECANT_TRAINER__REGISTRY", address.as_str())];
    let trainer = in_trainer.start(&[ANYWHERE.as_slice(), &told].concat());
    for process in [&registry, &scorer, &trainer] {
        serves(process).await;
    }

    // As a health check of a container engine asks: by the program that lies beside the service's.
    let asked = in_registry.exec(&[
        "/usr/local/bin/decant",
        "--registry",
        &address,
        "wait",
        "scorers",
        "--for=live=1",
        "--timeout=30s",
    ]);
    succeeded(&asked);

    for process in [trainer, scorer, registry] {
        let (status, log) = process.end("TERM");
        assert!(status.success(), "{status}: {log:#?}");
    }
}

/// Waits until a process says that it serves, as a probe of Kubernetes asks.
async fn serves(process: &Process) {
    let address = format!("http://{}", process.address());
    let client = HealthClient::new(channel("service", &address).unwrap());
    eventually("the container serves", || {
        let mut client = client.clone();
        async move {
            match client.check(HealthCheckRequest::default()).await {
                Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }
    })
    .await;
}
