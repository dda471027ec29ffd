//! The dependency rule of ARCHITECTURE.md, held against what Cargo sees.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// A crate may depend on crates of a lower layer only.
const LAYERS: [&[&str]; 7] = [
    &["decant-model", "decant-failpoint", "decant-fuzz"],
    &[
        "decant-features",
        "decant-artifact",
        "decant-coordination",
        "decant-proto",
    ],
    &["decant-inference", "decant-client"],
    &["decant-chassis"],
    &[
        "decant-trainer",
        "decant-registry",
        "decant-scorer",
        "decant-cli",
    ],
    &["decant-standalone", "decant-load"],
    &["decant-tests"],
];

/// Heavy or replaceable libraries, each behind one crate.
const OWNERS: [(&str, &str); 7] = [
    ("ort", "decant-inference"),
    ("redb", "decant-coordination"),
    ("etcd-client", "decant-coordination"),
    ("object_store", "decant-artifact"),
    ("burn", "decant-trainer"),
    ("opentelemetry_sdk", "decant-chassis"),
    ("opentelemetry-otlp", "decant-chassis"),
];

/// The workspace's crates, as Cargo describes them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Each workspace crate with what it depends on, tests and build scripts aside.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = packages().into_iter().map(|package| {
        let normal = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null());
        (
            text(&package["name"]),
            normal.map(|dependency| text(&dependency["name"])).collect(),
        )
    });
    packages.collect()
}

#[test]
fn crates_depend_on_lower_layers_only() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let dependencies = dependencies();
    for (name, depends_on) in &dependencies {
        let own = layer(name).unwrap_or_else(|| panic!("{name} has no place in LAYERS"));
        for dependency in depends_on
            .iter()
            .filter(|dependency| dependencies.contains_key(*dependency))
        {
            let other =
                layer(dependency).unwrap_or_else(|| panic!("{dependency} has no place in LAYERS"));
            assert!(
                other < own,
                "{name} (layer {own}) must not depend on {dependency} (layer {other})"
            );
        }
    }
}

#[test]
fn each_heavy_library_has_one_owner() {
    for (name, depends_on) in dependencies() {
        for (library, owner) in OWNERS {
            let allowed = name == owner || !depends_on.contains(library);
            assert!(
                allowed,
                "{name} must not depend on {library}, which belongs to {owner}"
            );
        }
    }
}

#[test]
fn the_command_line_stays_small() {
    let depends_on = &dependencies()["decant-cli"];
    let ours: Vec<&String> = depends_on
        .iter()
        .filter(|dependency| dependency.starts_with("decant-"))
        .collect();
    let allowed = ["decant-chassis", "decant-model", "decant-proto"];
    assert!(
        ours.iter()
            .all(|dependency| allowed.contains(&dependency.as_str())),
        "{ours:?}"
    );
}

/// A program that is built for use cannot be told to end itself.
#[test]
fn failpoints_are_armed_for_tests_alone() {
    let mut armed_by = Vec::new();
    for package in packages() {
        for dependency in package["dependencies"].as_array().unwrap() {
            let features = dependency["features"].as_array().unwrap();
            if dependency["name"] == "decant-failpoint" && features.contains(&"armed".into()) {
                assert_eq!(dependency["kind"], "dev", "{}", package["name"]);
                armed_by.push(package["name"].clone());
            }
        }
    }
    assert_eq!(armed_by, ["decant-failpoint", "decant-tests"]);
}
