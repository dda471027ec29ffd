//! What a shell may complete: commands and options, which clap knows, and the names of what there is, for which the services
//! are asked. One that does not answer soon has nothing to say: a shell must not hang.

mod names;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use self::names::Kind;
use crate::args::{Cli, Global};
use crate::failure::{Exit, Failure};

/// Set by the script that `decant completion` prints.
const VARIABLE: &str = "COMPLETE";
const NAME: &str = "decant";

/// Answers a shell that asks what may come next; `None` when no shell does.
pub(crate) fn answer(arguments: &[OsString]) -> Option<Exit> {
    let typed = Arc::new(Typed::new(arguments));
    let completed = CompleteEnv::with_factory(|| with_names(Cli::command(), &typed))
        .var(VARIABLE)
        .bin(NAME)
        .completer(NAME)
        .try_complete(arguments.iter().cloned(), None);
    match completed {
        Ok(false) => None,
        Ok(true) => Some(Exit::Ok),
        // There is nobody to tell: what is printed here ends up in the middle of the user's line.
        Err(_) => Some(Exit::Failed),
    }
}

/// The script that makes a shell ask.
pub(crate) fn script(shell: &str) -> Result<String, Failure> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .ok_or_else(|| Failure::usage(format!("`{shell}` is no shell that can be told")))?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, NAME, NAME, NAME, &mut script)
        .map_err(|error| Failure::new(format!("cannot write the script: {error}")))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// What stands on the line so far.
pub(crate) struct Typed {
    matches: Option<ArgMatches>,
}

impl Typed {
    /// The words follow a `--`; the first is the program's name. Most lines are not whole yet, so that mistakes count for
    /// nothing.
    fn new(arguments: &[OsString]) -> Self {
        let words = arguments
            .iter()
            .skip_while(|word| *word != "--")
            .skip(1)
            .cloned();
        let words: Vec<OsString> = words.collect();
        let parsed = (!words.is_empty()).then(|| {
            let command = Cli::command().ignore_errors(true);
            command.try_get_matches_from(words).ok()
        });
        Self {
            matches: parsed.flatten(),
        }
    }

    /// The options that say which services to ask.
    fn global(&self) -> Option<Global> {
        let matches = self.matches.as_ref()?;
        Global::from_arg_matches(matches).ok()
    }

    /// An argument of the command that is typed.
    fn argument(&self, id: &str) -> Option<String> {
        let mut matches = self.matches.as_ref()?;
        while let Some((_, below)) = matches.subcommand() {
            matches = below;
        }
        let mut values = matches.try_get_raw(id).ok()??;
        values.next()?.to_str().map(str::to_owned)
    }
}

/// Has arguments completed with the names of what there is.
fn with_names(command: Command, typed: &Arc<Typed>) -> Command {
    let name = command.get_name().to_owned();
    command
        .mut_args(|argument| match kind(&name, argument.get_id().as_str()) {
            Some(kind) => {
                let typed = Arc::clone(typed);
                argument.add(ArgValueCompleter::new(move |begun: &OsStr| {
                    candidates(kind, &typed, begun)
                }))
            }
            None => argument,
        })
        .mut_subcommands(|command| {
            // Below `model`, `train`, `access` and `context`, the first argument names one of these.
            let first = match (name.as_str(), command.get_name()) {
                ("model", "describe" | "update") => Some(Kind::Models),
                ("context", "use" | "show" | "set" | "remove") => Some(Kind::Contexts),
                ("train", "watch" | "cancel" | "show") => Some(Kind::Jobs),
                ("access", "remove") => Some(Kind::Principals),
                _ => None,
            };
            let command = with_names(command, typed);
            match first {
                Some(kind) => first_positional(command, kind, typed),
                None => command,
            }
        })
}

/// What the first argument of a command is a name of.
fn first_positional(command: Command, kind: Kind, typed: &Arc<Typed>) -> Command {
    let first = command.get_positionals().next();
    let Some(id) = first.map(|argument| argument.get_id().to_string()) else {
        return command;
    };
    command.mut_arg(id, |argument| {
        let typed = Arc::clone(typed);
        argument.add(ArgValueCompleter::new(move |begun: &OsStr| {
            candidates(kind, &typed, begun)
        }))
    })
}

/// What an argument is a name of, whatever the command: one id means the same everywhere.
fn kind(command: &str, id: &str) -> Option<Kind> {
    match (command, id) {
        (_, "model") => Some(Kind::Models),
        (_, "slot") => Some(Kind::Slots),
        (_, "version" | "teacher") | ("rollback", "to") => Some(Kind::Versions),
        (_, "rollout" | "retry_of") => Some(Kind::Rollouts),
        (_, "context") => Some(Kind::Contexts),
        ("wait", "target") => Some(Kind::Targets),
        _ => None,
    }
}

fn candidates(kind: Kind, typed: &Typed, begun: &OsStr) -> Vec<CompletionCandidate> {
    let Some(begun) = begun.to_str() else {
        return Vec::new();
    };
    let all = names::ask(kind, typed);
    all.into_iter()
        .filter(|name| name.starts_with(begun))
        .map(CompletionCandidate::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Typed {
        let line = ["decant", "--"].into_iter().chain(words.iter().copied());
        let line: Vec<OsString> = line.map(OsString::from).collect();
        Typed::new(&line)
    }

    #[test]
    fn what_is_not_whole_yet_is_understood_as_far_as_it_goes() {
        let line = typed(&[
            "decant",
            "--registry",
            "http://r:1",
            "slot",
            "set",
            "movies",
            "",
        ]);
        assert_eq!(line.argument("model").as_deref(), Some("movies"));
        let registry = line.global().and_then(|global| global.registry);
        assert_eq!(registry.as_deref(), Some("http://r:1"));
        assert_eq!(typed(&["decant", "slot"]).argument("model"), None);
        assert_eq!(typed(&[]).argument("model"), None);
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = script(shell).unwrap();
            assert!(
                script.contains(VARIABLE) && script.contains(NAME),
                "{script}"
            );
        }
        assert!(script("tcsh").is_err());
    }

    #[test]
    fn the_definition_with_names_is_sound() {
        let typed = Arc::new(typed(&[]));
        with_names(Cli::command(), &typed).debug_assert();
    }
}
