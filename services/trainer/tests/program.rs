//! The program's configuration, as its users meet it.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::process::{Command, Output};

fn trainer(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_decant-trainer"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_dump_config_prints_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = folder.path().join("libonnxruntime.so");
    std::fs::write(&runtime, "").unwrap();
    let variables = [
        ("ORT_DYLIB_PATH", runtime.to_str().unwrap()),
        ("DECANT_TRAINER__DATASETS", folder.path().to_str().unwrap()),
        ("DECANT_TRAINER__QUEUE", "3"),
    ];
    let dumped = trainer(&variables, &["--dump-config"]);
    assert!(dumped.status.success(), "{}", text(&dumped.stderr));
    let file = folder.path().join("trainer.toml");
    std::fs::write(&file, &dumped.stdout).unwrap();
    let again = trainer(&[], &["--config", file.to_str().unwrap(), "--dump-config"]);
    assert_eq!(text(&again.stdout), text(&dumped.stdout));
    assert!(text(&again.stdout).contains("queue = 3"));
}

#[test]
fn a_bad_key_ends_it_with_64_before_anything_starts() {
    let bad = trainer(&[("DECANT_TRAINER__QUEU", "3")], &[]);
    assert_eq!(bad.status.code(), Some(64));
    assert!(text(&bad.stderr).contains("queu"), "{}", text(&bad.stderr));
}
