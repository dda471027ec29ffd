//! Preparing: scorers fetch, verify and warm up the version. Ends when enough have it ready, cannot have it ready, or took
//! too long.

use super::{Changed, NotNow, Pause, Phase, Preparation, Rollout, Sight, Verb};

pub(super) fn look(rollout: &Rollout, sight: &Sight) -> Option<Changed> {
    match &sight.preparation {
        Preparation::Ready => Some(rollout.enter(rollout.step)),
        Preparation::Impossible(why) => Some(rollout.given_back(Phase::Aborting, why.clone())),
        Preparation::Waiting => {
            let limit = rollout.plan.prepare_within;
            (sight.elapsed >= limit.duration()).then(|| {
                let why = format!("too few scorers had the version ready within {limit}");
                rollout.given_back(Phase::Aborting, why)
            })
        }
    }
}

pub(super) fn told(rollout: &Rollout, verb: Verb, why: &str) -> Result<Changed, NotNow> {
    match verb {
        Verb::Pause => Ok(rollout.paused(Pause::Operator(Phase::Preparing), why)),
        Verb::Resume => Err(rollout.cannot(verb, ": it is not paused")),
        Verb::Promote | Verb::PromoteFully => {
            Err(rollout.cannot(verb, ": too few scorers have the version ready"))
        }
        Verb::Abort => Ok(rollout.given_back(Phase::Aborting, why)),
        Verb::RollBack => Ok(rollout.given_back(Phase::RolledBack, why)),
    }
}
