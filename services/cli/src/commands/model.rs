//! `decant model`: create and describe models.

use clap::Subcommand;
use decant_model::ModelName;
use decant_proto::registry::v1::{Gate, Model};

use crate::arguments::gate;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::Palette;
use crate::output::{json, names, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a model; creating the same one again is fine.
    Create {
        /// Its name.
        name: ModelName,
        /// What it is, for people.
        #[arg(long, default_value = "")]
        description: String,
        /// What a version's metric must reach to be approved, such as 'auc>=0.78'; may be given several times.
        #[arg(long = "gate", value_name = "GATE", value_parser = gate::parse)]
        gates: Vec<Gate>,
    },
    /// List all models.
    List,
    /// Show one model.
    Describe {
        /// Its name.
        name: ModelName,
    },
}

/// Carries out `decant model`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Create {
            name,
            description,
            gates,
        } => {
            let model = Model {
                name: name.into(),
                description,
                gates,
                ..Model::default()
            };
            show(context, &context.registry.create_model(model).await?)
        }
        Command::List => list(context).await,
        Command::Describe { name } => {
            show(context, &context.registry.get_model(name.as_str()).await?)
        }
    }
}

fn show(context: &Context, model: &Model) -> Result<Exit, Failure> {
    context.output.result(
        || json::model(model),
        |palette| facts(model).render(palette),
    )?;
    Ok(Exit::Ok)
}

fn facts(model: &Model) -> Facts {
    Facts::default()
        .with("model", &model.name)
        .with_some("description", &model.description)
        .with("latest", latest(model))
        .with("gates", gates(model))
        .with_some("created", &units::time(model.create_time.as_ref()))
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let models = context.registry.list_models().await?;
    context.output.result(
        || json::list(&models, json::model),
        |palette| table(&models, palette),
    )?;
    if models.is_empty() {
        context
            .output
            .advise("there is no model yet; `decant model create NAME` makes one");
    }
    Ok(Exit::Ok)
}

fn table(models: &[Model], palette: Palette) -> String {
    let mut table = Table::new(["NAME", "LATEST", "GATES", "CREATED (UTC)", "DESCRIPTION"]);
    for model in models {
        table.row([
            Cell::from(&model.name),
            Cell::from(latest(model)),
            Cell::from(gates(model)),
            Cell::from(units::time(model.create_time.as_ref())),
            Cell::from(&model.description),
        ]);
    }
    table.render(palette)
}

fn latest(model: &Model) -> String {
    if model.latest_version == 0 {
        "none".to_owned()
    } else {
        names::version(model.latest_version)
    }
}

fn gates(model: &Model) -> String {
    let gates: Vec<String> = model.gates.iter().map(gate::display).collect();
    if gates.is_empty() {
        "none".to_owned()
    } else {
        gates.join(", ")
    }
}
