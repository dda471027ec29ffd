//! `decant version`: describe, trace, download and retire versions.

mod describe;
mod lineage;
mod fetch;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use decant_model::ModelName;
use decant_proto::registry::v1::{RetireVersionRequest, Version};

use crate::arguments::request::RequestArguments;
use crate::arguments::version::{VersionArgument, parse};
use crate::commands::confirm::Confirmation;
use crate::commands::{limit, note_more};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List a model's versions, the newest first.
    List {
        /// The model.
        model: ModelName,
        /// How many versions to show at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = limit)]
        limit: usize,
    },
    /// Show a version's files, metrics, gates and lineage.
    Describe {
        /// The model.
        model: ModelName,
        /// A number, or `latest`.
        #[arg(value_parser = parse, default_value = "latest")]
        version: VersionArgument,
    },
    /// Show where a version comes from: its student, data, job and teachers, then the same of its parent, and so on.
    Lineage {
        /// The model.
        model: ModelName,
        /// A number, or `latest`.
        #[arg(value_parser = parse, default_value = "latest")]
        version: VersionArgument,
    },
    /// Take an approved version out of use, for good. One that a slot holds is refused.
    Retire(RetireArguments),
    /// Download a version's bundle, and verify every byte of it.
    Fetch {
        /// The model.
        model: ModelName,
        /// A number, or `latest`.
        #[arg(value_parser = parse)]
        version: VersionArgument,
        /// The folder to make. It appears only when all files are there and verified.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

/// What `version retire` takes.
#[derive(Args)]
pub(crate) struct RetireArguments {
    /// The model.
    model: ModelName,
    /// Its number. What `latest` means may change at any time, so it is not taken here.
    #[arg(value_parser = number)]
    version: u64,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    request: RequestArguments,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Reads the number of one certain version.
fn number(text: &str) -> Result<u64, String> {
    match parse(text) {
        Ok(VersionArgument::Number(number)) => Ok(number),
        _ => Err("a number from 1 is expected".to_owned()),
    }
}

/// Carries out `decant version`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::List { model, limit } => list(context, &model, limit).await,
        Command::Describe { model, version } => describe::describe(context, &model, version).await,
        Command::Lineage { model, version } => lineage::show(context, &model, version).await,
        Command::Retire(arguments) => retire(context, arguments).await,
        Command::Fetch { model, version, to } => fetch::fetch(context, &model, version, &to).await,
    }
}

async fn list(context: &Context, model: &ModelName, limit: usize) -> Result<Exit, Failure> {
    let versions = context
        .registry
        .list_versions(model.as_str(), limit)
        .await?;
    context.output.named(
        versions.items.iter().map(names::qualified),
        || json::list(&versions.items, json::version),
        |palette| table(&versions.items, palette),
    )?;
    if versions.items.is_empty() {
        context.output.advise(&format!(
            "model {model} has no version yet; a training job pushes them"
        ));
    }
    note_more(context, versions.has_more);
    Ok(Exit::Ok)
}

async fn retire(context: &Context, arguments: RetireArguments) -> Result<Exit, Failure> {
    arguments.confirmation.ask(&format!(
        "{} {} will be taken out of use, and cannot be taken back into it.",
        arguments.model,
        names::version(arguments.version)
    ))?;
    let stamp = arguments.request.stamp();
    let request = RetireVersionRequest {
        model: arguments.model.into(),
        version: arguments.version,
        request_id: stamp.request_id,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
    };
    let version = context.registry.retire_version(request).await?;
    context.output.named(
        [names::qualified(&version)],
        || json::version(&version),
        |_| {
            format!(
                "{} {} is {}\n",
                version.model,
                names::version(version.version),
                names::version_state(version.state)
            )
        },
    )?;
    Ok(Exit::Ok)
}

fn table(versions: &[Version], palette: Palette) -> String {
    let mut table = Table::new([
        "VERSION",
        "STATE",
        ">GATES",
        "SIGNER",
        "DIGEST",
        ">SIZE",
        "CREATED (UTC)",
        "+SINCE (UTC)",
        "+REASON",
    ]);
    for version in versions {
        let passed = version
            .gate_results
            .iter()
            .filter(|result| result.passed)
            .count();
        table.row([
            Cell::from(names::version(version.version)),
            names::version_state_cell(version.state),
            Cell::from(format!("{passed}/{}", version.gate_results.len())),
            Cell::from(names::signer(&version.signature)),
            names::digest_cell(&version.digest, palette),
            Cell::from(units::bytes(version.size_bytes)),
            Cell::from(units::time(version.create_time.as_ref())),
            Cell::from(units::time(version.state_time.as_ref())),
            Cell::from(&version.state_reason),
        ]);
    }
    table.render(palette)
}
