//! One module for each command, in the order of a model's life.

pub(crate) mod train;
pub(crate) mod model;
pub(crate) mod version;
pub(crate) mod slot;
pub(crate) mod rollout;
pub(crate) mod plan;
pub(crate) mod score;
pub(crate) mod rank;
pub(crate) mod recommend;
pub(crate) mod scorer;
pub(crate) mod status;
pub(crate) mod wait;
pub(crate) mod doctor;
pub(crate) mod audit;
pub(crate) mod access;
pub(crate) mod key;
pub(crate) mod admin;
pub(crate) mod context;
pub(crate) mod completion;
pub(crate) mod generate;
mod confirm;
mod follow;

use std::io::{self, Read as _};

use crate::args::Command;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Carries out a command.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Train(command) => train::execute(context, command).await,
        Command::Model(command) => model::execute(context, command).await,
        Command::Version(command) => version::execute(context, command).await,
        Command::Slot(command) => slot::execute(context, command).await,
        Command::Rollout(command) => rollout::execute(context, command).await,
        Command::Rollback(arguments) => slot::roll_back(context, arguments).await,
        Command::Plan(command) => plan::execute(context, command).await,
        Command::Score(arguments) => score::execute(context, arguments).await,
        Command::Rank(arguments) => rank::execute(context, arguments).await,
        Command::Recommend(arguments) => recommend::execute(context, arguments).await,
        Command::Scorer(command) => scorer::execute(context, command).await,
        Command::Status => status::execute(context).await,
        Command::Wait(arguments) => wait::execute(context, arguments).await,
        Command::Doctor => doctor::execute(context).await,
        Command::Audit(command) => audit::execute(context, command).await,
        Command::Access(command) => access::execute(context, command).await,
        Command::Key(command) => key::execute(context, command),
        Command::Admin(command) => admin::execute(context, command).await,
        Command::Context(command) => context::execute(context, command),
        Command::Completion(arguments) => completion::execute(context, &arguments),
        Command::Generate(command) => generate::execute(context, command),
    }
}

/// The text of a file that the user names; `-` is standard input.
fn read_text(path: &str) -> Result<String, Failure> {
    let text = if path == "-" {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Failure::new(format!("cannot read {path}: {error}")))
}

/// Reads how many entries a list may have.
fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 is expected".to_owned()),
        Ok(limit) => Ok(limit),
    }
}

/// Says that a list was cut short, if it was: to scripts too, which may take it for the whole.
fn note_more(context: &Context, has_more: bool) {
    if has_more {
        context.output.note("there are more; --limit shows them");
    }
}
