//! What operators watch Decant with: rules, dashboards, runbooks and the list of metrics name only what there is, and what is
//! said of them holds.

mod dashboards;
mod rules;
mod runbooks;

use std::collections::BTreeSet;
use std::path::Path;

use decant_tests::prometheus::deploy;

/// How the names of metrics begin that are ours to document.
const PREFIXES: [&str; 3] = ["decant_", "rpc_server_", "process_"];
/// What Prometheus makes of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder with this extension: their names without it, and their text.
fn files(folder: &Path, extension: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, read(&path))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

/// The metrics that `deploy/metrics.md` has a row for: the names between backticks in the first cells of its tables.
pub(crate) fn documented() -> BTreeSet<String> {
    let text = read(&deploy().join("metrics.md"));
    let cells = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.split('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names: BTreeSet<_> = quoted
        .map(|name| name.split('{').next().unwrap_or_default())
        .filter(|name| is_ours(name))
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// Whether a name is one of those that are documented.
pub(crate) fn is_ours(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a metric is documented, or is part of a histogram that is.
pub(crate) fn is_documented(name: &str, documented: &BTreeSet<String>) -> bool {
    let mut whole = PARTS.iter().filter_map(|part| name.strip_suffix(part));
    documented.contains(name) || whole.any(|histogram| documented.contains(histogram))
}

/// Panics when an expression names a metric that is not documented.
fn check_metrics(origin: &str, expression: &str, documented: &BTreeSet<String>) {
    for word in words(expression).filter(|word| is_ours(word)) {
        assert!(
            is_documented(word, documented),
            "{origin}: {word} is not in deploy/metrics.md"
        );
    }
}

/// Everything in a text that could be the name of a metric.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_' || sign == ':'))
}
