//! Dashboards: what Grafana would load, and what Prometheus would be asked.

use std::collections::BTreeSet;

use decant_tests::prometheus::{check_expressions, deploy};
use serde_json::Value;

use super::{check_metrics, documented, files};

/// What Grafana puts into expressions by itself, and something like it.
const BUILT_IN: [(&str, &str); 2] = [("$__rate_interval", "5m"), ("$__range", "1h")];
/// Every panel and variable asks the data source that its reader chose.
const SOURCE: &str = "${datasource}";

fn dashboards() -> Vec<(String, Value)> {
    let files = files(&deploy().join("grafana/dashboards"), "json");
    let parse = |(name, text): (String, String)| {
        let dashboard =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, dashboard)
    };
    files.into_iter().map(parse).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
}

/// Everything that Prometheus is asked for.
fn expressions(dashboard: &Value) -> Vec<(&str, &str)> {
    let asked = panels(dashboard).flat_map(|panel| {
        let targets = list(panel, "targets").iter();
        targets.map(move |target| (text(panel, "title"), text(target, "expr")))
    });
    let annotations = list(&dashboard["annotations"], "list").iter();
    asked
        .chain(annotations.map(|annotation| (text(annotation, "name"), text(annotation, "expr"))))
        .collect()
}

#[test]
fn expressions_parse() {
    for (_, dashboard) in dashboards() {
        let filled_in: Vec<_> = expressions(&dashboard)
            .into_iter()
            .map(|(origin, expression)| {
                let fill_in = |expression: String, (variable, value): &(&str, &str)| {
                    expression.replace(variable, value)
                };
                let expression = BUILT_IN.iter().fold(expression.to_owned(), fill_in);
                (origin, expression)
            })
            .collect();
        check_expressions(
            filled_in
                .iter()
                .map(|(origin, expression)| (*origin, expression.as_str())),
        );
    }
}

#[test]
fn expressions_name_metrics_and_variables_that_there_are() {
    let documented = documented();
    for (name, dashboard) in dashboards() {
        let variables = list(&dashboard["templating"], "list");
        let known: BTreeSet<&str> = variables
            .iter()
            .map(|variable| text(variable, "name"))
            .collect();
        let definitions = variables
            .iter()
            .map(|variable| (text(variable, "name"), text(variable, "definition")));
        for (origin, expression) in expressions(&dashboard).into_iter().chain(definitions) {
            let origin = format!("{name}: {origin}");
            check_metrics(&origin, expression, &documented);
            for named in expression.split('$').skip(1) {
                let variable = super::words(named).next().unwrap_or_default();
                let is_built_in = BUILT_IN
                    .iter()
                    .any(|(built_in, _)| built_in.trim_start_matches('$') == variable);
                assert!(
                    is_built_in || known.contains(variable),
                    "{origin}: ${variable}"
                );
            }
        }
    }
}

#[test]
fn panels_say_what_they_show() {
    let mut addresses = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(
            addresses.insert(text(&dashboard, "uid").to_owned()),
            "{name}"
        );
        assert!(!text(&dashboard, "title").is_empty(), "{name}");
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard, "panels") {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {panel}");
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{name}: {panel}");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{name}: {panel} covers another one");
                }
            }
        }
        for panel in panels(&dashboard) {
            let title = text(panel, "title");
            assert!(!title.is_empty(), "{name}: {panel}");
            assert!(!text(panel, "description").is_empty(), "{name}: {title}");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!text(defaults, "unit").is_empty(), "{name}: {title}");
            assert!(!list(panel, "targets").is_empty(), "{name}: {title}");
            let sources = list(panel, "targets").iter().chain([panel]);
            for source in sources {
                assert_eq!(source["datasource"]["uid"], SOURCE, "{name}: {title}");
            }
        }
        let source = list(&dashboard["templating"], "list").first().unwrap();
        assert_eq!(source["type"], "datasource", "{name}");
    }
}
