//! `decant slot set`: a change, and the way of the scorers to it.

use std::time::{Duration, Instant};

use clap::Args;
use decant_chassis::signal::Signals;
use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::{SetSlotRequest, Slot};
use serde_json::{Value, json};

use super::convergence::{Convergence, Stage};
use super::{addressed, number, status_command};
use crate::arguments::request::RequestArguments;
use crate::arguments::version::{VersionArgument, parse};
use crate::commands::follow::{Follow, OfSlot};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{json, names};

/// How long scorers are waited for, unless the user says otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What `slot set` takes.
#[derive(Args)]
pub(crate) struct Arguments {
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
    /// How many of each hundred live scorers must have the version ready before it is activated; all unless given.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    min_ready: Option<u32>,
    /// Do not wait until the scorers serve it.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    request: RequestArguments,
}

/// Points the slot at the version.
pub(super) async fn set(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    let version = number(context, &arguments.model, arguments.version).await?;
    let before = before(context, &arguments).await?;
    let stamp = arguments.request.stamp();
    let change = SetSlotRequest {
        model: arguments.model.into(),
        slot: arguments.slot.into(),
        version,
        expected_generation: arguments.expect_generation,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id.clone(),
        min_ready_percent: arguments.min_ready.unwrap_or(0),
    };
    let slot = context.registry.set_slot(change).await?;
    // The change was made before it was answered, so what is measured from here is a little too short: by half a round
    // trip.
    let committed = Instant::now();
    context
        .output
        .note(&difference(before.as_ref(), &slot, version));
    let set = Set {
        slot,
        version,
        request_id: stamp.request_id,
    };
    if arguments.no_wait {
        return without_waiting(context, &set, before.as_ref());
    }
    wait(context, set, before.as_ref(), committed).await
}

/// A change that was made.
struct Set {
    slot: Slot,
    version: u64,
    request_id: String,
}

impl Set {
    /// The change in words.
    fn sentence(&self) -> String {
        format!(
            "{} is set to {} (generation {})",
            names::slot(&self.slot),
            names::version(self.version),
            self.slot.generation
        )
    }
}

/// The slot as it was; for the words alone, so it need not be the very one that the change replaces.
async fn before(context: &Context, arguments: &Arguments) -> Result<Option<Slot>, Failure> {
    let slot = context
        .registry
        .get_slot(arguments.model.as_str(), arguments.slot.as_str());
    match slot.await {
        Ok(slot) => Ok(Some(slot)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What changes, on one line.
fn difference(before: Option<&Slot>, slot: &Slot, version: u64) -> String {
    let from = match before {
        Some(before) if !before.active.is_empty() => format!(
            "{} (generation {})",
            names::slot_versions(&before.active),
            before.generation
        ),
        _ => "nothing".to_owned(),
    };
    let preparing = if slot.pending.is_empty() {
        ""
    } else {
        ", being prepared"
    };
    format!(
        "{}: {from} -> {} (generation {}{preparing})",
        names::slot(slot),
        names::version(version),
        slot.generation
    )
}

/// Says how to go back, where there is a way.
fn advise_undo(context: &Context, before: Option<&Slot>, version: u64) {
    if let Some(before) = before
        && let [one] = before.active.as_slice()
        && one.version != version
    {
        context.output.advise(&format!(
            "`decant slot set {} {}` undoes it",
            addressed(before),
            one.version
        ));
    }
}

fn without_waiting(context: &Context, set: &Set, before: Option<&Slot>) -> Result<Exit, Failure> {
    context.output.named(
        [names::slot(&set.slot)],
        || to_json(set, None),
        |_| format!("{}\n", set.sentence()),
    )?;
    context.output.advise(&format!(
        "`{} --watch` shows how scorers follow",
        status_command(&set.slot)
    ));
    advise_undo(context, before, set.version);
    Ok(Exit::Ok)
}

async fn wait(
    context: &Context,
    set: Set,
    before: Option<&Slot>,
    committed: Instant,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let patience = context.timeout.unwrap_or(PATIENCE);
    let mut convergence = Convergence::new(&set.slot, set.version);
    let mut feed = Follow::new(
        context,
        OfSlot {
            model: &set.slot.model,
            slot: &set.slot.slot,
        },
    );
    let followed = tokio::select! {
        followed = tokio::time::timeout(patience, follow(context, &mut feed, &mut convergence, committed)) => followed,
        _ = signals.next() => {
            context.output.note(&format!(
                "stopped waiting; the change stands. `{} --watch` shows how it goes on",
                status_command(&set.slot)
            ));
            return Ok(Exit::Interrupted);
        }
    };
    match followed {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => return Err(failure),
        Err(_) => return Err(unfinished(&set, &convergence, feed.outage(), patience)),
    }
    let set = Set {
        slot: convergence.slot().clone(),
        ..set
    };
    context.output.named(
        [names::slot(&set.slot)],
        || to_json(&set, Some(&convergence)),
        |_| match convergence.summary() {
            Some(summary) => format!("{summary}\n"),
            None => format!(
                "{}; no scorer is live, so there is nothing to wait for\n",
                set.sentence()
            ),
        },
    )?;
    advise_undo(context, before, set.version);
    Ok(Exit::Ok)
}

/// Tells what comes, until every live scorer serves the version.
pub(super) async fn follow(
    context: &Context,
    feed: &mut Follow<'_, OfSlot<'_>>,
    convergence: &mut Convergence,
    committed: Instant,
) -> Result<(), Failure> {
    loop {
        let status = feed.next().await?;
        let (lines, stage) = convergence.observe(&status, committed.elapsed());
        for line in lines {
            context.output.note(&line);
        }
        match stage {
            Stage::Waiting => {}
            Stage::Done => return Ok(()),
            Stage::Overtaken => {
                let by = convergence.slot();
                let words = match by.issued_by.as_str() {
                    "" => String::new(),
                    name => format!(" by {name}"),
                };
                return Err(Failure::conflict(format!(
                    "{} was set again{words}, to generation {}, before every scorer served this change",
                    names::slot(by),
                    by.generation
                ))
                .hint(format!("`decant slot history {}` shows why", addressed(by))));
            }
        }
    }
}

fn unfinished(
    set: &Set,
    convergence: &Convergence,
    outage: Option<&Failure>,
    patience: Duration,
) -> Failure {
    let mut details = convergence.obstacles();
    details.extend(outage.map(|failure| failure.what().to_owned()));
    let what = format!(
        "{}, but after {} s {}",
        set.sentence(),
        patience.as_secs_f64(),
        convergence.shortfall()
    );
    Failure::unfinished(what).after(details).hint(format!(
        "the change stands; `{} --watch` shows how it goes on",
        status_command(&set.slot)
    ))
}

fn to_json(set: &Set, convergence: Option<&Convergence>) -> Value {
    json!({
        "slot": json::slot(&set.slot),
        "request_id": set.request_id,
        "available_after_seconds": convergence.and_then(Convergence::took).map(|took| took.as_secs_f64()),
        "scorers": convergence.map(Convergence::to_json),
    })
}
