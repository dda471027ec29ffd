//! `decant completion`: what makes a shell complete.

use clap::{Args, ValueEnum};

use crate::complete;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// What `completion` takes.
#[derive(Args)]
#[command(after_long_help = "\
The script asks `decant` each time, so that names are those of now; have the shell read it when it starts:

  bash        echo 'source <(decant completion bash)' >> ~/.bashrc
  zsh         echo 'source <(decant completion zsh)' >> ~/.zshrc
  fish        echo 'decant completion fish | source' >> ~/.config/fish/config.fish
  elvish      echo 'eval (decant completion elvish | slurp)' >> ~/.elvish/rc.elv
  powershell  echo 'decant completion powershell | Out-String | Invoke-Expression' >> $PROFILE")]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

/// The shells that can be told.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// Carries out `decant completion`.
pub(crate) fn execute(context: &Context, arguments: &Arguments) -> Result<Exit, Failure> {
    let shell = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    context.output.verbatim(&complete::script(shell)?)?;
    Ok(Exit::Ok)
}
