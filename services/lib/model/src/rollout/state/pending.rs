//! Pending: taken in, and the leader has not begun.

use super::{Changed, Intent, NotNow, Pause, Phase, Rollout, Verb};

pub(super) fn look(rollout: &Rollout) -> Option<Changed> {
    Some(Changed {
        rollout: Rollout {
            phase: Phase::Preparing,
            ..rollout.clone()
        },
        intent: Some(Intent::Prepare),
    })
}

pub(super) fn told(rollout: &Rollout, verb: Verb, why: &str) -> Result<Changed, NotNow> {
    match verb {
        Verb::Pause => Ok(rollout.paused(Pause::Operator(Phase::Pending), why)),
        Verb::Resume => Err(rollout.cannot(verb, ": it is not paused")),
        Verb::Promote | Verb::PromoteFully => {
            Err(rollout.cannot(verb, ": no scorer has the version ready yet"))
        }
        Verb::Abort => Ok(rollout.given_back(Phase::Aborting, why)),
        Verb::RollBack => Ok(rollout.given_back(Phase::RolledBack, why)),
    }
}
