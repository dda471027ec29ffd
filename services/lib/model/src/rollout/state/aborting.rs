//! Aborting: what scorers are to serve is written, and they take it in. Nothing else holds the slot up meanwhile.

use super::{Changed, NotNow, Phase, RESTORE_WITHIN, Rollout, Sight, Verb};

pub(super) fn look(rollout: &Rollout, sight: &Sight) -> Option<Changed> {
    let phase = if sight.converged {
        Phase::Aborted
    } else if sight.elapsed >= RESTORE_WITHIN {
        Phase::Degraded
    } else {
        return None;
    };
    Some(Changed {
        rollout: Rollout {
            phase,
            ..rollout.clone()
        },
        intent: None,
    })
}

pub(super) fn told(rollout: &Rollout, verb: Verb) -> Result<Changed, NotNow> {
    Err(rollout.cannot(verb, ": all traffic is the stable version's already"))
}
