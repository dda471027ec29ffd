//! `decant plan`: how a model's versions are released. Plans are TOML, in and out.

use clap::Subcommand;
use decant_model::rollout::{Plan, Step};
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::plan::{from_wire, to_wire};
use decant_proto::rollout::v1::{PutPlanRequest, StoredPlan};

use super::read_text;
use crate::arguments::request::RequestArguments;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::Palette;
use crate::output::{json, units};

/// The plan that rollouts follow when they name none.
const DEFAULT: &str = "default";

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Store a plan; one of the same name is replaced. Rollouts under way keep the plan that they began with.
    Put {
        /// The model.
        model: ModelName,
        /// The plan as TOML; `-` is standard input.
        file: String,
        /// The plan's name; rollouts that name none follow the one named default.
        #[arg(long, default_value = DEFAULT)]
        name: SlotName,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        request: RequestArguments,
    },
    /// Print a plan as TOML, as `plan put` takes it.
    Get {
        /// The model.
        model: ModelName,
        /// The plan's name.
        #[arg(default_value = DEFAULT)]
        name: SlotName,
    },
    /// List a model's stored plans, by name.
    List {
        /// The model.
        model: ModelName,
    },
}

/// Carries out `decant plan`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Put {
            model,
            file,
            name,
            reason,
            request,
        } => {
            let plan = read(&file)?;
            let stamp = request.stamp();
            let change = PutPlanRequest {
                model: model.into(),
                name: name.into(),
                plan: Some(to_wire(&plan)),
                issued_by: stamp.issued_by,
                reason,
                request_id: stamp.request_id,
            };
            put(context, change).await
        }
        Command::Get { model, name } => get(context, &model, &name).await,
        Command::List { model } => list(context, &model).await,
    }
}

/// Reads and checks a plan's file.
pub(super) fn read(path: &str) -> Result<Plan, Failure> {
    parse(&read_text(path)?).map_err(|reason| Failure::usage(format!("{path}: {reason}")))
}

fn parse(text: &str) -> Result<Plan, String> {
    let plan: Plan = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })?;
    plan.check().map_err(|error| error.to_string())?;
    Ok(plan)
}

async fn put(context: &Context, change: PutPlanRequest) -> Result<Exit, Failure> {
    let stored = context.registry.put_plan(change).await?;
    context.output.named(
        [qualified(&stored)],
        || json::stored_plan(&stored),
        |_| format!("plan {} is stored\n", qualified(&stored)),
    )?;
    let model = &stored.model;
    let named = match stored.name.as_str() {
        DEFAULT => String::new(),
        name => format!(" --plan {name}"),
    };
    context.output.advise(&format!(
        "`decant rollout start {model} VERSION{named}` follows it; with --dry-run it only says how"
    ));
    Ok(Exit::Ok)
}

async fn get(context: &Context, model: &ModelName, name: &SlotName) -> Result<Exit, Failure> {
    let stored = context
        .registry
        .get_plan(model.as_str(), name.as_str())
        .await?;
    let text = text(&stored)?;
    context.output.named(
        [qualified(&stored)],
        || json::stored_plan(&stored),
        |_| text,
    )?;
    if stored.issue_time.is_none() {
        context
            .output
            .advise("this is the built-in plan; `decant plan put` stores another one");
    }
    Ok(Exit::Ok)
}

async fn list(context: &Context, model: &ModelName) -> Result<Exit, Failure> {
    let plans = context.registry.list_plans(model.as_str()).await?;
    context.output.named(
        plans.iter().map(qualified),
        || json::list(&plans, json::stored_plan),
        |palette| table(&plans, palette),
    )?;
    if plans.is_empty() {
        context.output.advise(&format!(
            "model {model} has no plan of its own; `decant plan get {model}` shows the built-in one"
        ));
    }
    Ok(Exit::Ok)
}

/// A plan's name among those of all models, such as `movies/default`.
fn qualified(stored: &StoredPlan) -> String {
    format!("{}/{}", stored.model, stored.name)
}

/// A plan as its file.
fn text(stored: &StoredPlan) -> Result<String, Failure> {
    let unreadable = |reason: String| {
        Failure::new(format!(
            "plan {} cannot be shown: {reason}",
            qualified(stored)
        ))
    };
    let plan = from_wire(stored.plan.clone().unwrap_or_default())
        .map_err(|error| unreadable(error.to_string()))?;
    toml::to_string(&plan).map_err(|error| unreadable(error.to_string()))
}

/// Steps on one line, such as `1%, analysis 30m`.
pub(super) fn steps(steps: &[Step]) -> String {
    let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
    steps.join(", ")
}

fn table(plans: &[StoredPlan], palette: Palette) -> String {
    let mut table = Table::new(["NAME", "STEPS", ">GATES", "SET (UTC)", "BY"]);
    for stored in plans {
        let wire = stored.plan.clone().unwrap_or_default();
        let gates = wire.gates.len();
        let steps = match from_wire(wire) {
            Ok(plan) if plan.steps.is_empty() => "all at once".to_owned(),
            Ok(plan) => steps(&plan.steps),
            Err(error) => error.to_string(),
        };
        table.row([
            Cell::from(&stored.name),
            Cell::from(steps),
            Cell::from(gates.to_string()),
            Cell::from(units::time(stored.issue_time.as_ref())),
            Cell::from(&stored.issued_by),
        ]);
    }
    table.render(palette)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_differs_from_the_usual() {
        let plan = parse("steps = [\"shadow\", \"10%\"]\nmin_ready_percent = 90\n").unwrap();
        assert_eq!(steps(&plan.steps), "shadow, 10%");
        assert_eq!(
            plan,
            Plan {
                steps: plan.steps.clone(),
                min_ready_percent: 90,
                ..Plan::default()
            }
        );
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for plan in [Plan::default(), Plan::blue_green()] {
            let stored = StoredPlan {
                plan: Some(to_wire(&plan)),
                ..StoredPlan::default()
            };
            assert_eq!(parse(&text(&stored).unwrap()), Ok(plan));
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let reason = |text: &str| parse(text).unwrap_err();
        assert!(reason("steps = []\nsteps = []\n").starts_with("line 2: "));
        assert!(reason("min_ready_percent = 90\nstep = []\n").contains("unknown field `step`"));
        assert_eq!(
            reason("min_ready_percent = 0\n"),
            "min_ready_percent = 0: it must be 1 to 100"
        );
        assert_eq!(
            reason("steps = [\"10%\", \"1%\"]\n"),
            "steps[1] (`1%`): the share must grow, and it was 10% already"
        );
    }
}
