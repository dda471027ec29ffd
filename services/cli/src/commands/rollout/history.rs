//! `decant rollout history`: what was released in a slot, and how it ended.

use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::Rollout;

use crate::commands::note_more;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// Shows a slot's rollouts.
pub(super) async fn show(
    context: &Context,
    model: &ModelName,
    slot: &SlotName,
    limit: usize,
) -> Result<Exit, Failure> {
    let rollouts = context
        .registry
        .list_rollouts(model.as_str(), slot.as_str(), limit)
        .await?;
    context.output.named(
        rollouts.items.iter().map(|rollout| &rollout.id),
        || json::list(&rollouts.items, json::rollout),
        |palette| table(&rollouts.items, palette),
    )?;
    if rollouts.items.is_empty() {
        context.output.advise(&format!(
            "nothing was released in {model}/{slot} yet; `decant rollout start` begins it"
        ));
    }
    note_more(context, rollouts.has_more);
    Ok(Exit::Ok)
}

fn table(rollouts: &[Rollout], palette: Palette) -> String {
    let mut table = Table::new([
        "ID",
        "VERSION",
        "PHASE",
        ">STEP",
        "STARTED (UTC)",
        "MOVED (UTC)",
        "BY",
        "WHY",
    ]);
    for rollout in rollouts {
        let by = match rollout.moved_by.as_str() {
            "" => &rollout.issued_by,
            _ => &rollout.moved_by,
        };
        // Why it is where it is says more than why it was begun.
        let why = match rollout.reason_in_phase.as_str() {
            "" => &rollout.reason,
            _ => &rollout.reason_in_phase,
        };
        table.row([
            Cell::from(&rollout.id),
            Cell::from(names::rollout_version(rollout.candidate.as_ref())),
            names::rollout_phase_cell(rollout.phase),
            Cell::from(names::rollout_step(rollout)),
            Cell::from(units::time(rollout.start_time.as_ref())),
            Cell::from(units::time(rollout.move_time.as_ref())),
            Cell::from(by),
            Cell::from(why),
        ]);
    }
    table.render(palette)
}
