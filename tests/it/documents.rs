//! What the documents point at is there.

use std::path::Path;
use std::process::Command;

use decant_tests::tiny::MODEL;
use decant_tests::{Operated, Standalone, Tiny, program};

#[test]
fn links_and_paths_in_the_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "deploy/README.md",
        "deploy/clients.md",
        "deploy/configuration.md",
        "deploy/errors.md",
        "deploy/inference-protocol.md",
        "deploy/jobs.md",
        "deploy/operations.md",
        "deploy/kubernetes.md",
        "deploy/laptop.md",
        "helm/decant/README.md",
    ];
    let runbooks = std::fs::read_dir(root.join("deploy/runbooks")).unwrap();
    let runbooks = runbooks.map(|page| {
        let page = page.unwrap().file_name();
        format!("deploy/runbooks/{}", page.to_str().unwrap())
    });
    for document in documents.map(str::to_owned).into_iter().chain(runbooks) {
        let document = document.as_str();
        let folder = root.join(document).parent().unwrap().to_owned();
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in
            targets.filter(|target| !target.starts_with("http") && !target.starts_with('#'))
        {
            let path = target.split('#').next().unwrap_or(target);
            assert!(folder.join(path).exists(), "{document} links to {target}");
        }
        // Paths in tables stand between backticks; those that begin with a folder of ours must exist.
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.trim_end_matches('/');
            let ours = ["services/", "proto/", "tests/", "deploy/", "helm/"]
                .iter()
                .any(|folder| path.starts_with(folder));
            if ours && !path.contains(' ') {
                assert!(root.join(path).exists(), "{document} names {quoted}");
            }
        }
    }
}

/// The client that deploy/clients.md shows, with messages generated as it says.
#[tokio::test(flavor = "multi_thread")]
async fn process_the_example_client_recommends() {
    let python = std::env::var("DECANT_PYTHON").expect("DECANT_PYTHON is not set; run `make test`");
    let protoc = std::env::var("PROTOC").unwrap_or_else(|_| "protoc".to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let generated = Command::new(protoc)
        .current_dir(&root)
        .args(["-I", "proto", "--python_out"])
        .arg(folder.path())
        .args([
            "proto/decant/scorer/v1/scorer.proto",
            "proto/decant/rollout/v1/rollout.proto",
        ])
        .output()
        .unwrap();
    assert!(generated.status.success(), "{generated:?}");

    let standalone = Standalone::start(&folder.path().join("data"));
    standalone.create_model().await;
    standalone.serve(&Tiny::new(0.25)).await;
    let address = standalone.address("scorer");
    let scorer = address.trim_start_matches("http://");
    // One that is not there is passed over.
    let scorers = format!("127.0.0.1:1,{scorer}");
    let output = Command::new(python)
        .env("PYTHONPATH", folder.path())
        .arg(root.join("deploy/examples/client.py"))
        .args([MODEL, &scorers, "user=1", "age=30"])
        .output()
        .unwrap();
    let (told, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{complained}");
    assert!(told.lines().count() > 1, "{told}");
    assert!(complained.contains("version 1"), "{complained}");
}

/// The reference of the configuration is what the programs say of themselves.
#[test]
fn process_the_configuration_reference_is_of_these_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/configuration.md");
    let written = std::fs::read_to_string(path).unwrap();
    let (introduction, _) = written.split_once("\n## ").unwrap();
    let mut expected = introduction.to_owned();
    for name in [
        "decant-trainer",
        "decant-registry",
        "decant-scorer",
        "decant-standalone",
    ] {
        let output = Command::new(program(name))
            .arg("--config-reference")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        expected.push('\n');
        expected.push_str(&String::from_utf8(output.stdout).unwrap());
    }
    assert!(
        written == expected,
        "deploy/configuration.md is not of these programs: `make reference` writes it anew"
    );
}
