//! `decant slot freeze` and `decant slot unfreeze`: a slot stays as it is while somebody looks.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::FreezeSlotRequest;

use super::addressed;
use crate::arguments::request::RequestArguments;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{json, names};

/// What `slot freeze` and `slot unfreeze` take.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The model.
    model: ModelName,
    /// The slot.
    #[arg(long, default_value_t)]
    slot: SlotName,
    /// Why, for the record.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    reason: String,
    /// Change the slot only if its generation is still this one.
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
    #[command(flatten)]
    request: RequestArguments,
}

/// Freezes the slot, or lets it change again.
pub(super) async fn change(
    context: &Context,
    arguments: Arguments,
    frozen: bool,
) -> Result<Exit, Failure> {
    let stamp = arguments.request.stamp();
    let change = FreezeSlotRequest {
        model: arguments.model.into(),
        slot: arguments.slot.into(),
        frozen,
        expected_generation: arguments.expect_generation,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id,
    };
    let slot = context.registry.freeze_slot(change).await?;
    let (state, undo) = if frozen {
        ("is frozen", "unfreeze")
    } else {
        ("may change again", "freeze")
    };
    context.output.named(
        [names::slot(&slot)],
        || json::slot(&slot),
        |_| {
            format!(
                "{} {state} (generation {})\n",
                names::slot(&slot),
                slot.generation
            )
        },
    )?;
    context.output.advise(&format!(
        "`decant slot {undo} {} --reason REASON` undoes it",
        addressed(&slot)
    ));
    Ok(Exit::Ok)
}
