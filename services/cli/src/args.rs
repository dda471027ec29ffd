//! What can be typed: the options that every command takes, and the commands.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::arguments::duration;
use crate::commands::{
    access, admin, audit, completion, context, generate, key, model, plan, rank, recommend,
    rollout, score, scorer, slot, train, version, wait,
};
use crate::failure::Exit;
use crate::settings::context_name;

/// Trains, distils, rolls out and asks recommendation models.
#[derive(Parser)]
#[command(
    name = "decant",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = Exit::help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command, as they were given; [`Settings`](crate::settings::Settings) are what follows from them.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The cluster to talk to, as `decant context list` names it; the one that was chosen with `decant context use` unless
    /// given.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "DECANT_CONTEXT",
        hide_env_values = true,
        value_parser = context_name
    )]
    pub(crate) context: Option<String>,
    /// Address of the trainer; the context's unless given, or http://127.0.0.1:7410.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DECANT_TRAINER",
        hide_env_values = true
    )]
    pub(crate) trainer: Option<String>,
    /// Address of the registry, of several replicas separated by commas; the context's unless given, or
    /// http://127.0.0.1:7420.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DECANT_REGISTRY",
        hide_env_values = true
    )]
    pub(crate) registry: Option<String>,
    /// Address of the scorer; the context's unless given, or http://127.0.0.1:7430.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DECANT_SCORER",
        hide_env_values = true
    )]
    pub(crate) scorer: Option<String>,
    /// Certificates of who signs the services', in a PEM file: services are then called over TLS, and their addresses begin with
    /// https://. The context's unless given.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DECANT_CA",
        hide_env_values = true
    )]
    pub(crate) ca: Option<String>,
    /// The certificate that says who you are, in a PEM file; the context's unless given.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DECANT_CERTIFICATE",
        hide_env_values = true
    )]
    pub(crate) certificate: Option<String>,
    /// The certificate's secret key, in a PEM file; the context's unless given.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DECANT_KEY",
        hide_env_values = true
    )]
    pub(crate) key: Option<String>,
    /// A file with the token that says who you are; the context's unless given. A token in the variable DECANT_TOKEN is taken
    /// before any file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DECANT_TOKEN_FILE",
        hide_env_values = true
    )]
    pub(crate) token_file: Option<String>,
    /// Shows the token to other machines without TLS too, where whoever listens on the way can read and use it.
    #[arg(
        long,
        global = true,
        env = "DECANT_ALLOW_PLAINTEXT",
        hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub(crate) allow_plaintext: bool,
    /// The name that services' certificates hold, where addresses are numbers, which no certificate holds.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "DECANT_SERVER_NAME",
        hide_env_values = true
    )]
    pub(crate) server_name: Option<String>,
    /// How long to wait, such as 500ms, 10s or 2m: for an answer (10s unless given; 10m where everything is looked at, as in
    /// `admin gc` or `audit verify`), and for what is waited for, as in `slot set` or `wait` (60s unless given).
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::deadline)]
    pub(crate) timeout: Option<Duration>,
    /// How results are printed: as a table, unless given here or by the context. json and yaml are stable and complete, for
    /// scripts.
    #[arg(short, long, global = true, value_enum)]
    pub(crate) output: Option<Format>,
    /// Whether words are coloured. NO_COLOR, set to anything, turns colours off where this is not given.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: what counts most.
    #[default]
    Table,
    /// For people: all columns, and digests in full.
    Wide,
    /// For scripts.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names alone, one a line, such as movies/main or movies/3.
    Name,
}

/// Whether words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Also into files and pipes.
    Always,
    Never,
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
    /// Wait until something holds, for scripts.
    Wait(wait::Arguments),
    /// Look for what is wrong, or will be, and say what to do about it.
    Doctor,
    /// See who did what, and check that nobody rewrote it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// See and change who may do what.
    #[command(subcommand)]
    Access(access::Command),
    /// Make keys that sign versions.
    #[command(subcommand)]
    Key(key::Command),
    /// Back up, restore and tidy the cluster.
    #[command(subcommand)]
    Admin(admin::Command),
    /// Name clusters, and choose the one to talk to.
    #[command(subcommand)]
    Context(context::Command),
    /// Print what makes a shell complete commands and the names of models, versions, slots, scorers and jobs.
    Completion(completion::Arguments),
    /// Write manual pages and the command reference.
    #[command(subcommand, hide = true)]
    Generate(generate::Command),
}

impl Command {
    /// Whether it works without any service, and so must work although the file of contexts is broken.
    pub(crate) fn is_local(&self) -> bool {
        matches!(
            self,
            Command::Context(_) | Command::Completion(_) | Command::Generate(_) | Command::Key(_)
        )
    }
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
