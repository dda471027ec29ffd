//! The program's configuration, as its users give it.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn standalone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decant-standalone"));
    command.env_remove("DECANT_DATASETS");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bad_configuration_exits_64_and_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("decant.toml");
    let datasets = format!("datasets = {:?}\n", folder.path());
    let cases = [
        (format!("{datasets}job_queue = 0"), "job_queue"),
        (format!("{datasets}job_quue = 1"), "job_quue"),
        (
            format!("{datasets}[scorer]\nmax_rows = \"many\""),
            "scorer.max_rows",
        ),
        (format!("{datasets}[log]\nfilter = \"=loud=\""), "=loud="),
        ("datasets = \"/nonexistent\"".to_owned(), "/nonexistent"),
        (String::new(), "datasets"),
        ("listen = ".to_owned(), "decant.toml"),
    ];
    for (text_of_config, named) in cases {
        std::fs::write(&config, &text_of_config).unwrap();
        let data = folder.path().join("data");
        let output = standalone()
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(&data)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(64),
            "{text_of_config}: {}",
            text(&output.stderr)
        );
        assert!(
            text(&output.stderr).contains(named),
            "{text_of_config}: {}",
            text(&output.stderr)
        );
        assert!(
            !data.exists(),
            "nothing is made before the configuration is known to be good"
        );
    }
}

#[test]
fn the_configuration_that_is_dumped_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let dump = |config: Option<&Path>| -> String {
        let mut command = standalone();
        command
            .arg("--datasets")
            .arg(folder.path())
            .arg("--dump-config");
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        assert!(status.success(), "{}", text(&stderr));
        text(&stdout)
    };
    let first = dump(None);
    let config = folder.path().join("decant.toml");
    std::fs::write(&config, &first).unwrap();
    assert_eq!(dump(Some(&config)), first);
}
