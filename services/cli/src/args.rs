//! What can be typed: the options that every command takes, and the commands.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::arguments::duration;
use crate::commands::{model, rank, recommend, score, scorer, slot, train, version};

/// Trains, distils, rolls out and asks recommendation models.
#[derive(Parser)]
#[command(
    name = "decant",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 69 a service cannot be reached, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Address of the trainer.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DECANT_TRAINER",
        hide_env_values = true
    )]
    #[arg(default_value = "http://127.0.0.1:7410")]
    pub(crate) trainer: String,
    /// Address of the registry.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DECANT_REGISTRY",
        hide_env_values = true
    )]
    #[arg(default_value = "http://127.0.0.1:7420")]
    pub(crate) registry: String,
    /// Address of the scorer.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DECANT_SCORER",
        hide_env_values = true
    )]
    #[arg(default_value = "http://127.0.0.1:7430")]
    pub(crate) scorer: String,
    /// How long one call may take, such as 500ms, 10s or 2m.
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// How results are printed; json is stable and complete, for scripts.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// The commands, in the order of a model's life.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Submit and watch training jobs.
    #[command(subcommand)]
    Train(train::Command),
    /// Create and describe models.
    #[command(subcommand)]
    Model(model::Command),
    /// Describe and download versions.
    #[command(subcommand)]
    Version(version::Command),
    /// See and choose which version serves.
    #[command(subcommand)]
    Slot(slot::Command),
    /// Score rows of features.
    Score(score::Arguments),
    /// Order candidate items for one user, best first.
    Rank(rank::Arguments),
    /// Find the best items of the catalog for one user.
    Recommend(recommend::Arguments),
    /// See what the scorer serves.
    #[command(subcommand)]
    Scorer(scorer::Command),
    /// See at one glance whether all is well.
    Status,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
