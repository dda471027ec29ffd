//! `decant generate`: the manual pages and the command reference, made from what the command line itself says.

mod reference;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Subcommand};

use crate::args::Cli;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a manual page for each command.
    Man {
        /// The folder to write them into; made if it is not there.
        folder: PathBuf,
    },
    /// Print the command reference, as Markdown.
    Reference,
}

/// Carries out `decant generate`.
pub(crate) fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Man { folder } => {
            man(&folder).map_err(|error| {
                Failure::new(format!("cannot write to {}: {error}", folder.display()))
            })?;
            context
                .output
                .note(&format!("the manual pages are in {}", folder.display()));
        }
        Command::Reference => context
            .output
            .verbatim(&reference::render(Cli::command()))?,
    }
    Ok(Exit::Ok)
}

fn man(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}
