//! `decant rollback`: an earlier version serves again, whatever goes on in the slot. It never asks, and it waits for
//! nobody unless it is told to.

use std::time::Instant;

use clap::Args;
use decant_chassis::signal::Signals;
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::{Arm, RollbackRequest, Slot};
use serde_json::{Value, json};

use super::convergence::Convergence;
use super::set::{PATIENCE, follow};
use super::{addressed, movement, status_command};
use crate::arguments::request::RequestArguments;
use crate::arguments::version::number;
use crate::commands::follow::{Follow, OfSlot};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{json, names};
use crate::remote::RolledBack;

/// What `rollback` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The model.
    model: ModelName,
    /// The version to go back to; unless given, the stable one of before the rollout under way, or of before the present
    /// one.
    #[arg(long, value_name = "VERSION", value_parser = number)]
    to: Option<u64>,
    /// The slot.
    #[arg(long, default_value_t)]
    slot: SlotName,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    /// Change the slot only if its generation is still this one.
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Wait until every live scorer serves it; exit 7 when that takes longer than --timeout (60s unless given).
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    request: RequestArguments,
}

/// Takes the slot back.
pub(crate) async fn roll_back(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    let stamp = arguments.request.stamp();
    let (dry_run, waits) = (arguments.dry_run, arguments.wait);
    let change = RollbackRequest {
        model: arguments.model.into(),
        slot: arguments.slot.into(),
        version: arguments.to.unwrap_or(0),
        expected_generation: arguments.expect_generation,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id.clone(),
        dry_run,
    };
    let done = context.registry.roll_back(change).await?;
    let committed = Instant::now();
    context.output.note(&movement(&done.before, &done.slot));
    let mut convergence = None;
    if waits {
        match wait(context, &done, committed).await? {
            Some(seen) => convergence = Some(seen),
            None => return Ok(Exit::Interrupted),
        }
    }
    let summary = convergence.as_ref().and_then(Convergence::summary);
    context.output.named(
        [names::slot(&done.slot)],
        || to_json(&done, &stamp.request_id, dry_run, convergence.as_ref()),
        |_| match summary {
            Some(summary) => format!("{summary}\n"),
            None => format!("{}\n", sentence(&done, dry_run)),
        },
    )?;
    if !dry_run {
        advise(context, &done, waits);
    }
    Ok(Exit::Ok)
}

/// The number of the version that answers by default.
fn stable(slot: &Slot) -> Option<u64> {
    let stable = slot.active.iter().find(|one| one.arm() == Arm::Stable);
    stable.or(slot.active.first()).map(|one| one.version)
}

/// What was done in words, or would be.
fn sentence(done: &RolledBack, dry_run: bool) -> String {
    let (is, ends) = if dry_run {
        ("would be rolled back", "would end")
    } else {
        ("is rolled back", "has ended")
    };
    let rollout = match done.rollout.as_str() {
        "" => String::new(),
        id => format!("; rollout {id} {ends} with it"),
    };
    format!(
        "{} {is} to {} (generation {}){rollout}",
        names::slot(&done.slot),
        names::slot_versions(&done.slot.active),
        done.slot.generation
    )
}

/// Waits until every live scorer serves it; `None` when the user has waited enough.
async fn wait(
    context: &Context,
    done: &RolledBack,
    committed: Instant,
) -> Result<Option<Convergence>, Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let patience = context.timeout.unwrap_or(PATIENCE);
    let slot = &done.slot;
    let mut convergence = Convergence::new(slot, stable(slot).unwrap_or(0));
    let mut feed = Follow::new(
        context,
        OfSlot {
            model: &slot.model,
            slot: &slot.slot,
        },
    );
    let goes_on = format!("`{} --watch` shows how it goes on", status_command(slot));
    let followed = tokio::select! {
        followed = tokio::time::timeout(patience, follow(context, &mut feed, &mut convergence, committed)) => followed,
        _ = signals.next() => {
            context.output.note(&format!("stopped waiting; the rollback stands. {goes_on}"));
            return Ok(None);
        }
    };
    match followed {
        Ok(followed) => followed.map(|()| Some(convergence)),
        Err(_) => {
            let outage = feed.outage().map(|failure| failure.what().to_owned());
            let what = format!(
                "{}, but after {} s {}",
                sentence(done, false),
                patience.as_secs_f64(),
                convergence.shortfall()
            );
            let details = convergence.obstacles().into_iter().chain(outage);
            Err(Failure::unfinished(what)
                .after(details)
                .hint(format!("the rollback stands; {goes_on}")))
        }
    }
}

fn to_json(
    done: &RolledBack,
    request_id: &str,
    dry_run: bool,
    convergence: Option<&Convergence>,
) -> Value {
    json!({
        "slot": json::slot(&done.slot),
        "before": json::slot(&done.before),
        "rollout": done.rollout,
        "request_id": request_id,
        "dry_run": dry_run,
        "available_after_seconds": convergence.and_then(Convergence::took).map(|took| took.as_secs_f64()),
        "scorers": convergence.map(Convergence::to_json),
    })
}

/// Says how to see it come about, and how to undo it.
fn advise(context: &Context, done: &RolledBack, is_seen: bool) {
    let slot = addressed(&done.slot);
    if !is_seen {
        context.output.advise(&format!(
            "`{} --watch` shows how scorers follow",
            status_command(&done.slot)
        ));
    }
    if !done.rollout.is_empty() {
        context.output.advise(&format!(
            "`decant rollout retry {slot} --rollout {}` begins the rollout anew",
            done.rollout
        ));
    } else if let Some(version) = stable(&done.before) {
        context
            .output
            .advise(&format!("`decant slot set {slot} {version}` undoes it"));
    }
}
