//! `decant rollout pause`, `resume`, `promote` and `abort`: one transaction each, carried out by whoever takes the call.

use clap::Args;
use decant_proto::rollout::v1::{Arm, RolloutPhase, RolloutStatus, Steer, SteerRolloutRequest};
use serde_json::{Value, json};

use super::{Target, addressed};
use crate::arguments::request::RequestArguments;
use crate::commands::confirm::Confirmation;
use crate::commands::slot::movement;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{json, names};
use crate::remote::Steered;

/// What every verb takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    /// Only if the slot's generation is still this one.
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request: RequestArguments,
}

/// What `rollout promote` takes.
#[derive(Args)]
pub(crate) struct PromoteArguments {
    #[command(flatten)]
    arguments: Arguments,
    /// Give the version all of the traffic now, without the steps and gates that are left.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Takes the next step; or all of them, once the user has seen what that means.
pub(super) async fn promote(
    context: &Context,
    arguments: PromoteArguments,
) -> Result<Exit, Failure> {
    let PromoteArguments {
        arguments,
        full,
        confirmation,
    } = arguments;
    if !full {
        return steer(context, arguments, Steer::Promote).await;
    }
    if !arguments.dry_run && !confirmation.yes {
        let Target { model, slot, .. } = &arguments.target;
        let status = context
            .registry
            .get_rollout(model.as_str(), slot.as_str(), arguments.target.id())
            .await?;
        confirmation.ask(&blast_radius(&status))?;
    }
    steer(context, arguments, Steer::PromoteFully).await
}

/// What a full promotion does, and to whom.
fn blast_radius(status: &RolloutStatus) -> String {
    let rollout = status.rollout.clone().unwrap_or_default();
    let scorers = status.slot.as_ref().map_or(0, |slot| slot.scorers.len());
    let share = rollout.candidate.as_ref().map_or(0, |candidate| {
        if candidate.arm() == Arm::Canary {
            candidate.weight_basis_points
        } else {
            0
        }
    });
    format!(
        "{} of {} gets all of the traffic at once, on {scorers} live scorers. It answers {} of it now, at step {}; the \
         steps and gates that are left are skipped.",
        names::rollout_version(rollout.candidate.as_ref()),
        names::rollout_slot(&rollout),
        names::weight_share(share),
        names::rollout_step(&rollout),
    )
}

/// Tells a rollout what to do.
pub(super) async fn steer(
    context: &Context,
    arguments: Arguments,
    steer: Steer,
) -> Result<Exit, Failure> {
    let stamp = arguments.request.stamp();
    let (target, dry_run) = (arguments.target, arguments.dry_run);
    let request = SteerRolloutRequest {
        rollout: target.id().to_owned(),
        model: target.model.into(),
        slot: target.slot.into(),
        steer: steer.into(),
        expected_generation: arguments.expect_generation,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id.clone(),
        dry_run,
    };
    let done = context.registry.steer_rollout(request).await?;
    context.output.note(&movement(&done.before, &done.slot));
    context.output.named(
        [&done.rollout.id],
        || to_json(&done, &stamp.request_id, dry_run),
        |_| format!("{}\n", sentence(&done, dry_run)),
    )?;
    if !dry_run {
        advise(context, &done, steer);
    }
    Ok(Exit::Ok)
}

/// Where the rollout stands now, or would.
fn sentence(done: &Steered, dry_run: bool) -> String {
    let rollout = &done.rollout;
    format!(
        "rollout {} of {} {} {} at step {} (generation {})",
        rollout.id,
        names::rollout_slot(rollout),
        if dry_run { "would be" } else { "is" },
        names::rollout_phase(rollout.phase),
        names::rollout_step(rollout),
        done.slot.generation
    )
}

fn to_json(done: &Steered, request_id: &str, dry_run: bool) -> Value {
    json!({
        "rollout": json::rollout(&done.rollout),
        "slot": json::slot(&done.slot),
        "before": json::slot(&done.before),
        "request_id": request_id,
        "dry_run": dry_run,
    })
}

/// Says how to see it come about, and how to undo it.
fn advise(context: &Context, done: &Steered, steer: Steer) {
    let rollout = &done.rollout;
    let slot = addressed(rollout);
    let stable = names::rollout_version(rollout.stable.as_ref());
    let is_promoted = rollout.phase() == RolloutPhase::Promoted;
    let undo = match steer {
        // The last step's pause is followed by nothing but the promotion.
        _ if is_promoted => format!("`decant rollback {slot}` brings {stable} back"),
        Steer::Pause => format!("`decant rollout resume {slot}` undoes it"),
        Steer::Resume => format!("`decant rollout pause {slot}` undoes it"),
        Steer::Promote | Steer::PromoteFully => {
            format!("`decant rollout abort {slot}` gives all of the traffic back to {stable}")
        }
        Steer::Abort => format!(
            "`decant rollout retry {slot} --rollout {}` begins it anew",
            rollout.id
        ),
        Steer::Unspecified => return,
    };
    context.output.advise(&format!(
        "`decant rollout status {slot} --watch` shows how it goes on"
    ));
    context.output.advise(&undo);
}
