//! Paused: by the plan, by an operator or by a gate. Traffic stays as it is, and a gate that fails still ends the rollout.

use super::{Changed, NotNow, Pause, Phase, Rollout, Setting, Sight, Verb};

pub(super) fn look(rollout: &Rollout, sight: &Sight) -> Option<Changed> {
    if rollout.setting != Setting::Idle
        && let Some(changed) = rollout.judged(sight)
    {
        return Some(changed);
    }
    match rollout.pause {
        Some(Pause::Planned(Some(span))) if sight.elapsed >= span.duration() => {
            Some(rollout.enter(rollout.step + 1))
        }
        _ => None,
    }
}

pub(super) fn told(rollout: &Rollout, verb: Verb, why: &str) -> Result<Changed, NotNow> {
    let has_begun = !matches!(
        rollout.pause,
        Some(Pause::Operator(Phase::Pending | Phase::Preparing))
    );
    match verb {
        Verb::Pause => match rollout.pause {
            Some(Pause::Operator(_)) => Err(rollout.cannot(verb, ": it is paused already")),
            // From now on only an operator ends the pause. What the plan's has lasted by then counts.
            Some(Pause::Planned(_)) | None => {
                Ok(rollout.paused(Pause::Operator(Phase::Paused), why))
            }
            Some(Pause::Gate(phase)) => Ok(rollout.paused(Pause::Operator(phase), why)),
        },
        Verb::Resume => Ok(resumed(rollout)),
        Verb::Promote | Verb::PromoteFully if !has_begun => {
            Err(rollout.cannot(verb, ": too few scorers have the version ready"))
        }
        Verb::Promote => Ok(rollout.enter(rollout.step + 1)),
        Verb::PromoteFully => Ok(rollout.promoted(why)),
        Verb::Abort => Ok(rollout.given_back(Phase::Aborting, why)),
        Verb::RollBack => Ok(rollout.given_back(Phase::RolledBack, why)),
    }
}

fn resumed(rollout: &Rollout) -> Changed {
    let phase = match rollout.pause {
        // An operator who goes on has seen what the plan's pause was for.
        None | Some(Pause::Planned(_)) => return rollout.enter(rollout.step + 1),
        // The plan's pause goes on.
        Some(Pause::Operator(Phase::Paused)) => return rollout.enter(rollout.step),
        Some(Pause::Operator(phase) | Pause::Gate(phase)) => phase,
    };
    let mut waived = rollout.waived.clone();
    waived.extend(&rollout.held);
    Changed {
        rollout: Rollout {
            phase,
            pause: None,
            held: Vec::new(),
            waived,
            why: String::new(),
            ..rollout.clone()
        },
        intent: None,
    }
}
