//! `decant rollout status`: where a rollout stands, once or until it is over.

use std::time::Duration;

use decant_chassis::signal::Signals;
use decant_proto::rollout::v1::{Rollout, RolloutPhase, RolloutStatus};
use tokio::time::Instant;

use super::quality::Qualities;
use super::{Target, addressed, has_ended, tree};
use crate::commands::follow::{Follow, OfRollout};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::screen::Screen;
use crate::output::{Output, json, names};

/// How often a terminal is drawn at most.
const REDRAW: Duration = Duration::from_millis(200);

/// Shows the status once.
pub(super) async fn show(context: &Context, target: &Target) -> Result<Exit, Failure> {
    let status = context
        .registry
        .get_rollout(target.model.as_str(), target.slot.as_str(), target.id())
        .await?;
    let rollout = status.rollout.clone().unwrap_or_default();
    let mut qualities = Qualities::default();
    qualities.learn(context, &rollout).await;
    context.output.named(
        [&rollout.id],
        || json::rollout_status(&status),
        |palette| tree::render(&status, &qualities, palette),
    )?;
    Ok(Exit::Ok)
}

/// Shows the status and each change, until the rollout is over or the user has seen enough. An empty id means the newest.
pub(super) async fn watch(
    context: &Context,
    model: &str,
    slot: &str,
    id: &str,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let mut feed = Follow::new(context, OfRollout { model, slot, id });
    let mut view = View::new(context.output);
    let ended = tokio::select! {
        ended = within(context.timeout, follow(context, &mut feed, &mut view)) => ended,
        _ = signals.next() => {
            context.output.note("stopped watching; the rollout goes on");
            return Ok(Exit::Interrupted);
        }
    };
    match ended {
        Some(ended) => conclude(&ended?),
        None => Err(unfinished(context, &view, names::slot_name(model, slot))),
    }
}

/// Waits so long at most; for ever, if the user did not say.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        None => Some(work.await),
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
    }
}

/// Shows what comes, and returns the rollout as it ended.
async fn follow(
    context: &Context,
    feed: &mut Follow<'_, OfRollout<'_>>,
    view: &mut View,
) -> Result<Rollout, Failure> {
    loop {
        let mut status = feed.next().await?;
        if let Some(due) = view.due() {
            while let Ok(newer) = tokio::time::timeout_at(due, feed.next()).await {
                status = newer?;
            }
        }
        let rollout = status.rollout.clone().unwrap_or_default();
        view.qualities.learn(context, &rollout).await;
        view.show(status)?;
        if has_ended(rollout.phase()) {
            return Ok(rollout);
        }
    }
}

/// What a watcher sees: a tree that is redrawn on a terminal, a line for each change elsewhere.
struct View {
    output: Output,
    screen: Option<Screen>,
    drawn: Option<Instant>,
    qualities: Qualities,
    /// What was shown last.
    last: Option<RolloutStatus>,
    line: String,
}

impl View {
    fn new(output: Output) -> Self {
        Self {
            output,
            screen: Screen::new(output),
            drawn: None,
            qualities: Qualities::default(),
            last: None,
            line: String::new(),
        }
    }

    /// When a terminal may be drawn again, if it was drawn before.
    fn due(&self) -> Option<Instant> {
        let drawn = self.drawn.filter(|_| self.screen.is_some());
        drawn.map(|drawn| drawn + REDRAW)
    }

    fn show(&mut self, status: RolloutStatus) -> Result<(), Failure> {
        if self.last.as_ref() == Some(&status) {
            return Ok(());
        }
        let id = status.rollout.as_ref();
        let id = id.map_or("", |rollout| rollout.id.as_str());
        let line = tree::line(&status);
        let (screen, qualities, is_new) = (&mut self.screen, &self.qualities, self.line != line);
        self.output.item(
            id,
            || json::rollout_status(&status),
            |palette| match screen {
                Some(screen) => screen.frame(&tree::render(&status, qualities, palette)),
                None if is_new => format!("{line}\n"),
                None => String::new(),
            },
        )?;
        self.line = line;
        self.last = Some(status);
        self.drawn = Some(Instant::now());
        Ok(())
    }
}

/// A rollout that came to its end: good only when its version was promoted.
fn conclude(rollout: &Rollout) -> Result<Exit, Failure> {
    let slot = addressed(rollout);
    let retry = format!(
        "`decant rollout retry {slot} --rollout {}` begins it anew",
        rollout.id
    );
    let (ended, hint) = match rollout.phase() {
        RolloutPhase::Promoted => return Ok(Exit::Ok),
        RolloutPhase::RolledBack => ("was rolled back", retry),
        RolloutPhase::Degraded => (
            "was aborted, and some scorers do not take that in",
            format!("`decant slot status {slot}` shows which"),
        ),
        _ => ("was aborted", retry),
    };
    let why = match rollout.reason_in_phase.as_str() {
        "" => String::new(),
        why => format!(": {why}"),
    };
    Err(unpromoted(format!(
        "rollout {} of {} {ended}{why}",
        rollout.id,
        names::rollout_slot(rollout)
    ))
    .hint(hint))
}

/// A release that does not come about, because a condition does not hold or somebody took it back.
pub(super) fn unpromoted(what: impl Into<String>) -> Failure {
    Failure::otherwise(what)
}

fn unfinished(context: &Context, view: &View, slot: String) -> Failure {
    let patience = context.timeout.unwrap_or_default().as_secs_f64();
    let rollout = view.last.as_ref().and_then(|last| last.rollout.as_ref());
    let what = match rollout {
        Some(rollout) => format!(
            "rollout {} of {slot} is {} at step {} after {patience} s",
            rollout.id,
            names::rollout_phase(rollout.phase),
            names::rollout_step(rollout)
        ),
        None => format!("nothing was told of a rollout of {slot} for {patience} s"),
    };
    let waits_for = view.last.as_ref().map(|last| last.waits_for.as_str());
    let waits_for = waits_for.filter(|words| !words.is_empty());
    Failure::unfinished(what)
        .after(waits_for.map(|words| format!("it waits for: {words}")))
        .hint("it goes on; the same command without --timeout waits to its end")
}
