//! The command reference as Markdown: the same text for the same command line, on every machine.

use clap::{Arg, Command};

use crate::failure::EXITS;

/// The whole reference.
pub(super) fn render(mut command: Command) -> String {
    // Gives every command its full name.
    command.build();
    let mut text = String::new();
    let name = command.get_name().to_owned();
    text.push_str(&format!(
        "# The {name} command\n\n{}\n\nMade by `{name} generate reference`; the same is in `{name} --help` and the manual \
         pages.\n",
        about(&command)
    ));
    text.push_str("\n## Options of every command\n\n");
    let global = command.get_arguments().filter(|one| one.is_global_set());
    text.push_str(&list(global));
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in EXITS {
        text.push_str(&format!("| {} | {meaning} |\n", exit.code()));
    }
    for below in command.get_subcommands_mut() {
        section(below, &name, &mut text);
    }
    text
}

/// A command and those below it.
fn section(command: &mut Command, above: &str, text: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    if command.has_subcommands() {
        text.push_str(&format!("\n## {name}\n\n{}\n", about(command)));
        for below in command.get_subcommands_mut() {
            section(below, &name, text);
        }
        return;
    }
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    text.push_str(&format!(
        "\n### {name}\n\n{}\n\n```\n{usage}\n```\n",
        about(command)
    ));
    let is_own = |one: &&Arg| {
        // What clap adds to every command is said once, at the top.
        let is_added = !one.is_positional() && matches!(one.get_id().as_str(), "help" | "version");
        !one.is_global_set() && !one.is_hide_set() && !is_added
    };
    let arguments = list(command.get_arguments().filter(is_own));
    if !arguments.is_empty() {
        text.push_str(&format!("\n{arguments}"));
    }
    if let Some(after) = command.get_after_long_help() {
        text.push_str(&format!("\n```\n{}\n```\n", after.to_string().trim_end()));
    }
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    about.map_or_else(String::new, |about| about.to_string())
}

/// Arguments, one a line.
fn list<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    arguments.map(line).collect()
}

fn line(argument: &Arg) -> String {
    let short = argument
        .get_short()
        .map_or_else(String::new, |short| format!("`-{short}`, "));
    let help = argument.get_long_help().or(argument.get_help());
    let help = help.map_or_else(String::new, |help| help.to_string());
    let mut notes = Vec::new();
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty())
        .collect();
    if takes_value(argument) && !defaults.is_empty() {
        notes.push(format!("default: `{}`", defaults.join(",")));
    }
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if takes_value(argument) && !values.is_empty() {
        notes.push(format!("one of {}", values.join(", ")));
    }
    if let Some(variable) = argument.get_env() {
        notes.push(format!("environment: `{}`", variable.to_string_lossy()));
    }
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join("; "))
    };
    format!("- {short}`{argument}`: {}{notes}\n", one_line(&help))
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, CommandFactory as _};

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_command_is_described_by_its_own_words() {
        let command = Command::new("tool").about("Does things.").subcommand(
            Command::new("make")
                .about("Make one")
                .arg(Arg::new("name").required(true).help("Its name"))
                .arg(
                    Arg::new("size")
                        .long("size")
                        .value_name("N")
                        .default_value("3")
                        .help("How large"),
                )
                .arg(
                    Arg::new("dry")
                        .long("dry-run")
                        .action(ArgAction::SetTrue)
                        .help("Only say so"),
                ),
        );
        let text = render(command);
        let section = text.split("\n### ").nth(1).unwrap();
        assert_eq!(
            section,
            "tool make\n\nMake one\n\n```\ntool make [OPTIONS] <name>\n```\n\n\
             - `<name>`: Its name\n\
             - `--size <N>`: How large (default: `3`)\n\
             - `--dry-run`: Only say so\n"
        );
    }

    #[test]
    fn the_reference_is_the_same_each_time_and_hides_what_is_hidden() {
        let text = render(Cli::command());
        assert_eq!(text, render(Cli::command()));
        assert!(text.contains("### decant slot set\n"), "{text}");
        assert!(text.contains("| 8 | "), "{text}");
        assert!(!text.contains("decant generate man"), "{text}");
    }
}
