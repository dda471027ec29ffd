//! `decant admin`: the care of a cluster.

mod backup;
mod export;
mod import;
mod log_level;

use std::time::Duration;

use clap::{Args, Subcommand};
use decant_proto::admin::v1::{
    AdoptStoreRequest, CollectGarbageRequest, CollectGarbageResponse, GetClusterResponse,
    RebuildMetadataRequest, RebuildMetadataResponse,
};
use serde_json::json;

use super::confirm::Confirmation;
use crate::arguments::duration;
use crate::arguments::request::{Author, RequestArguments};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::{Palette, Tone};
use crate::output::{json, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show which cluster this is, who leads it, and what stands in the way.
    Status,
    /// Write all metadata to a file, as JSON one record a line.
    Export {
        /// The file; it appears, or is replaced, only when all records are there. `-` is standard output.
        file: String,
    },
    /// Write exported metadata into an empty cluster.
    Import {
        /// The file; `-` is standard input.
        file: String,
        #[command(flatten)]
        author: Author,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Make models and versions anew from the stored bundles, after the metadata was lost without a backup.
    Rebuild {
        /// Only say what would be made.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        author: Author,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Say that the store as it is now is the truth, after a backup was restored: scorers that froze go on.
    Adopt {
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        request: RequestArguments,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Delete bundles that no version names, and files that no bundle names.
    Gc(GarbageArguments),
    /// Show or change what a service logs, while it runs.
    LogLevel(log_level::Arguments),
}

/// What `admin gc` takes.
#[derive(Args)]
pub(crate) struct GarbageArguments {
    /// Only say what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// What is younger than this stays, such as 24h or 7d; at least 2h.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::span)]
    grace: Duration,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Carries out `decant admin`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Status => status(context).await,
        Command::Export { file } => export::export(context, &file).await,
        Command::Import {
            file,
            author,
            confirmation,
        } => import::import(context, &file, author, &confirmation).await,
        Command::Rebuild {
            dry_run,
            author,
            confirmation,
        } => rebuild(context, dry_run, author, &confirmation).await,
        Command::Adopt {
            reason,
            request,
            confirmation,
        } => adopt(context, reason, request, &confirmation).await,
        Command::Gc(arguments) => collect_garbage(context, arguments).await,
        Command::LogLevel(arguments) => log_level::log_level(context, arguments).await,
    }
}

async fn status(context: &Context) -> Result<Exit, Failure> {
    let cluster = context.registry.get_cluster().await?;
    context.output.named(
        [&cluster.uuid],
        || json::cluster(&cluster),
        |palette| cluster_facts(&cluster).render(palette),
    )?;
    Ok(Exit::Ok)
}

fn cluster_facts(cluster: &GetClusterResponse) -> Facts {
    let leader = match cluster.leader.as_str() {
        "" => Cell::new("none", Tone::Bad),
        address => Cell::from(format!("{address} (epoch {})", cluster.epoch)),
    };
    let facts = Facts::default()
        .with("cluster", &cluster.uuid)
        .with("incarnation", cluster.incarnation.to_string())
        .with("revision", cluster.revision.to_string())
        .with("leader", leader)
        .with("scorers", cluster.scorers.to_string());
    match cluster.alarms.as_slice() {
        [] => facts.with("alarms", Cell::new("none", Tone::Good)),
        alarms => alarms.iter().fold(facts, |facts, alarm| {
            facts.with("alarm", Cell::new(alarm, Tone::Bad))
        }),
    }
}

async fn rebuild(
    context: &Context,
    dry_run: bool,
    author: Author,
    confirmation: &Confirmation,
) -> Result<Exit, Failure> {
    if !dry_run {
        confirmation.ask(&format!(
            "The registry at {} will make models and versions from every bundle that it stores, numbered in the order in \
             which they were stored. What exists is left alone; gates, signers, slots and history do not come back.",
            context.registry.0.address()
        ))?;
    }
    let request = RebuildMetadataRequest {
        dry_run,
        issued_by: author.by,
    };
    let rebuilt = context.registry.rebuild_metadata(request).await?;
    context.output.named(
        &rebuilt.models,
        || json::rebuilt(&rebuilt, dry_run),
        |palette| rebuilt_text(&rebuilt, dry_run, palette),
    )?;
    Ok(Exit::Ok)
}

fn rebuilt_text(rebuilt: &RebuildMetadataResponse, dry_run: bool, palette: Palette) -> String {
    let facts = Facts::default()
        .with(
            if dry_run { "would make" } else { "made" },
            versions_of(rebuilt),
        )
        .with_some("models", &rebuilt.models.join(", "));
    let facts = rebuilt.unreadable.iter().fold(facts, |facts, reason| {
        facts.with("unreadable", Cell::new(reason, Tone::Bad))
    });
    facts.render(palette)
}

fn versions_of(rebuilt: &RebuildMetadataResponse) -> String {
    format!(
        "{}, {}",
        plural(rebuilt.models.len() as u64, "model"),
        plural(rebuilt.versions, "version")
    )
}

async fn adopt(
    context: &Context,
    reason: String,
    request: RequestArguments,
    confirmation: &Confirmation,
) -> Result<Exit, Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::usage("--reason must say something"));
    }
    let cluster = context.registry.get_cluster().await?;
    confirmation.ask(&format!(
        "Cluster {} takes its store at revision {} for the truth: what was written after that backup is given up, and its {} \
         go on from it.",
        cluster.uuid,
        cluster.revision,
        plural(u64::from(cluster.scorers), "live scorer")
    ))?;
    let stamp = request.stamp();
    let request = AdoptStoreRequest {
        issued_by: stamp.issued_by,
        reason,
        request_id: stamp.request_id,
    };
    let adopted = context.registry.adopt_store(request).await?;
    context.output.named(
        &adopted.slots,
        || json!({ "incarnation": adopted.incarnation, "slots": adopted.slots }),
        |palette| {
            Facts::default()
                .with("incarnation", adopted.incarnation.to_string())
                .with("slots raised", adopted.slots.join(", "))
                .render(palette)
        },
    )?;
    Ok(Exit::Ok)
}

