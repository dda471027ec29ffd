//! What can be typed: the options that every command takes, and the commands.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::arguments::duration;
use crate::commands::{
    admin, audit, key, model, plan, rank, recommend, rollout, score, scorer, slot, train, version,
};

/// Trains, distils, rolls out and asks recommendation models.
#[derive(Parser)]
#[command(
    name = "decant",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or not confirmed, 7 not finished in time, 69 a service cannot \
                  be reached, 130 interrupted."
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
    /// Address of the registry; of several replicas, separated by commas.
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
    /// How long to wait, such as 500ms, 10s or 2m: for an answer (10s unless given; 10m where everything is looked at, as in
    /// `admin gc` or `audit verify`), and in `slot set` for the scorers (60s unless given).
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::deadline)]
    pub(crate) timeout: Option<Duration>,
    /// How results are printed; json is stable and complete, for scripts.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    /// Names alone, one a line, such as movies/main or movies/3.
    Name,
}

/// The commands, in the order of a model's life.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Submit and watch training jobs.
    #[command(subcommand)]
    Train(train::Command),
    /// Create, describe and change models.
    #[command(subcommand)]
    Model(model::Command),
    /// Describe, trace, download and retire versions.
    #[command(subcommand)]
    Version(version::Command),
    /// See and choose which version serves.
    #[command(subcommand)]
    Slot(slot::Command),
    /// Release a version step by step, judged by gates.
    #[command(subcommand)]
    Rollout(rollout::Command),
    /// Let an earlier version serve again, at once and unasked.
    Rollback(slot::RollbackArguments),
    /// Store and show how versions are released.
    #[command(subcommand)]
    Plan(plan::Command),
    /// Score rows of features.
    Score(score::Arguments),
    /// Order candidate items for one user, best first.
    Rank(rank::Arguments),
    /// Find the best items of the catalog for one user.
    Recommend(recommend::Arguments),
    /// See the live scorers, and what one serves.
    #[command(subcommand)]
    Scorer(scorer::Command),
    /// See at one glance whether all is well.
    Status,
    /// See who did what, and check that nobody rewrote it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Make keys that sign versions.
    #[command(subcommand)]
    Key(key::Command),
    /// Back up, restore and tidy the cluster.
    #[command(subcommand)]
    Admin(admin::Command),
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
