//! `decant slot`: see and choose which version serves.

mod wait;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::{SetSlotRequest, Slot};
use serde_json::json;

use crate::arguments::duration;
use crate::arguments::version::{VersionArgument, parse};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show which version is to serve.
    Get {
        /// The model.
        model: ModelName,
        /// The slot.
        #[arg(long, default_value_t)]
        slot: SlotName,
    },
    /// Let a version serve, and wait until it does.
    Set(SetArguments),
}

/// What `slot set` takes.
#[derive(Args)]
pub(crate) struct SetArguments {
    /// The model.
    model: ModelName,
    /// A number, or `latest`.
    #[arg(value_parser = parse)]
    version: VersionArgument,
    /// The slot.
    #[arg(long, default_value_t)]
    slot: SlotName,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who asks, for the record.
    #[arg(
        long,
        value_name = "NAME",
        env = "USER",
        default_value = "unknown",
        hide_env_values = true
    )]
    by: String,
    /// Change the slot only if its generation is still this one (0: never set).
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
    /// How long to wait until the scorer serves the version.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    wait: Duration,
    /// Do not wait.
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

/// Carries out `decant slot`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Get { model, slot } => {
            let slot = context
                .registry
                .get_slot(model.as_str(), slot.as_str())
                .await?;
            context
                .output
                .result(|| json::slot(&slot), |palette| render(&slot, palette))?;
            Ok(Exit::Ok)
        }
        Command::Set(arguments) => set(context, arguments).await,
    }
}

fn render(slot: &Slot, palette: Palette) -> String {
    let facts = Facts::default()
        .with("slot", format!("{}/{}", slot.model, slot.slot))
        .with("generation", slot.generation.to_string())
        .with_some("set by", &slot.issued_by)
        .with_some("reason", &slot.reason)
        .with_some("set", &units::time(slot.issue_time.as_ref()));
    let mut table = Table::new(["VERSION", "ARM", ">WEIGHT", "DIGEST"]);
    for version in &slot.active {
        table.row([
            Cell::from(names::version(version.version)),
            Cell::from(names::arm(version.arm)),
            Cell::from(format!(
                "{:.2} %",
                f64::from(version.weight_basis_points) / 100.0
            )),
            Cell::from(names::digest(&version.digest)),
        ]);
    }
    format!("{}\n{}", facts.render(palette), table.render(palette))
}

async fn set(context: &Context, arguments: SetArguments) -> Result<Exit, Failure> {
    let version = match arguments.version {
        VersionArgument::Number(number) => number,
        VersionArgument::Latest => {
            context
                .registry
                .get_version(arguments.model.as_str(), VersionArgument::Latest)
                .await?
                .version
        }
    };
    let change = SetSlotRequest {
        model: arguments.model.into(),
        slot: arguments.slot.into(),
        version,
        expected_generation: arguments.expect_generation,
        issued_by: arguments.by,
        reason: arguments.reason,
        ..SetSlotRequest::default()
    };
    let set_at = Instant::now();
    let slot = context.registry.set_slot(change).await?;
    let change = format!(
        "{}/{} is set to {} (generation {})",
        slot.model,
        slot.slot,
        names::version(version),
        slot.generation
    );
    let available_after = if arguments.no_wait {
        None
    } else {
        context
            .output
            .note(&format!("{change}; waiting for the scorer"));
        wait::until_available(context, &slot, version, arguments.wait).await?;
        Some(set_at.elapsed().as_secs_f64())
    };
    context.output.result(
        || json!({ "slot": json::slot(&slot), "available_after_seconds": available_after }),
        |_| match available_after {
            Some(seconds) => format!("{change}, available after {seconds:.2} s\n"),
            None => format!("{change}\n"),
        },
    )?;
    if arguments.no_wait {
        context
            .output
            .advise("`decant scorer list` shows when it is available");
    }
    Ok(Exit::Ok)
}
