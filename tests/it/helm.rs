//! The Helm chart. Its tests are written for pytest, beside it; they render it as Helm does.

use std::path::Path;
use std::process::Command;

#[test]
fn process_the_charts_own_tests_pass() {
    let python = std::env::var("DECANT_HELM_PYTHON")
        .expect("DECANT_HELM_PYTHON is not set; run `make test`");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/tests");
    let output = Command::new(python)
        // Nothing is left in the checkout.
        .args(["-B", "-m", "pytest", "--quiet", "--color=no"])
        .current_dir(tests)
        // The services are asked whether they take what the chart writes for them.
        .env("DECANT_PROGRAMS", decant_tests::programs())
        .env_remove("DECANT_UPDATE_GOLDEN")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