async fn collect_garbage(context: &Context, arguments: GarbageArguments) -> Result<Exit, Failure> {
    let GarbageArguments {
        dry_run,
        grace,
        author,
        confirmation,
    } = arguments;
    if !dry_run {
        confirmation.ask(&format!(
            "The registry at {} will delete bundles and files that nothing names and that are older than {}; --dry-run lists \
             them.",
            context.registry.0.address(),
            units::wait(grace.as_secs_f64())
        ))?;
    }
    let request = CollectGarbageRequest {
        dry_run,
        grace_seconds: grace.as_secs(),
        issued_by: author.by,
    };
    let garbage = context.registry.collect_garbage(request).await?;
    context.output.named(
        &garbage.bundles,
        || json::garbage(&garbage, dry_run),
        |palette| garbage_text(&garbage, dry_run, palette),
    )?;
    Ok(Exit::Ok)
}

fn garbage_text(garbage: &CollectGarbageResponse, dry_run: bool, palette: Palette) -> String {
    let verb = if dry_run { "would delete" } else { "deleted" };
    let what = format!(
        "{}, {}, {}",
        plural(garbage.bundles.len() as u64, "bundle"),
        plural(garbage.blobs, "file"),
        units::bytes(garbage.bytes)
    );
    let facts = Facts::default()
        .with(verb, what)
        .with("kept young", garbage.kept_young.to_string())
        .render(palette);
    if garbage.bundles.is_empty() {
        return facts;
    }
    let mut table = Table::new(["BUNDLE"]);
    for bundle in &garbage.bundles {
        table.row([Cell::from(bundle)]);
    }
    format!("{facts}\n{}", table.render(palette))
}

/// A count and its noun: `1 model`, `2 models`.
fn plural(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}
