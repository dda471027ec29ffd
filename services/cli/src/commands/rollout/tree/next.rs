//! What can be done now: commands to type, and what they do.

use decant_proto::rollout::v1::{Arm, RolloutPhase};

use super::Sight;
use crate::commands::rollout::addressed;
use crate::output::names;

/// The commands that make sense where the rollout stands, one a line.
pub(super) fn commands(sight: &Sight<'_>) -> String {
    let rollout = &sight.rollout;
    let slot = addressed(rollout);
    let stable = names::rollout_version(rollout.stable.as_ref());
    let generation = sight.slot.generation;
    let rollout_of = |verb: &str| format!("decant rollout {verb} {slot}");
    let abort = (
        rollout_of("abort"),
        format!("all of the traffic to {stable}"),
    );
    let pause = (rollout_of("pause"), "keep it where it is".to_owned());
    let promote = (
        format!("{} --expect-generation {generation}", rollout_of("promote")),
        "take the next step now".to_owned(),
    );
    let retry = (
        format!("{} --rollout {}", rollout_of("retry"), rollout.id),
        "begin it anew".to_owned(),
    );
    let fleet = (
        format!("decant slot status {slot}"),
        "see which scorers lag".to_owned(),
    );
    let commands = match sight.phase() {
        RolloutPhase::Pending | RolloutPhase::Preparing => vec![pause, abort],
        RolloutPhase::Shadowing | RolloutPhase::Progressing => vec![promote, pause, abort],
        RolloutPhase::Paused => {
            let resume = (rollout_of("resume"), "let it go on".to_owned());
            vec![resume, promote, abort]
        }
        RolloutPhase::Promoted if is_stable(sight) => {
            vec![(
                format!("decant rollback {slot}"),
                format!("{stable} again, at once"),
            )]
        }
        RolloutPhase::Aborting | RolloutPhase::Degraded => vec![fleet],
        RolloutPhase::Aborted | RolloutPhase::RolledBack => vec![retry],
        RolloutPhase::Promoted | RolloutPhase::Unspecified => Vec::new(),
    };
    let widest = commands.iter().map(|(command, _)| command.len()).max();
    let widest = widest.unwrap_or(0);
    let line = |(command, does): &(String, String)| format!("  {command:<widest$}  {does}\n");
    commands.iter().map(line).collect()
}

/// Whether the version that was released still is what the slot serves: only then a rollback undoes the rollout.
fn is_stable(sight: &Sight<'_>) -> bool {
    let candidate = sight.rollout.candidate.as_ref();
    let stable = |version: u64| {
        let active = &sight.slot.active;
        active
            .iter()
            .any(|one| one.version == version && one.arm() == Arm::Stable)
    };
    candidate.is_some_and(|candidate| stable(candidate.version))
}
