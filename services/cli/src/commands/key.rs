//! `decant key`: the keys that sign versions. Nothing here leaves this machine.

mod secret;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use decant_model::PublicKey;
use serde_json::json;

use self::secret::Secret;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a new key, write its secret half to a file that only you can read, and print its public half.
    Generate {
        /// The file; it must not exist yet.
        file: PathBuf,
    },
    /// Print the public half of a key, as `decant model create --signer` takes it.
    Public {
        /// The file with the secret half.
        file: PathBuf,
    },
}

/// Carries out `decant key`.
pub(crate) fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Generate { file } => {
            let secret = Secret::generate()?;
            secret.save(&file)?;
            show(context, secret.public(), &file)?;
            context.output.advise(&format!(
                "{} holds the secret half: who has it can sign; nobody can restore it",
                file.display()
            ));
        }
        Command::Public { file } => show(context, Secret::load(&file)?.public(), &file)?,
    }
    Ok(Exit::Ok)
}

fn show(context: &Context, key: PublicKey, file: &Path) -> Result<(), Failure> {
    let key = key.to_string();
    context.output.named(
        [&key],
        || json!({ "public": key, "file": file.display().to_string() }),
        |_| format!("{key}\n"),
    )
}
