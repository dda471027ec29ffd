//! Runbooks: what they tell to type can be typed.

use std::collections::BTreeMap;

use decant_tests::prometheus::{check_expressions, deploy};

use super::{check_metrics, documented, files, read};

fn documents() -> Vec<(String, String)> {
    let mut documents = files(&deploy().join("runbooks"), "md");
    let operations = read(&deploy().join("operations.md"));
    documents.push(("operations".to_owned(), operations));
    documents
}

/// The blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// The commands of the reference, each with what is said of it.
fn reference() -> BTreeMap<String, String> {
    let text = read(&deploy().join("decant.md"));
    let mut commands = BTreeMap::new();
    for section in text.split("\n##").skip(1) {
        let (heading, rest) = section.split_once('\n').unwrap();
        let name = heading.trim_start_matches('#').trim();
        commands.insert(name.to_owned(), rest.to_owned());
    }
    commands
}

/// Panics unless the reference has such a command with such options.
fn check_command(origin: &str, command: &str, reference: &BTreeMap<String, String>) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let first = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let second = words.get(2).copied().unwrap_or_default();
    let has_parts = reference
        .keys()
        .any(|name| name.starts_with(&format!("{first} ")));
    let name = match has_parts {
        true => format!("{first} {second}"),
        false => first,
    };
    let known = reference.get(&name);
    let known = known.unwrap_or_else(|| panic!("{origin}: no command `{name}`"));
    let common = &reference["Options of every command"];
    for option in words.iter().filter(|word| word.starts_with("--")) {
        let option = option.split('=').next().unwrap_or_default();
        assert!(
            known.contains(option) || common.contains(option),
            "{origin}: `{command}` has no {option}"
        );
    }
}

#[test]
fn commands_are_those_of_the_reference() {
    let reference = reference();
    for (name, text) in documents() {
        let typed = blocks(&text, "console")
            .into_iter()
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix("$ "));
        let quoted = text.split('`').filter(|quoted| !quoted.contains('\n'));
        for command in typed.chain(quoted) {
            if command.starts_with("decant ") {
                check_command(&name, command, &reference);
            }
        }
    }
}

#[test]
fn expressions_parse_and_name_metrics_that_there_are() {
    let documented = documented();
    for (name, text) in documents() {
        check_metrics(&name, &text, &documented);
        let expressions: Vec<_> = blocks(&text, "promql")
            .into_iter()
            .map(|expression| (name.as_str(), expression))
            .collect();
        // The index has none, and other pages may.
        if !expressions.is_empty() {
            check_expressions(expressions);
        }
    }
}
