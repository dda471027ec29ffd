//! `decant slot status`: what each live scorer makes of a slot.

use decant_chassis::signal::Signals;
use decant_proto::rollout::v1::SlotStatus;

use super::{SlotArguments, frozen, observed};
use crate::commands::follow::{Follow, OfSlot};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::{Palette, Tone};
use crate::output::{json, names};

/// Shows the status once.
pub(super) async fn show(context: &Context, slot: &SlotArguments) -> Result<Exit, Failure> {
    let status = context
        .registry
        .get_slot_status(slot.model.as_str(), slot.slot.as_str())
        .await?;
    context.output.named(
        status.scorers.iter().map(observed::name),
        || json::slot_status(&status),
        |palette| render(&status, palette),
    )?;
    Ok(Exit::Ok)
}

/// Shows the status, and again whenever it has changed, until the user has seen enough.
pub(super) async fn watch(context: &Context, slot: &SlotArguments) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    tokio::select! {
        failed = follow(context, slot) => failed,
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}

async fn follow(context: &Context, slot: &SlotArguments) -> Result<Exit, Failure> {
    let name = format!("{}/{}", slot.model, slot.slot);
    let mut feed = Follow::new(
        context,
        OfSlot {
            model: slot.model.as_str(),
            slot: slot.slot.as_str(),
        },
    );
    let mut last: Option<SlotStatus> = None;
    loop {
        let status = feed.next().await?;
        if last.as_ref() == Some(&status) {
            continue;
        }
        let separator = if last.is_some() { "\n" } else { "" };
        context.output.item(
            &name,
            || json::slot_status(&status),
            |palette| format!("{separator}{}", render(&status, palette)),
        )?;
        last = Some(status);
    }
}

fn render(status: &SlotStatus, palette: Palette) -> String {
    let slot = status.slot.clone().unwrap_or_default();
    let pending = match (slot.pending.is_empty(), slot.min_ready_percent) {
        (true, _) => String::new(),
        (false, 0 | 100) => names::slot_versions(&slot.pending),
        (false, percent) => format!(
            "{}, once {percent} % of the scorers have it ready",
            names::slot_versions(&slot.pending)
        ),
    };
    let converged = match status.converged {
        true if status.scorers.is_empty() => Cell::from("yes: no scorer is live"),
        true => Cell::new("yes", Tone::Good),
        false => Cell::new("no", Tone::Busy),
    };
    let mut facts = Facts::default()
        .with("slot", names::slot(&slot))
        .with("generation", slot.generation.to_string())
        .with_some("active", &names::slot_versions(&slot.active))
        .with_some("pending", &pending)
        .with_some("prepared", &names::slot_versions(&slot.prepare))
        .with_some("rollout", &slot.rollout)
        .with_some("frozen", &frozen(&slot))
        .with("converged", converged);
    if !status.blocked.is_empty() {
        facts = facts.with("blocked", Cell::new(&status.blocked, Tone::Bad));
    }
    let mut table = Table::new([
        "NAME",
        "ZONE",
        ">GENERATION",
        ">SERVING",
        "VERSIONS",
        "STATE",
        "ERROR",
    ]);
    for scorer in &status.scorers {
        let zone = scorer.scorer.as_ref().map(|scorer| scorer.zone.as_str());
        table.row([
            Cell::from(observed::name(scorer)),
            Cell::from(zone.unwrap_or_default()),
            Cell::from(scorer.generation.to_string()),
            Cell::from(scorer.serving.to_string()),
            Cell::from(observed::versions(scorer)),
            observed::state(scorer, &slot),
            Cell::from(observed::error(scorer)),
        ]);
    }
    if table.is_empty() {
        return facts.render(palette);
    }
    format!("{}\n{}", facts.render(palette), table.render(palette))
}

#[cfg(test)]
mod tests;
