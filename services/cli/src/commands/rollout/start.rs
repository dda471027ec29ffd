//! `decant rollout start` and `retry`: what is asked for, what is checked before any traffic, and what would be served.

pub(super) mod course;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use decant_model::rollout::{Gate, Plan};
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::plan::{from_wire, to_wire};
use decant_proto::rollout::v1::StartRolloutRequest;
use decant_proto::rollout::v1::start_rollout_request::How;
use serde_json::{Value, json};

use super::{Target, addressed, status};
use crate::arguments::request::RequestArguments;
use crate::arguments::rollout_gate;
use crate::arguments::steps::{self, Steps};
use crate::arguments::version::{self, VersionArgument};
use crate::commands::confirm::Confirmation;
use crate::commands::{plan, slot};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{json, names};
use crate::remote::Started;

/// What `rollout start` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The model.
    model: ModelName,
    /// A number, or `latest`.
    #[arg(value_parser = version::parse)]
    version: VersionArgument,
    /// The slot.
    #[arg(long, default_value_t)]
    slot: SlotName,
    #[command(flatten)]
    how: HowArguments,
    /// The version to compare a sample of the requests with; its teacher, if the registry has it, unless given.
    #[arg(long, value_name = "VERSION", value_parser = version::number)]
    teacher: Option<u64>,
    /// Begin although this check does not hold; may be given several times, and needs --reason.
    #[arg(long = "override", value_name = "CHECK", value_parser = NonEmptyStringValueParser::new())]
    overrides: Vec<String>,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    /// Begin only if the slot's generation is still this one.
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
    /// Only check, and say what scorers would serve.
    #[arg(long)]
    dry_run: bool,
    /// Show each change until the rollout is over: exit 0 when the version is promoted, else 5; 7 after --timeout.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    request: RequestArguments,
}

/// How a version is to be released; the model's plan named default unless given.
#[derive(Args)]
pub(crate) struct HowArguments {
    /// The model's stored plan of this name.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["plan_file", "steps", "gates"])]
    plan: Option<SlotName>,
    /// A plan as TOML; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["steps", "gates"])]
    plan_file: Option<String>,
    /// Steps separated by commas, such as 'shadow,analysis 10m,1%,pause 5m,50%'; none at all is all of the traffic at once.
    #[arg(long, value_parser = steps::parse)]
    steps: Option<Steps>,
    /// What must hold meanwhile, such as 'error-rate<=0.001' or 'stable-spearman>=0.9,hold,min-count=5000'; may be given
    /// several times. What is not given is as in the built-in plan.
    #[arg(long = "gate", value_name = "GATE", value_parser = rollout_gate::parse)]
    gates: Vec<Gate>,
}

/// What `rollout retry` takes.
#[derive(Args)]
pub(crate) struct RetryArguments {
    #[command(flatten)]
    target: Target,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    /// Begin only if the slot's generation is still this one.
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
    /// Only check, and say what scorers would serve.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    request: RequestArguments,
}

/// Begins to release a version.
pub(super) async fn start(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    if !arguments.overrides.is_empty() && arguments.reason.is_empty() {
        return Err(Failure::usage(
            "--override goes on although a check does not hold: say why with --reason",
        ));
    }
    let (dry_run, waits) = (arguments.dry_run, arguments.wait);
    let how = how(arguments.how)?;
    let (model, slot) = (arguments.model, arguments.slot);
    let version = slot::number(context, &model, arguments.version).await?;
    if !dry_run && !arguments.confirmation.yes {
        let plan = resolved(context, &model, how.as_ref()).await?;
        if plan.gates.is_empty() {
            let asked = blast_radius(context, &model, &slot, version, &plan).await?;
            arguments.confirmation.ask(&asked)?;
        }
    }
    let stamp = arguments.request.stamp();
    let request = StartRolloutRequest {
        model: model.into(),
        slot: slot.into(),
        version,
        how,
        teacher_version: arguments.teacher.unwrap_or(0),
        override_checks: arguments.overrides,
        expected_generation: arguments.expect_generation,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id,
        dry_run,
        retry_of: String::new(),
    };
    begin(context, request, waits).await
}

/// Begins a rollout anew.
pub(super) async fn retry(context: &Context, arguments: RetryArguments) -> Result<Exit, Failure> {
    let target = &arguments.target;
    let status = context
        .registry
        .get_rollout(target.model.as_str(), target.slot.as_str(), target.id())
        .await?;
    let rollout = status.rollout.unwrap_or_default();
    let plan = readable(rollout.plan.unwrap_or_default())?;
    if !arguments.dry_run && !arguments.confirmation.yes && plan.gates.is_empty() {
        let version = rollout.candidate.map_or(0, |candidate| candidate.version);
        let asked = blast_radius(context, &target.model, &target.slot, version, &plan).await?;
        arguments.confirmation.ask(&asked)?;
    }
    let stamp = arguments.request.stamp();
    let request = StartRolloutRequest {
        model: arguments.target.model.into(),
        slot: arguments.target.slot.into(),
        expected_generation: arguments.expect_generation,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id,
        dry_run: arguments.dry_run,
        retry_of: rollout.id,
        ..StartRolloutRequest::default()
    };
    begin(context, request, false).await
}

