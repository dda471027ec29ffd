//! What the documents point at is there.

use std::path::Path;

#[test]
fn links_and_paths_in_the_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "deploy/README.md",
        "deploy/inference-protocol.md",
        "deploy/kubernetes.md",
        "helm/decant/README.md",
    ] {
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
