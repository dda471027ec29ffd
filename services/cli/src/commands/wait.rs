//! `decant wait`: until something holds, for scripts that go on then.

mod goal;

use std::time::{Duration, Instant};

use clap::Args;
use decant_chassis::signal::Signals;
use serde_json::json;

use self::goal::{Condition, Goal, Sighting, Target};
use crate::commands::follow::{Follow, OfJob, OfRollout, OfSlot};
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// How long is waited, unless the user says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the scorers are looked at: nobody tells when one comes or goes.
const LOOK: Duration = Duration::from_millis(200);

/// What `wait` takes.
#[derive(Args)]
#[command(after_long_help = "\
What can be waited for:

  decant wait slot/MODEL[/SLOT] --for=converged       every live scorer answers with what is intended
  decant wait slot/MODEL[/SLOT] --for=generation=N    every live scorer answers with generation N or a later one
  decant wait slot/MODEL[/SLOT] --for=version=N       every live scorer answers with version N
  decant wait rollout/MODEL[/SLOT] --for=phase=PHASE  the newest rollout is promoted, paused, aborted, ...
  decant wait scorers --for=live=N                    at least N scorers are live
  decant wait job/ID --for=done                       the job has succeeded

It exits with 7 when --timeout is over (60s unless given), with 5 when a rollout has ended in another way, and with 1 when a job \
has.")]
pub(crate) struct Arguments {
    /// What is looked at: slot/MODEL, slot/MODEL/SLOT, rollout/MODEL, rollout/MODEL/SLOT, scorers or job/ID.
    #[arg(value_parser = goal::target)]
    target: Target,
    /// What must hold: converged, generation=N, version=N, phase=PHASE, live=N or done.
    #[arg(long = "for", value_name = "CONDITION", value_parser = goal::condition)]
    condition: Condition,
}

/// Carries out `decant wait`.
pub(crate) async fn execute(context: &Context, arguments: Arguments) -> Result<Exit, Failure> {
    let goal = Goal::new(arguments.target, arguments.condition).map_err(Failure::usage)?;
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let patience = context.timeout.unwrap_or(PATIENCE);
    let started = Instant::now();
    let mut last = String::new();
    let waited = tokio::select! {
        waited = tokio::time::timeout(patience, reach(context, &goal, &mut last)) => waited,
        _ = signals.next() => return Ok(Exit::Interrupted),
    };
    let Ok(reached) = waited else {
        return Err(unfinished(&goal, &last, patience));
    };
    reached?;
    let seconds = started.elapsed().as_secs_f64();
    let (target, condition) = (goal.target(), goal.condition());
    context.output.named(
        [&target],
        || json!({ "target": target, "condition": condition, "state": last, "after_seconds": seconds }),
        |_| format!("{target}: {last}\n"),
    )?;
    Ok(Exit::Ok)
}

fn unfinished(goal: &Goal, last: &str, patience: Duration) -> Failure {
    let seen = if last.is_empty() {
        "nothing was heard of it".to_owned()
    } else {
        format!("it is: {last}")
    };
    Failure::unfinished(format!(
        "{}: not {} after {} s",
        goal.target(),
        goal.condition(),
        patience.as_secs_f64()
    ))
    .after([seen])
}

/// Returns once the goal is reached, and fails once it cannot be any more. What was seen last stays in `last`.
async fn reach(context: &Context, goal: &Goal, last: &mut String) -> Result<(), Failure> {
    match goal {
        Goal::Slot {
            model,
            slot,
            wanted,
        } => {
            let (model, slot) = (model.as_str(), slot.as_str());
            let mut follow = Follow::new(context, OfSlot { model, slot });
            while !note(last, wanted.look(&follow.next().await?))? {}
            Ok(())
        }
        Goal::Rollout { model, slot, phase } => {
            let (model, slot) = (model.as_str(), slot.as_str());
            // The one that is the newest now: a later one is not what the user waits for.
            let newest = context.registry.get_rollout(model, slot, "").await?;
            let id = newest.rollout.map(|rollout| rollout.id).unwrap_or_default();
            let id = &*id;
            let mut follow = Follow::new(context, OfRollout { model, slot, id });
            while !note(last, phase.look(&follow.next().await?))? {}
            Ok(())
        }
        Goal::Scorers { live } => loop {
            match context.registry.list_scorers().await {
                Ok(scorers) => {
                    if note(last, goal::scorers(&scorers, *live))? {
                        return Ok(());
                    }
                }
                Err(failure) if failure.is_unanswered() => {
                    failure.what().clone_into(last);
                }
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(LOOK).await;
        },
        Goal::Job { id } => {
            let mut follow = Follow::new(context, OfJob(id));
            loop {
                let Some(news) = follow.next().await?.news else {
                    continue;
                };
                if note(last, goal::job(id, &news))? {
                    return Ok(());
                }
            }
        }
    }
}

/// Keeps what was seen, and says whether the goal is reached.
fn note(last: &mut String, sighting: Sighting) -> Result<bool, Failure> {
    match sighting {
        Sighting::Reached(words) => {
            *last = words;
            Ok(true)
        }
        Sighting::NotYet(words) => {
            *last = words;
            Ok(false)
        }
        Sighting::Never(failure) => Err(failure),
    }
}