/// What the arguments say about how; nothing where the registry is to choose.
fn how(arguments: HowArguments) -> Result<Option<How>, Failure> {
    if let Some(name) = arguments.plan {
        return Ok(Some(How::PlanName(name.into())));
    }
    if let Some(path) = arguments.plan_file {
        return Ok(Some(How::Plan(to_wire(&plan::read(&path)?))));
    }
    if arguments.steps.is_none() && arguments.gates.is_empty() {
        return Ok(None);
    }
    let usual = Plan::default();
    let plan = Plan {
        steps: arguments.steps.map_or(usual.steps, |Steps(steps)| steps),
        gates: if arguments.gates.is_empty() {
            usual.gates
        } else {
            arguments.gates
        },
        ..Plan::default()
    };
    plan.check()
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(How::Plan(to_wire(&plan))))
}

/// The plan that the registry will take.
async fn resolved(
    context: &Context,
    model: &ModelName,
    how: Option<&How>,
) -> Result<Plan, Failure> {
    let name = match how {
        Some(How::Plan(plan)) => return readable(plan.clone()),
        Some(How::PlanName(name)) => name.as_str(),
        None => "",
    };
    let stored = context.registry.get_plan(model.as_str(), name).await?;
    readable(stored.plan.unwrap_or_default())
}

fn readable(plan: decant_proto::rollout::v1::Plan) -> Result<Plan, Failure> {
    from_wire(plan).map_err(|error| {
        Failure::new(format!("the registry's plan cannot be read: {error}"))
            .hint("a newer `decant` may read it")
    })
}

/// What a release that nothing watches does, and to whom.
async fn blast_radius(
    context: &Context,
    model: &ModelName,
    slot: &SlotName,
    version: u64,
    plan: &Plan,
) -> Result<String, Failure> {
    let status = context
        .registry
        .get_slot_status(model.as_str(), slot.as_str())
        .await?;
    let how = if plan.steps.is_empty() {
        "all of the traffic at once".to_owned()
    } else {
        format!(
            "all of the traffic by these steps: {}",
            plan::steps(&plan.steps)
        )
    };
    Ok(format!(
        "{} of {} is released without any gate, on {} live scorers: it gets {how}, and nothing takes that back by itself.",
        names::version(version),
        names::slot_name(model.as_str(), slot.as_str()),
        status.scorers.len(),
    ))
}

/// Asks for it, and tells what came of it.
async fn begin(
    context: &Context,
    request: StartRolloutRequest,
    waits: bool,
) -> Result<Exit, Failure> {
    let (request_id, dry_run) = (request.request_id.clone(), request.dry_run);
    let started = context.registry.start_rollout(request).await?;
    let rollout = &started.rollout;
    if waits {
        context.output.note(&sentence(&started, dry_run));
        let watched = status::watch(context, &rollout.model, &rollout.slot, &rollout.id);
        return Box::pin(watched).await;
    }
    context.output.named(
        [&rollout.id],
        || to_json(&started, &request_id, dry_run),
        |palette| {
            let sentence = sentence(&started, dry_run);
            if dry_run {
                format!("{sentence}\n{}", course::render(&started, palette))
            } else {
                format!("{sentence}\n")
            }
        },
    )?;
    if dry_run {
        return course::judge(rollout);
    }
    let slot = addressed(rollout);
    context.output.advise(&format!(
        "`decant rollout status {slot} --watch` shows how it goes on"
    ));
    context
        .output
        .advise(&format!("`decant rollout abort {slot}` undoes it"));
    Ok(Exit::Ok)
}

/// What begins, or would.
fn sentence(started: &Started, dry_run: bool) -> String {
    let rollout = &started.rollout;
    let plan = rollout.plan.clone().unwrap_or_default();
    let verb = if dry_run { "would release" } else { "releases" };
    // A rollout that only would begin may have no id yet.
    let name = match rollout.id.as_str() {
        "" => "a rollout".to_owned(),
        id => format!("rollout {id}"),
    };
    let teacher = match &rollout.teacher {
        Some(teacher) => format!(", beside its teacher {}", names::version(teacher.version)),
        None => String::new(),
    };
    format!(
        "{name} of {} {verb} {} over {} in {}, {}{teacher}",
        names::rollout_slot(rollout),
        names::rollout_version(rollout.candidate.as_ref()),
        names::rollout_version(rollout.stable.as_ref()),
        counted(plan.steps.len(), "step"),
        counted(plan.gates.len(), "gate"),
    )
}

/// Such as `1 step` or `no gates`.
fn counted(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn to_json(started: &Started, request_id: &str, dry_run: bool) -> Value {
    json!({
        "rollout": json::rollout(&started.rollout),
        "course": json::list(&started.course, json::slot),
        "request_id": request_id,
        "dry_run": dry_run,
    })
}
