//! Degraded: aborted, and some scorers did not take that in for long. It ends when they do, or are gone.

use super::{Changed, NotNow, Phase, Rollout, Sight, Verb, aborting};

pub(super) fn look(rollout: &Rollout, sight: &Sight) -> Option<Changed> {
    sight.converged.then(|| Changed {
        rollout: Rollout {
            phase: Phase::Aborted,
            ..rollout.clone()
        },
        intent: None,
    })
}

pub(super) fn told(rollout: &Rollout, verb: Verb) -> Result<Changed, NotNow> {
    aborting::told(rollout, verb)
}
