//! `decant generate`: what is made from the command line's own words.

use std::fs;
use std::path::Path;

use crate::running::{decant, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_reference_is_that_of_this_command() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/decant.md");
    let generated = run(decant(&["generate", "reference"])).await;
    assert_eq!((generated.code, generated.stderr.as_str()), (Some(0), ""));
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == generated.stdout,
        "deploy/decant.md is not of this command: `decant generate reference > deploy/decant.md` writes it anew"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let ran = run(decant(&["generate", "man", text(&pages)])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for (page, words) in [
        ("decant.1", "Exit codes"),
        ("decant-slot-set.1", "generation"),
        ("decant-wait.1", "converged"),
        ("decant-context-set.1", "KEY=VALUE"),
    ] {
        let page = fs::read_to_string(pages.join(page)).unwrap();
        assert!(page.contains(words), "{page}");
    }
    assert!(!pages.join("decant-generate.1").exists(), "it is hidden");
}
