//! `decant model`: create, describe and change models.

use clap::{ArgGroup, Args, Subcommand};
use decant_model::ModelName;
use decant_proto::registry::v1::{
    CreateModelRequest, Gate, Gates, Model, Signers, UpdateModelRequest,
};

use crate::arguments::request::RequestArguments;
use crate::arguments::{gate, signer};
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
        /// A key that may sign versions, as `decant key public` prints it; may be given several times. Where there is one,
        /// versions that nobody signed are refused.
        #[arg(long = "signer", value_name = "KEY", value_parser = signer::parse)]
        signers: Vec<String>,
        #[command(flatten)]
        request: RequestArguments,
    },
    /// Change a model's description, gates or signers; what is not given stays.
    Update(UpdateArguments),
    /// List all models.
    List,
    /// Show one model.
    Describe {
        /// Its name.
        name: ModelName,
    },
}

/// What `model update` takes.
#[derive(Args)]
#[command(group = ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct UpdateArguments {
    /// Its name.
    name: ModelName,
    /// The new description.
    #[arg(long, group = "change")]
    description: Option<String>,
    /// A gate; all that are given replace all that there are. They judge new versions only.
    #[arg(long = "gate", value_name = "GATE", value_parser = gate::parse, group = "change")]
    gates: Vec<Gate>,
    /// Take all gates away.
    #[arg(long, conflicts_with = "gates", group = "change")]
    no_gates: bool,
    /// A key that may sign versions; all that are given replace all that there are.
    #[arg(long = "signer", value_name = "KEY", value_parser = signer::parse, group = "change")]
    signers: Vec<String>,
    /// Take all keys away: versions then need no signature.
    #[arg(long, conflicts_with = "signers", group = "change")]
    no_signers: bool,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    request: RequestArguments,
}

impl UpdateArguments {
    fn request(self) -> UpdateModelRequest {
        let stamp = self.request.stamp();
        let replaces_gates = self.no_gates || !self.gates.is_empty();
        let replaces_signers = self.no_signers || !self.signers.is_empty();
        UpdateModelRequest {
            name: self.name.into(),
            description: self.description,
            gates: replaces_gates.then_some(Gates { gates: self.gates }),
            signers: replaces_signers.then_some(Signers { keys: self.signers }),
            request_id: stamp.request_id,
            issued_by: stamp.issued_by,
            reason: self.reason,
        }
    }
}

/// Carries out `decant model`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Create {
            name,
            description,
            gates,
            signers,
            request,
        } => {
            let stamp = request.stamp();
            let model = Model {
                name: name.into(),
                description,
                gates,
                signers,
                ..Model::default()
            };
            let request = CreateModelRequest {
                model: Some(model),
                request_id: stamp.request_id,
                issued_by: stamp.issued_by,
            };
            show(context, &context.registry.create_model(request).await?)
        }
        Command::Update(arguments) => {
            let updated = context.registry.update_model(arguments.request());
            show(context, &updated.await?)
        }
        Command::List => list(context).await,
        Command::Describe { name } => {
            show(context, &context.registry.get_model(name.as_str()).await?)
        }
    }
}

fn show(context: &Context, model: &Model) -> Result<Exit, Failure> {
    context.output.named(
        [&model.name],
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
        .with_some("signers", &model.signers.join(", "))
        .with_some("created", &units::time(model.create_time.as_ref()))
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let models = context.registry.list_models().await?;
    context.output.named(
        models.iter().map(|model| &model.name),
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
