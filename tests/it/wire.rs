//! The protocol's manners: everything is commented, enums begin with UNSPECIFIED.

use std::path::PathBuf;

fn protos() -> Vec<(PathBuf, String)> {
    let mut folders = vec![PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../proto/decant"
    ))];
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
    assert!(found.len() >= 4, "{found:?}");
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
    for (path, text) in protos() {
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
    for (path, text) in protos() {
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
