//! Asking before something that cannot be taken back.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use crate::failure::Failure;

/// Whether to ask.
#[derive(Args)]
pub(crate) struct Confirmation {
    /// Do not ask. Needed where there is no terminal to ask on.
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Confirmation {
    /// Returns once the user has agreed to what is about to happen; fails when they do not, or cannot be asked.
    pub(crate) fn ask(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage(format!("this needs a confirmation: {what}"))
                .hint("without a terminal, --yes gives it"));
        }
        let mut stderr = io::stderr().lock();
        let asked = write!(stderr, "{what}\nGo on? [y/N] ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        asked
            .and_then(|()| io::stdin().lock().read_line(&mut answer))
            .map_err(|error| Failure::new(format!("cannot ask for a confirmation: {error}")))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::usage("not confirmed; nothing was done")),
        }
    }
}
