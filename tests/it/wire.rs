//! The protocols' manners: everything is commented, and the enums of our own begin with UNSPECIFIED.

use std::path::PathBuf;

/// Our own protocol, and the one that is not ours but is written here.
const OURS: &str = "decant";
const ANOTHER: &str = "inference";

fn protos(package: &str) -> Vec<(PathBuf, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let mut folders = vec![PathBuf::from(root).join(package)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "proto")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{package}");
    found
}

fn defines_something(line: &str) -> bool {
    let keyword = ["message ", "enum ", "service ", "rpc ", "oneof "]
        .iter()
        .any(|keyword| line.starts_with(keyword));
    let numbered = line.contains(" = ")
        && line.ends_with(';')
        && !line.starts_with("syntax")
        && !line.starts_with("option");
    keyword || numbered
}

#[test]
fn every_message_field_and_call_has_a_comment() {
    for (path, text) in [OURS, ANOTHER].into_iter().flat_map(protos) {
        let mut before = "";
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if defines_something(line) {
                assert!(
                    before.starts_with("//"),
                    "{}:{}: `{line}` has no comment",
                    path.display(),
                    number + 1
                );
            }
            before = line;
        }
    }
}

#[test]
fn enums_begin_with_unspecified() {
    for (path, text) in protos(OURS) {
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line.starts_with("enum ") {
                let first = lines.find(|line| !line.starts_with("//")).unwrap();
                assert!(
                    first.ends_with("_UNSPECIFIED = 0;"),
                    "{}: {line} begins with `{first}`",
                    path.display()
                );
            }
        }
    }
}
