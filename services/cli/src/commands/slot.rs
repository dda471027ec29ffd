//! `decant slot`: see and choose which version serves.

mod set;
mod convergence;
pub(super) mod observed;
mod status;
mod history;
mod freeze;
mod rollback;

pub(crate) use rollback::{Arguments as RollbackArguments, roll_back};

use clap::{Args, Subcommand};
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::{PrepareSlotRequest, Slot};

use crate::arguments::moment::{self, Moment};
use crate::arguments::request::RequestArguments;
use crate::arguments::version::{VersionArgument, parse};
use crate::commands::limit;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show which version is to serve.
    Get(SlotArguments),
    /// Let a version serve, and wait until every live scorer serves it; exit 7 when that takes longer than --timeout.
    Set(set::Arguments),
    /// Have scorers fetch, verify and warm up a version beside those in service.
    Prepare(PrepareArguments),
    /// Show what each live scorer makes of the slot.
    Status {
        #[command(flatten)]
        slot: SlotArguments,
        /// Show each change, until interrupted; as JSON one line each.
        #[arg(long)]
        watch: bool,
    },
    /// Show what was to serve, the newest first; or at one time.
    History {
        #[command(flatten)]
        slot: SlotArguments,
        /// Only what was to serve then: a time such as 2026-05-01T12:00:00Z, or how long ago, such as 10m.
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        at: Option<Moment>,
        /// How many changes to show at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = limit)]
        limit: usize,
    },
    /// Keep the slot as it is: until it is unfrozen, only a rollback or an abort changes it.
    Freeze(freeze::Arguments),
    /// Let a frozen slot change again.
    Unfreeze(freeze::Arguments),
}

/// A slot.
#[derive(Args)]
pub(crate) struct SlotArguments {
    /// The model.
    model: ModelName,
    /// The slot.
    #[arg(long, default_value_t)]
    slot: SlotName,
}

/// What `slot prepare` takes.
#[derive(Args)]
pub(crate) struct PrepareArguments {
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
    /// Change the slot only if its generation is still this one (0: never set).
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
    #[command(flatten)]
    request: RequestArguments,
}

/// Carries out `decant slot`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Get(SlotArguments { model, slot }) => {
            let slot = context
                .registry
                .get_slot(model.as_str(), slot.as_str())
                .await?;
            context.output.named(
                [names::slot(&slot)],
                || json::slot(&slot),
                |palette| render(&slot, palette),
            )?;
            Ok(Exit::Ok)
        }
        Command::Set(arguments) => set::set(context, arguments).await,
        Command::Prepare(arguments) => prepare(context, arguments).await,
        Command::Status { slot, watch: false } => status::show(context, &slot).await,
        Command::Status { slot, watch: true } => status::watch(context, &slot).await,
        Command::History { slot, at, limit } => history::show(context, &slot, at, limit).await,
        Command::Freeze(arguments) => freeze::change(context, arguments, true).await,
        Command::Unfreeze(arguments) => freeze::change(context, arguments, false).await,
    }
}

fn render(slot: &Slot, palette: Palette) -> String {
    let facts = Facts::default()
        .with("slot", names::slot(slot))
        .with("generation", slot.generation.to_string())
        .with_some("pending", &names::slot_versions(&slot.pending))
        .with_some("prepared", &names::slot_versions(&slot.prepare))
        .with_some("set by", &slot.issued_by)
        .with_some("reason", &slot.reason)
        .with_some("set", &units::time(slot.issue_time.as_ref()))
        .with_some("rollout", &slot.rollout)
        .with_some("frozen", &frozen(slot))
        .with_some("compared", &compared(slot));
    let mut table = Table::new(["VERSION", "ARM", ">WEIGHT", "DIGEST"]);
    for version in &slot.active {
        table.row([
            Cell::from(names::version(version.version)),
            Cell::from(names::arm(version.arm)),
            Cell::from(names::weight_share(version.weight_basis_points)),
            names::digest_cell(&version.digest, palette),
        ]);
    }
    format!("{}\n{}", facts.render(palette), table.render(palette))
}

/// Who keeps the slot as it is, since when and why; empty when nobody does.
fn frozen(slot: &Slot) -> String {
    let Some(freeze) = &slot.frozen else {
        return String::new();
    };
    let since = units::time(freeze.since.as_ref());
    format!("since {since} by {}: {}", freeze.issued_by, freeze.reason)
}

/// How many requests are scored by the other versions too; empty when none is.
fn compared(slot: &Slot) -> String {
    match slot.compare_basis_points {
        0 => String::new(),
        points => format!("{} of the requests", names::weight_share(points)),
    }
}

/// The number of the version that is meant now.
pub(super) async fn number(
    context: &Context,
    model: &ModelName,
    version: VersionArgument,
) -> Result<u64, Failure> {
    match version {
        VersionArgument::Number(number) => Ok(number),
        VersionArgument::Latest => {
            let newest = context.registry.get_version(model.as_str(), version);
            Ok(newest.await?.version)
        }
    }
}

async fn prepare(context: &Context, arguments: PrepareArguments) -> Result<Exit, Failure> {
    let version = number(context, &arguments.model, arguments.version).await?;
    let stamp = arguments.request.stamp();
    let change = PrepareSlotRequest {
        model: arguments.model.into(),
        slot: arguments.slot.into(),
        version,
        expected_generation: arguments.expect_generation,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id,
    };
    let slot = context.registry.prepare_slot(change).await?;
    context.output.named(
        [names::slot(&slot)],
        || json::slot(&slot),
        |_| {
            format!(
                "{} prepares {} (generation {})\n",
                names::slot(&slot),
                names::version(version),
                slot.generation
            )
        },
    )?;
    context.output.advise(&format!(
        "`{} --watch` shows when scorers have it ready",
        status_command(&slot)
    ));
    Ok(Exit::Ok)
}

/// The command that shows how a slot goes on.
fn status_command(slot: &Slot) -> String {
    format!("decant slot status {}", addressed(slot))
}

/// From which versions to which, on one line.
pub(super) fn movement(before: &Slot, after: &Slot) -> String {
    let state = |slot: &Slot| {
        let versions = names::slot_versions(&slot.active);
        format!("{versions} (generation {})", slot.generation)
    };
    if before.generation == after.generation {
        format!("{}: stays {}", names::slot(after), state(after))
    } else {
        format!(
            "{}: {} -> {}",
            names::slot(after),
            state(before),
            state(after)
        )
    }
}

/// A slot as the arguments of a command.
fn addressed(slot: &Slot) -> String {
    address(&slot.model, &slot.slot)
}

/// The same, of its parts.
pub(super) fn address(model: &str, slot: &str) -> String {
    if slot == SlotName::default().as_str() {
        model.to_owned()
    } else {
        format!("{model} --slot {slot}")
    }
}
