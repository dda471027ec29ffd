//! `decant version`: describe and download versions.

mod describe;
mod fetch;

use std::path::PathBuf;

use clap::Subcommand;
use decant_model::ModelName;
use decant_proto::registry::v1::Version;

use crate::arguments::version::{VersionArgument, parse};
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
    },
    /// Show a version's files, metrics, gates and lineage.
    Describe {
        /// The model.
        model: ModelName,
        /// A number, or `latest`.
        #[arg(value_parser = parse, default_value = "latest")]
        version: VersionArgument,
    },
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

/// Carries out `decant version`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::List { model } => list(context, &model).await,
        Command::Describe { model, version } => describe::describe(context, &model, version).await,
        Command::Fetch { model, version, to } => fetch::fetch(context, &model, version, &to).await,
    }
}

async fn list(context: &Context, model: &ModelName) -> Result<Exit, Failure> {
    let versions = context.registry.list_versions(model.as_str()).await?;
    context.output.result(
        || json::list(&versions, json::version),
        |palette| table(&versions, palette),
    )?;
    if versions.is_empty() {
        context.output.advise(&format!(
            "model {model} has no version yet; a training job pushes them"
        ));
    }
    Ok(Exit::Ok)
}

fn table(versions: &[Version], palette: Palette) -> String {
    let mut table = Table::new([
        "VERSION",
        "STATE",
        ">GATES",
        "DIGEST",
        ">SIZE",
        "CREATED (UTC)",
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
            Cell::from(names::digest(&version.digest)),
            Cell::from(units::bytes(version.size_bytes)),
            Cell::from(units::time(version.create_time.as_ref())),
        ]);
    }
    table.render(palette)
}
