//! `decant scorer`: the live scorers, and what one of them serves.

use clap::Subcommand;
use decant_proto::rollout::v1::Scorer;
use decant_proto::scorer::v1::{LoadTimes, Servable};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the live scorers, as the registry knows them.
    List,
    /// List every version that the scorer at --scorer has, wants, or failed to load.
    Servables,
}

/// Carries out `decant scorer`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::List => list(context).await,
        Command::Servables => servables(context).await,
    }
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let scorers = context.registry.list_scorers().await?;
    context.output.named(
        scorers.iter().map(|scorer| &scorer.name),
        || json::list(&scorers, json::scorer),
        |palette| live(&scorers, palette),
    )?;
    if scorers.is_empty() {
        context.output.advise("no scorer is live");
    }
    Ok(Exit::Ok)
}

fn live(scorers: &[Scorer], palette: Palette) -> String {
    let mut table = Table::new(["NAME", "ZONE", "ADDRESS", "STARTED (UTC)", "BUILD", "+BOOT"]);
    for scorer in scorers {
        table.row([
            Cell::from(&scorer.name),
            Cell::from(&scorer.zone),
            Cell::from(&scorer.address),
            Cell::from(units::time(scorer.start_time.as_ref())),
            Cell::from(&scorer.build),
            Cell::from(&scorer.boot_id),
        ]);
    }
    table.render(palette)
}

async fn servables(context: &Context) -> Result<Exit, Failure> {
    let servables = context.scorer.list_servables().await?;
    context.output.result(
        || json::list(&servables, json::servable),
        |palette| table(&servables, palette),
    )?;
    if servables.is_empty() {
        context
            .output
            .advise("the scorer serves nothing yet; `decant slot set MODEL VERSION` changes that");
    }
    Ok(Exit::Ok)
}

fn table(servables: &[Servable], palette: Palette) -> String {
    // The error comes last: it is long, and rare.
    let mut table = Table::new([
        "MODEL",
        "SLOT",
        "VERSION",
        "DIGEST",
        "ARM",
        ">GEN",
        "STATE",
        ">ANSWERED",
        ">FETCH",
        ">OPEN",
        ">REPLAY",
        ">WARM-UP",
        "ERROR",
    ]);
    for servable in servables {
        let by = servable.served_by.clone().unwrap_or_default();
        let step = |micros: fn(&LoadTimes) -> u64| {
            Cell::from(
                servable
                    .load_times
                    .as_ref()
                    .map(micros)
                    .map(units::micros)
                    .unwrap_or_default(),
            )
        };
        table.row([
            Cell::from(&by.model),
            Cell::from(&by.slot),
            Cell::from(names::version(by.version)),
            names::digest_cell(&by.digest, palette),
            Cell::from(names::arm(by.arm)),
            Cell::from(by.generation.to_string()),
            names::servable_state_cell(servable),
            Cell::from(servable.answered.to_string()),
            step(|times| times.fetch_micros),
            step(|times| times.open_micros),
            step(|times| times.replay_micros),
            step(|times| times.warm_up_micros),
            Cell::from(&servable.error),
        ]);
    }
    table.render(palette)
}
