//! `decant slot history`: what was to serve, and when.

use std::time::SystemTime;

use decant_proto::rollout::v1::Slot;

use super::SlotArguments;
use crate::arguments::moment::Moment;
use crate::commands::note_more;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// Shows a slot's changes, or the one that held at a time.
pub(super) async fn show(
    context: &Context,
    slot: &SlotArguments,
    at: Option<Moment>,
    limit: usize,
) -> Result<Exit, Failure> {
    let at = at.map(|moment| moment.resolve(SystemTime::now()));
    let history = context
        .registry
        .list_slot_history(slot.model.as_str(), slot.slot.as_str(), at, limit)
        .await?;
    let name = |slot: &Slot| format!("{}@{}", names::slot(slot), slot.generation);
    context.output.named(
        history.items.iter().map(name),
        || json::list(&history.items, json::slot),
        |palette| table(&history.items, palette),
    )?;
    if history.items.is_empty() {
        let when = at.map_or("yet".to_owned(), |at| {
            format!("at {}", units::time(Some(&at)))
        });
        context
            .output
            .advise(&format!("{}/{} was not set {when}", slot.model, slot.slot));
    }
    note_more(context, history.has_more && at.is_none());
    Ok(Exit::Ok)
}

/// Empty for a change that an operator made.
fn epoch(epoch: u64) -> String {
    if epoch == 0 {
        String::new()
    } else {
        epoch.to_string()
    }
}

fn table(history: &[Slot], palette: Palette) -> String {
    let mut table = Table::new([
        ">GENERATION",
        "SET (UTC)",
        "ACTIVE",
        "PENDING",
        "PREPARED",
        "BY",
        "REASON",
        "+>EPOCH",
    ]);
    for slot in history {
        table.row([
            Cell::from(slot.generation.to_string()),
            Cell::from(units::time(slot.issue_time.as_ref())),
            Cell::from(names::slot_versions(&slot.active)),
            Cell::from(names::slot_versions(&slot.pending)),
            Cell::from(names::slot_versions(&slot.prepare)),
            Cell::from(&slot.issued_by),
            Cell::from(&slot.reason),
            Cell::from(epoch(slot.epoch)),
        ]);
    }
    table.render(palette)
}
