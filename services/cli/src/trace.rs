//! The trace of a command, for whoever collects traces.

use std::ffi::OsString;

use clap::{ArgMatches, CommandFactory as _};
use decant_chassis::telemetry::command::Command;

use crate::args::Cli;

/// Begins the trace, if there is a collector. Commands that call nobody have none.
pub(crate) fn begin(cli: &Cli, arguments: &[OsString]) -> Command {
    if cli.command.is_local() {
        return Command::untraced();
    }
    Command::begin("cli", || path(arguments))
}

/// The words of a command without its arguments, such as `admin gc`.
fn path(arguments: &[OsString]) -> String {
    let matches = Cli::command().try_get_matches_from(arguments);
    let mut words = Vec::new();
    let mut at: Option<&ArgMatches> = matches.as_ref().ok();
    while let Some((word, inner)) = at.and_then(ArgMatches::subcommand) {
        words.push(word);
        at = Some(inner);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_named_by_the_command_alone() {
        let named = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            path(&arguments)
        };
        assert_eq!(named("decant status"), "status");
        assert_eq!(
            named("decant --timeout 3s admin log-level scorer debug"),
            "admin log-level"
        );
    }
}
