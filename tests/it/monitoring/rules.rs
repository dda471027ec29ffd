//! Rules: they parse, they fire when they should and only then, and each alert is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::Output;

use decant_tests::prometheus::{deploy, promtool};

use super::{check_metrics, documented, files, read, words};

/// Runs a command of promtool on all YAML files of a folder.
fn on_all(command: &str, folder: &str) -> Output {
    let folder = deploy().join("prometheus").join(folder);
    let paths = files(&folder, "yml")
        .into_iter()
        .map(|(name, _)| folder.join(name).with_extension("yml").into_os_string());
    let arguments: Vec<OsString> = [command.into(), "rules".into()]
        .into_iter()
        .chain(paths)
        .collect();
    promtool(arguments)
}

fn check(output: &Output) {
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}{}", said[0], said[1]);
    // Lints are told, and fail nothing.
    assert!(!said[1].contains("FAILED"), "{}{}", said[0], said[1]);
}

/// Each alert with the text of its rules.
fn alerts() -> BTreeMap<String, Vec<String>> {
    let mut alerts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, text) in files(&deploy().join("prometheus/rules"), "yml") {
        for rule in text.split("- alert: ").skip(1) {
            let (name, rest) = rule.split_once('\n').unwrap();
            alerts
                .entry(name.trim().to_owned())
                .or_default()
                .push(rest.to_owned());
        }
    }
    alerts
}

#[test]
fn the_rules_parse() {
    check(&on_all("check", "rules"));
}

#[test]
fn the_rules_fire_when_they_should_and_only_then() {
    check(&on_all("test", "tests"));
}

/// Each alert is seen to fire, and seen not to.
#[test]
fn every_alert_has_unit_tests() {
    let (mut fires, mut is_quiet) = (BTreeSet::new(), BTreeSet::new());
    for (_, text) in files(&deploy().join("prometheus/tests"), "yml") {
        for look in text.split("eval_time: ").skip(1) {
            let (_, rest) = look.split_once("alertname: ").unwrap();
            let name = words(rest).next().unwrap().to_owned();
            let seen = match rest.contains("exp_labels") {
                true => &mut fires,
                false => &mut is_quiet,
            };
            seen.insert(name);
        }
    }
    let alerts: BTreeSet<_> = alerts().into_keys().collect();
    assert_eq!(fires, alerts);
    assert_eq!(is_quiet, alerts);
}

#[test]
fn every_alert_says_how_bad_it_is_and_has_a_runbook() {
    let runbooks: BTreeSet<String> = files(&deploy().join("runbooks"), "md")
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name != "README")
        .collect();
    let index = read(&deploy().join("runbooks/README.md"));
    let alerts = alerts();
    assert_eq!(alerts.keys().cloned().collect::<BTreeSet<_>>(), runbooks);
    for (name, rules) in &alerts {
        assert!(index.contains(&format!("[{name}]({name}.md)")), "{name}");
        for rule in rules {
            let has = |field: &str| rule.contains(&format!("\n          {field}: "));
            assert!(has("summary") && has("description"), "{name}");
            let page = format!("/runbooks/{name}.md\n");
            let (_, url) = rule.split_once("runbook_url: ").unwrap();
            assert!(
                url.split_inclusive('\n').next().unwrap().ends_with(&page),
                "{name}"
            );
            let is_graded = ["critical", "warning"]
                .iter()
                .any(|severity| rule.contains(&format!("labels: {{ severity: {severity} }}")));
            assert!(is_graded, "{name}");
        }
    }
}

#[test]
fn rules_name_metrics_that_there_are() {
    let documented = documented();
    for (name, text) in files(&deploy().join("prometheus/rules"), "yml") {
        check_metrics(&name, &text, &documented);
        let recorded: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("- record: "))
            .collect();
        let used = words(&text).filter(|word| word.starts_with("decant:"));
        for word in used {
            assert!(recorded.contains(word), "{name}: nothing records {word}");
        }
    }
}
