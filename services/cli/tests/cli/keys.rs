//! `decant key`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::running::{decant, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_once_and_its_public_half_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signing.key");
    let generated = run(decant(&["key", "generate", text(&file)])).await;
    assert_eq!(generated.code, Some(0), "{}", generated.stderr);
    assert!(
        generated.stdout.starts_with("ed25519:") && generated.stdout.len() == 73,
        "{}",
        generated.stdout
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    assert!(secret.starts_with("decant-ed25519-secret:") && secret.len() == 87);

    let public = run(decant(&["key", "public", text(&file)])).await;
    assert_eq!(public.stdout, generated.stdout);

    let again = run(decant(&["key", "generate", text(&file)])).await;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("File exists"), "{}", again.stderr);
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        secret,
        "nothing is lost"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused_without_being_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signing.key");
    fs::write(&file, "decant-ed25519-secret:hunter2\n").unwrap();
    let ran = run(decant(&["key", "public", text(&file)])).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("is no secret key"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}
