//! `decant rollout`: a version is released step by step, and operators steer it.

mod start;
mod steer;
mod status;
mod tree;
mod quality;
mod history;

use clap::{Args, Subcommand};
use decant_model::rollout::RolloutId;
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::{Rollout, RolloutPhase, Steer};

use super::limit;
use super::slot::address;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Begin to release a version: what must hold before any traffic is checked first.
    Start(start::Arguments),
    /// Show where a rollout stands, what its gates say, and what can be done now.
    Status {
        #[command(flatten)]
        target: Target,
        /// Show each change until the rollout is over: exit 0 when the version is promoted, else 5; 7 after --timeout.
        #[arg(long)]
        watch: bool,
    },
    /// Keep a rollout where it is.
    Pause(steer::Arguments),
    /// Let a paused rollout go on, whatever a gate said that paused it.
    Resume(steer::Arguments),
    /// Take the next step now; with --full all of them.
    Promote(steer::PromoteArguments),
    /// Give all of the traffic back to the stable version, at once and unasked.
    Abort(steer::Arguments),
    /// Begin a rollout anew that was aborted or rolled back, with the same version and plan.
    Retry(start::RetryArguments),
    /// List a slot's rollouts, the newest first.
    History {
        /// The model.
        model: ModelName,
        /// The slot.
        #[arg(long, default_value_t)]
        slot: SlotName,
        /// How many rollouts to show at most.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
        limit: usize,
    },
}

/// A rollout.
#[derive(Args)]
pub(crate) struct Target {
    /// The model.
    model: ModelName,
    /// The slot.
    #[arg(long, default_value_t)]
    slot: SlotName,
    /// Its id, as `decant rollout history` shows it; the newest unless given.
    #[arg(long, value_name = "ID")]
    rollout: Option<RolloutId>,
}

impl Target {
    /// The id as requests spell it: empty for the newest.
    fn id(&self) -> &str {
        self.rollout.as_ref().map_or("", RolloutId::as_str)
    }
}

/// Carries out `decant rollout`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        // What follows a rollout is large: a pointer to it is not.
        Command::Start(arguments) => Box::pin(start::start(context, arguments)).await,
        Command::Status {
            target,
            watch: false,
        } => status::show(context, &target).await,
        Command::Status {
            target,
            watch: true,
        } => {
            let (model, slot) = (target.model.as_str(), target.slot.as_str());
            Box::pin(status::watch(context, model, slot, target.id())).await
        }
        Command::Pause(arguments) => steer::steer(context, arguments, Steer::Pause).await,
        Command::Resume(arguments) => steer::steer(context, arguments, Steer::Resume).await,
        Command::Promote(arguments) => steer::promote(context, arguments).await,
        Command::Abort(arguments) => steer::steer(context, arguments, Steer::Abort).await,
        Command::Retry(arguments) => Box::pin(start::retry(context, arguments)).await,
        Command::History { model, slot, limit } => {
            history::show(context, &model, &slot, limit).await
        }
    }
}

/// The slot of a rollout as the arguments of a command.
fn addressed(rollout: &Rollout) -> String {
    address(&rollout.model, &rollout.slot)
}

/// Whether nothing more comes that anybody should wait for.
fn has_ended(phase: RolloutPhase) -> bool {
    matches!(
        phase,
        RolloutPhase::Promoted
            | RolloutPhase::Aborted
            | RolloutPhase::RolledBack
            | RolloutPhase::Degraded
    )
}
